//! Why the file can't be kept or read.

use std::io;
use std::path::PathBuf;

use cyrusdb::mailboxes::KeyStyle;
use cyrusdb::{Error, Format};
use thiserror::Error;

/// Why `mailboxes.db` can't be kept or read at the moment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The database says so.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// A call on another file, or on the path, failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "failed to …".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keys are of another series of Cyrus than configured.
    #[error(
        "{} has {} keys: upgrade or restore it with Cyrus's own tools, or correct 'mupdate_db_style'",
        path.display(),
        style_name(*.found)
    )]
    OtherStyle {
        /// The file.
        path: PathBuf,
        /// The style that its keys have.
        found: KeyStyle,
    },
    /// A unified server's own mailboxes are in a file that would have to be replaced.
    #[error("{} also holds local mailboxes and is not replaced: {why}", path.display())]
    HoldsLocal {
        /// The file.
        path: PathBuf,
        /// Why it would have to be replaced.
        why: Box<Self>,
    },
}

pub(crate) fn style_name(style: KeyStyle) -> &'static str {
    match style {
        KeyStyle::Plain => "plain (up to 3.4)",
        KeyStyle::ByName => "by-name (from 3.6 on)",
    }
}

impl ExportError {
    /// Whether others hold the lock: a matter of time.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(
            self,
            Self::Database {
                source: Error::Locked { .. },
                ..
            }
        )
    }

    /// Why the file would have to be replaced by a new one, as the end of a name for the old.
    pub(crate) fn misfit(&self) -> Option<&'static str> {
        match self {
            Self::Database { source, .. } => match source {
                Error::OtherFormat { found } => match found {
                    Format::Skiplist => Some("skiplist"),
                    Format::Twom => Some("twom"),
                    _ => None,
                },
                Error::Corrupt { .. } => Some("damaged"),
                _ => None,
            },
            Self::OtherStyle { found, .. } => Some(match found {
                KeyStyle::Plain => "plain",
                KeyStyle::ByName => "byname",
            }),
            Self::Io { .. } | Self::HoldsLocal { .. } => None,
        }
    }

    /// The imapd.conf line to change so that Cyrus does not make such a file again.
    pub(crate) fn setting_to_change(&self) -> &'static str {
        match self.misfit() {
            Some("skiplist") => "mboxlist_db: twoskip",
            Some("twom") => "mboxlist_db: twoskip (and cyrusdb_autoconvert: no)",
            Some("plain" | "byname") => "mupdate_db_style: auto",
            Some(_) | None => "none",
        }
    }
}
