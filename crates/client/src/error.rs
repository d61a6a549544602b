//! What may go wrong on a connection.

use std::io;

use proto::codec::{Malformed, ResponseTooLong, Status};
use thiserror::Error;
use transport::sasl::ClientSaslError;
use transport::tls::TlsError;

use crate::record::Unusable;

/// Why something did not work. After anything but [`Error::Refused`], [`Error::Unusable`] and
/// [`Error::TooManyBarriers`] the connection is of no more use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about.
    #[error("no connection to {server}")]
    Connect {
        /// Host and port.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("connection broke")]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("server closed the connection")]
    Closed,
    /// The server said BYE.
    #[error("server said BYE: {text}")]
    Bye {
        /// Its reason.
        text: String,
    },
    /// Nothing came within the caller's time.
    #[error("timed out: {waiting_for}")]
    TimedOut {
        /// What did not come.
        waiting_for: &'static str,
    },
    /// The server answered NO or BAD.
    #[error("{command} refused: {text}")]
    Refused {
        /// The command.
        command: &'static str,
        /// NO or BAD.
        status: Status,
        /// Its reason.
        text: String,
    },
    /// STARTTLS was asked for and the server does not offer it.
    #[error("server does not offer STARTTLS")]
    NoStartTls,
    /// The TLS handshake failed.
    #[error("TLS failed")]
    Tls(#[from] TlsError),
    /// No mechanism fits, or the server broke its rules.
    #[error("log-in failed")]
    Sasl(#[from] ClientSaslError),
    /// The server sent something that is no response of MUPDATE.
    #[error("malformed response")]
    Malformed(#[from] Malformed),
    /// The server sent more than a response may have.
    #[error("response too long")]
    TooLong(#[from] ResponseTooLong),
    /// The server sent a response where it has no place.
    #[error("unexpected response to {command}")]
    Unexpected {
        /// What it came as an answer to.
        command: &'static str,
    },
    /// The server knows of a mailbox that can't be represented.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// More NOOPs without an answer than [`BARRIERS_MAX`](crate::BARRIERS_MAX).
    #[error("too many NOOPs without an answer")]
    TooManyBarriers,
}

impl Error {
    /// Whether the server has answered NO or BAD, so that the connection can go on.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
