//! Names that a dump lacked and that are not deleted before an operator says so.
//!
//! `slave.held` in the data directory: a head with the store's epoch and sequence at the time, then a name
//! to a line, as on the wire (names hold no line ends). The file need not change when the master
//! speaks of a held name again, because that changes the name's entry: a name is held only while the
//! last change of its entry is not behind the file's sequence.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proto::MailboxName;
use store::{Epoch, Sequence, Version};

use crate::files::{self, FileError};
use crate::provenance::parse_epoch;

pub(crate) const HELD_NAME: &str = "slave.held";
const HEAD: &str = "mupdate-held 1";

/// The held names.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    names: HashSet<MailboxName>,
}

impl Held {
    /// Those of a data directory that are still held.
    pub(crate) fn read(data_dir: &Path, version: &Version) -> Result<Self, FileError> {
        let path = data_dir.join(HELD_NAME);
        let names = match files::read(&path)? {
            None => HashSet::new(),
            Some(content) => parse(&content, version).ok_or_else(|| files::damaged(&path))?,
        };
        Ok(Self { path, names })
    }

    /// None, and what the file says does not count.
    pub(crate) fn none(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(HELD_NAME),
            names: HashSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The master has spoken of this name; true if it was held.
    pub(crate) fn end(&mut self, name: &MailboxName) -> bool {
        self.names.remove(name)
    }

    /// At most `count` of the names.
    pub(crate) fn some(&self, count: usize) -> Vec<MailboxName> {
        self.names.iter().take(count).cloned().collect()
    }

    /// Holds exactly these from here on, whatever becomes of the file, and returns what to do
    /// about it: the disk is not for the caller's thread.
    pub(crate) fn set(&mut self, names: HashSet<MailboxName>, version: &Version) -> Saving {
        self.names = names;
        let content = (!self.names.is_empty()).then(|| self.print(version));
        Saving {
            path: self.path.clone(),
            content,
        }
    }

    fn print(&self, version: &Version) -> Vec<u8> {
        let (epoch, sequence) = (version.epoch(), version.sequence());
        let mut content = format!("{HEAD}\nepoch {epoch}\nsequence {sequence}\n").into_bytes();
        for name in &self.names {
            name.write_to(&mut content);
            content.push(b'\n');
        }
        content
    }
}

/// A write of the held names that is to be done.
#[derive(Debug)]
pub(crate) struct Saving {
    path: PathBuf,
    content: Option<Vec<u8>>,
}

impl Saving {
    /// Writes. Blocks.
    pub(crate) fn run(self) -> Result<(), FileError> {
        match self.content {
            Some(content) => files::replace(&self.path, content),
            None => files::remove(&self.path),
        }
    }
}

fn parse(content: &[u8], version: &Version) -> Option<HashSet<MailboxName>> {
    let mut lines = content.split(|&octet| octet == b'\n');
    let mut head = || std::str::from_utf8(lines.next()?).ok();
    if head()? != HEAD {
        return None;
    }
    let epoch: Epoch = parse_epoch(head()?.strip_prefix("epoch ")?)?;
    let sequence = Sequence(head()?.strip_prefix("sequence ")?.parse().ok()?);
    if !version.lineage().includes(epoch, sequence) {
        return Some(HashSet::new());
    }
    let names = lines.filter_map(|line| MailboxName::try_from(line).ok());
    let untouched = |name: &MailboxName| {
        let stored = version.get(name);
        stored.is_some_and(|stored| stored.changed <= sequence)
    };
    Some(names.filter(untouched).collect())
}
