//! Log-in by the system's SASL library, libsasl2, as it is configured for Cyrus: its mechanisms, its
//! ways to verify passwords (sasldb, saslauthd, auxprop plugins, Kerberos) and its security layers.
//!
//! - [`Server`]: a [`transport::sasl::Backend`]; asks libsasl2 for every log-in.
//! - [`Client`]: a [`transport::sasl::ClientBackend`]; logs a slave in at its master.
//! - [`Options`]: a site's `sasl_*` lines, handed on as libsasl2 asks for them.
//!
//! Whatever may block (saslauthd, LDAP, Kerberos) runs on a few threads of its own. This crate is the
//! only one with calls of C in it; they are in `library`, `callbacks` and `connection`, and nothing
//! outside of these three is unsafe.

mod callbacks;
mod client;
mod connection;
mod kerberos;
mod layer;
mod library;
mod mutex;
mod options;
mod policy;
mod secret;
mod server;
mod threads;

pub use client::{Client, ClientConfig};
pub use library::LibraryError;
pub use options::Options;
pub use policy::Admission;
pub use server::{Server, ServerConfig};
