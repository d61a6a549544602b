//! The open file, and how mailboxes are written in it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::{KeyStyle, Mailboxes};
use cyrusdb::twoskip::{Database, Identity};
use store::Version;

use crate::holders::Holders;
use crate::place::{self, of_database};
use crate::{ExportError, ExporterConfig, StyleSetting, style};

/// The open file, and how mailboxes are written in it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) database: Database,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) holders: Holders,
    /// Since when the last commit is there to be seen, but not all on disk: a crash would undo it, whole.
    pub(crate) unsynced: Option<Instant>,
}

impl Table {
    /// Opens the file. `last` is the style that it was written in before, for a file that does not
    /// tell.
    pub(crate) fn open(
        config: &ExporterConfig,
        last: Option<KeyStyle>,
        version: &Version,
    ) -> Result<Self, ExportError> {
        let mut database = place::open(config)?;
        let path = config.mailboxes_db.clone();
        let found = Mailboxes::detect_style(&mut database).map_err(of_database(&path))?;
        let style = match (config.style, found) {
            (StyleSetting::Fixed(wanted), Some(found)) if found != wanted => {
                return Err(ExportError::OtherStyle { path, found });
            }
            (StyleSetting::Fixed(wanted), _) => wanted,
            (StyleSetting::Auto, Some(found)) => found,
            (StyleSetting::Auto, None) => unknown_style(last),
        };
        Ok(Self::new(path, database, style, config, version))
    }

    /// A file of this style.
    pub(crate) fn new(
        path: PathBuf,
        database: Database,
        style: KeyStyle,
        config: &ExporterConfig,
        version: &Version,
    ) -> Self {
        let naming = config.naming(style);
        Self {
            path,
            database,
            holders: Holders::of(naming.clone(), version),
            mailboxes: Mailboxes {
                naming,
                own_server: config.own_server.clone(),
                admins: config.admins.clone(),
            },
            unsynced: None,
        }
    }

    pub(crate) fn style(&self) -> KeyStyle {
        self.mailboxes.naming.style
    }

    /// Gets the last commit on disk, if it has waited for so long.
    ///
    /// The sync that makes a transaction final is one that nobody waits for: the store has its changes, and what a
    /// crash undoes in the file is compared and written again. So it is left to the first sync of the next
    /// transaction, if one follows soon.
    pub(crate) fn sync_after(&mut self, wait: Duration) -> Result<(), ExportError> {
        if self
            .unsynced
            .take_if(|since| since.elapsed() >= wait)
            .is_some()
        {
            self.database.sync().map_err(of_database(&self.path))?;
        }
        Ok(())
    }

    /// The state of the file, and how many keys it has.
    pub(crate) fn look(&mut self) -> Result<(Identity, u64), ExportError> {
        let mut look = || {
            let reading = self.database.read()?;
            let records = reading.header().map_or(0, |header| header.records);
            Ok((reading.identity()?, records))
        };
        look().map_err(of_database(&self.path))
    }
}

/// The style for a file whose keys don't tell: the installed Cyrus's, for it will read it.
pub(crate) fn unknown_style(last: Option<KeyStyle>) -> KeyStyle {
    style::installed().or(last).unwrap_or(KeyStyle::ByName)
}
