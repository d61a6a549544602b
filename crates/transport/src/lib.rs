//! What carries a MUPDATE connection: one byte stream that is plain TCP, then TLS, then DEFLATE,
//! upgraded in place, and the SASL exchanges that say who is at the other end.
//!
//! - [`Stream`]: `AsyncRead + AsyncWrite`, whatever layers are on.
//! - [`tls`]: certificates and keys from PEM files, both sides.
//! - [`sasl`]: the mechanisms, server and client; raw octets in and out, framing is the caller's.
//! - [`users`]: the file of SCRAM verifiers.
//!
//! Nothing here knows MUPDATE itself, a mailbox or a store.

pub mod sasl;
pub mod scram;
mod secret;
mod stream;
pub mod tls;
pub mod users;

pub use secret::Secret;
pub use stream::Stream;
