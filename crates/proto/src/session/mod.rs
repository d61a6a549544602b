//! The flow of a MUPDATE session, without a socket.
//!
//! A driver reads octets into [`ServerSession::buffer`] and calls [`ServerSession::next`] until it
//! says [`Step::NeedInput`]. The session knows which command is legal when, what is checked in which
//! order and with what words a bad command is answered (all as Cyrus 3.6.1 does); the driver knows
//! the directory, users and the socket.
//!
//! ```
//! use proto::session::{Request, ServerSession, SessionConfig, Step};
//!
//! let mut session = ServerSession::new(SessionConfig::default());
//! session.buffer().extend_from_slice(b"F1 FIND \"user.amy\"\r\nL1 LOGOUT\r\n");
//! assert_eq!(session.next(), Step::Reply(b"F1 BAD \"Please login first\"\r\n".to_vec()));
//! assert!(matches!(session.next(), Step::Request(Request::Logout { tag }) if tag.as_bytes() == b"L1"));
//! assert_eq!(session.next(), Step::NeedInput);
//! ```

mod checked;
mod request;
mod server;
mod state;

pub use self::request::{Question, Request, SaslAnswer, Step};
pub use self::server::{ServerSession, SessionConfig};
