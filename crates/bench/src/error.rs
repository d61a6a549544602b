//! What may go wrong with a measurement.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Why a row has no figures, with the server and what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection, no TLS, no log-in.
    #[error("{server}: log-in")]
    LogIn {
        /// Name of the server.
        server: Arc<str>,
        /// Why.
        #[source]
        cause: Box<client::Error>,
    },
    /// The connection broke.
    #[error("{server}: {doing}")]
    Broken {
        /// Name of the server.
        server: Arc<str>,
        /// During which command.
        doing: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The server closed the connection.
    #[error("{server}: connection closed during {doing}")]
    Closed {
        /// Name of the server.
        server: Arc<str>,
        /// During which command.
        doing: &'static str,
    },
    /// NO, BAD or BYE.
    #[error("{server}: {doing} answered with {line:?}")]
    Refused {
        /// Name of the server.
        server: Arc<str>,
        /// Which command.
        doing: &'static str,
        /// The answer.
        line: String,
    },
    /// No answer.
    #[error("{server}: {doing} not answered within {} s", wait.as_secs())]
    Silent {
        /// Name of the server.
        server: Arc<str>,
        /// Which command.
        doing: &'static str,
        /// For how long.
        wait: Duration,
    },
    /// A row has no end.
    #[error("did not end within {} s", wait.as_secs())]
    Endless {
        /// For how long it was let.
        wait: Duration,
    },
    /// A row cannot be measured with this server.
    #[error("not measured: {why}")]
    Impossible {
        /// What it lacks.
        why: &'static str,
    },
    /// A dump that is not the list.
    #[error("{server}: {found} mailboxes of the bench in a dump, not {expected}")]
    WrongList {
        /// Name of the server.
        server: Arc<str>,
        /// How many there are.
        found: u64,
        /// How many there must be.
        expected: u64,
    },
    /// An operation of the system on this end.
    #[error("{what}")]
    System {
        /// Which.
        what: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A chart.
    #[error("chart {}: {why}", path.display())]
    Chart {
        /// Its file.
        path: PathBuf,
        /// Why it could not be drawn.
        why: String,
    },
    /// A worker has panicked.
    #[error("a thread of the bench ended early: {name}")]
    Thread {
        /// What it did.
        name: &'static str,
    },
}

impl Error {
    /// With [`System`](Self::System), for `map_err`.
    pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_what_where_and_why() {
        let error = Error::Broken {
            server: "ours".into(),
            doing: "NOOP",
            cause: io::Error::from(io::ErrorKind::ConnectionReset),
        };
        assert_eq!(chain(&error), "ours: NOOP: connection reset");
    }
}
