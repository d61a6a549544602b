//! MUPDATE sessions over a [`store::Store`]: listener, session driver, streams to peers.
//!
//! What a session may do differs between a master and a slave; that is the business of a [`Role`].
//! This crate carries sessions out: it owns sockets, replies, dumps, live feeds and barriers.
//!
//! Work is spread over three planes, so that none can starve another:
//!
//! * **control**: the tokio runtime that [`Server::run`] is spawned on. Connections, parsing,
//!   log-in, FIND, edits, NOOP answers and live feeds; nothing here walks the list.
//! * **dump pool** ([`DumpPool`]): threads of lower priority that walk a pinned version and encode
//!   pages of dumps and LISTs, and look for endangered names. A page at a time for each session.
//! * **writer**: the store's own thread.

mod compare;
mod config;
mod crier;
mod dump;
mod kick;
mod listener;
mod output;
mod pins;
mod planes;
mod repair;
mod role;
mod session;
mod shelf;
mod slaves;
mod status;
mod transcripts;

pub use config::{ListOrder, ListOrders, ServerConfig};
pub use kick::{KickError, KickSocket};
pub use listener::{BindError, Door, Listener, Server, Verdict};
pub use planes::DumpPool;
pub use role::{Asker, Role, Wait};
pub use slaves::{KnownSlaves, KnownSlavesError};
pub use status::{Resyncs, SessionState, SessionStatus, Sessions, StreamMode};
pub use transcripts::Transcripts;
