//! A whole file as a list.

use std::path::Path;

use cyrusdb::mailboxes::{InvalidRecord, KeyMeaning, KeyStyle, Local, Mailboxes, Naming, Record};
use cyrusdb::twoskip::{Database, Options};
use proto::{Entry, InvalidMailboxName, MailboxName};
use thiserror::Error;

use crate::place::of_database;
use crate::{ExportError, ExporterConfig};

/// Records read under one shared lock.
const PAGE_RECORDS: usize = 1000;

/// One mailbox of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: MailboxName,
    /// What the file says about it. A reservation does not tell which command made it.
    pub entry: Entry,
    /// When that was written (`M`), in Unix seconds; not known of files of 2.3 and 2.4.
    pub modified: Option<u64>,
}

/// A record that is not of use to a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub why: Why,
}

/// Why a record is not of use to a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Why {
    /// The name could hurt a peer.
    #[error(transparent)]
    Name(#[from] InvalidMailboxName),
    /// The value is none of a mailbox, or can't be passed on.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// It is about the host itself; its backend tells the master about it.
    #[error("belongs to the host itself ({0:?})")]
    Local(Local),
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileList {
    /// Style of its keys, if there are any.
    pub style: Option<KeyStyle>,
    /// Mailboxes, in the file's order.
    pub entries: Vec<FileEntry>,
    /// Records that are not of use.
    pub unused: Vec<Unused>,
}

impl FileList {
    /// Whether there is not one mailbox, usable or not: what Cyrus's tools leave of a new site.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unused.is_empty()
    }
}

/// Reads a file, under shared locks, a page at a time; an unclean one as recovery would leave it. No
/// file, or one without a byte, is an empty list.
pub fn read(config: &ExporterConfig) -> Result<FileList, ExportError> {
    let path = &config.mailboxes_db;
    if !exists(path)? {
        return Ok(FileList::default());
    }
    let options = Options {
        order: config.order,
        ..Options::read_only()
    };
    let mut database = Database::open_path(path, options).map_err(of_database(path))?;
    let style = Mailboxes::detect_style(&mut database).map_err(of_database(path))?;
    let mut list = FileList {
        style,
        ..FileList::default()
    };
    let Some(style) = style else {
        return Ok(list);
    };
    let naming = Naming {
        style,
        default_domain: config.default_domain.clone(),
    };
    let mut cursor: Option<Vec<u8>> = None;
    loop {
        let page = database.page(cursor.as_deref(), PAGE_RECORDS);
        let page = page.map_err(of_database(path))?;
        let Some(end) = page.last() else {
            return Ok(list);
        };
        cursor = Some(end.key().to_vec());
        for pair in &page {
            list.take(
                &naming,
                config.own_server.as_deref(),
                pair.key(),
                pair.value(),
            );
        }
    }
}

impl FileList {
    fn take(&mut self, naming: &Naming, own_server: Option<&[u8]>, key: &[u8], value: &[u8]) {
        let found = match naming.meaning(key) {
            KeyMeaning::Other => return,
            KeyMeaning::Unusable(why) => Err(Why::Name(why)),
            KeyMeaning::Mailbox(name) => usable(name, own_server, value),
        };
        match found {
            Ok(entry) => self.entries.push(entry),
            Err(why) => self.unused.push(Unused {
                key: key.to_vec(),
                why,
            }),
        }
    }
}

fn usable(name: MailboxName, own_server: Option<&[u8]>, value: &[u8]) -> Result<FileEntry, Why> {
    let record = Record::parse(value)?;
    if let Some(local) = record.local(own_server) {
        return Err(Why::Local(local));
    }
    Ok(FileEntry {
        name,
        entry: record.entry()?,
        modified: record.modified(),
    })
}

fn exists(path: &Path) -> Result<bool, ExportError> {
    path.try_exists().map_err(|source| ExportError::Io {
        what: "look at",
        path: path.to_owned(),
        source,
    })
}
