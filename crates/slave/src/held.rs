//! The file of held names that earlier versions kept beside the store.
//!
//! `slave.held` in the data directory: a head with the store's epoch and sequence at the time, then a name
//! to a line, as on the wire (names hold no line ends). The master speaking of a held name again did not
//! change the file, but the name's entry: a name was held only while the last change of its entry was not
//! behind the file's sequence. Today the store itself knows what is held ([`store::Stored::held`]).

use std::path::Path;

use proto::MailboxName;
use store::{Epoch, Sequence, Version};

use crate::files::{self, FileError};
use crate::provenance::parse_epoch;

const HELD_NAME: &str = "slave.held";
const HEAD: &str = "mupdate-held 1";

/// The names of a data directory's file that are still held; `None`: there is no file.
pub(crate) fn read(
    data_dir: &Path,
    version: &Version,
) -> Result<Option<Vec<MailboxName>>, FileError> {
    let path = data_dir.join(HELD_NAME);
    match files::read(&path)? {
        None => Ok(None),
        Some(content) => match parse(&content, version) {
            None => Err(files::damaged(&path)),
            names => Ok(names),
        },
    }
}

/// Removes the file.
pub(crate) fn remove(data_dir: &Path) -> Result<(), FileError> {
    files::remove(&data_dir.join(HELD_NAME))
}

fn parse(content: &[u8], version: &Version) -> Option<Vec<MailboxName>> {
    let mut lines = content.split(|&octet| octet == b'\n');
    let mut head = || std::str::from_utf8(lines.next()?).ok();
    if head()? != HEAD {
        return None;
    }
    let epoch: Epoch = parse_epoch(head()?.strip_prefix("epoch ")?)?;
    let sequence = Sequence(head()?.strip_prefix("sequence ")?.parse().ok()?);
    if !version.lineage().includes(epoch, sequence) {
        return Some(Vec::new());
    }
    let names = lines.filter_map(|line| MailboxName::try_from(line).ok());
    let untouched = |name: &MailboxName| {
        let listed = version.find(name);
        listed.is_some_and(|listed| listed.changed <= sequence)
    };
    Some(names.filter(untouched).collect())
}
