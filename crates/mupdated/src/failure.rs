//! Why the process ends, and with which exit status.

use std::fmt;
use std::process::ExitCode;

/// Exit statuses of sysexits.h, as Cyrus programs use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The server said NO, or a command of mupdatectl failed.
    Refused,
    /// `EX_USAGE`: the command line, or a role this program can't play here.
    Usage,
    /// `EX_OSERR`: an address, a thread, a socket.
    System,
    /// `EX_IOERR`: the data directory.
    Storage,
    /// `EX_CONFIG`: imapd.conf, certificates, users file.
    Config,
}

impl Status {
    /// Its number.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused => 1,
            Self::Usage => 64,
            Self::System => 71,
            Self::Storage => 74,
            Self::Config => 78,
        })
    }
}

/// An error and the exit status that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// For scripts and process managers.
    pub status: Status,
    /// For people.
    pub cause: anyhow::Error,
}

impl Failure {
    /// Joins the two.
    pub fn new(status: Status, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            status,
            cause: cause.into(),
        }
    }

    /// Whether another attempt, with everything as it is, may succeed: a disk or the name service may
    /// come back, while a file of settings stays as it is.
    pub fn may_pass(&self) -> bool {
        matches!(self.status, Status::System | Status::Storage)
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        self.status.exit_code()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.cause))
    }
}

/// An error with its causes, without those that the text before them has already.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("no such file");
        let quoting = anyhow::Error::new(cause).context("cannot read x: no such file");
        assert_eq!(told(&quoting), "cannot read x: no such file");
        let naming = anyhow::anyhow!("no such file").context("data directory");
        assert_eq!(told(&naming), "data directory: no such file");
    }
}
