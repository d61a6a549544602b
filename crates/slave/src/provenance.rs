//! Whose list a store holds.
//!
//! `slave.state` in the data directory says that the store is a slave's, of which master, and whether it
//! has ever held a complete list. So a slave that starts again serves at once, and a master that is
//! started on such a store knows that this is a promotion.

use std::path::{Path, PathBuf};

use store::{Epoch, Sequence, Version};

use crate::files::{self, FileError};
use crate::held;

const STATE_NAME: &str = "slave.state";
const HEAD: &str = "mupdate-slave 1";

/// What is remembered of a slave's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The master that was followed last, as `host:port`.
    pub upstream: String,
    /// Epoch of the store.
    pub epoch: Epoch,
    /// Whether a dump has ever come to its proven end.
    pub complete: bool,
}

impl Provenance {
    /// Reads what is remembered; `None`: the data directory is not a slave's.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, FileError> {
        let path = path_in(data_dir);
        let Some(content) = files::read(&path)? else {
            return Ok(None);
        };
        parse(&content)
            .map(Some)
            .ok_or_else(|| files::damaged(&path))
    }

    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), FileError> {
        files::replace(&path_in(data_dir), print(self).into_bytes())
    }

    /// Whether the list of this store is complete.
    pub(crate) fn vouches_for(&self, version: &Version) -> bool {
        self.complete && version.lineage().includes(self.epoch, Sequence::default())
    }
}

/// Whether the store of this data directory is a slave's, so that a master that starts on it has
/// been promoted: it must take a new epoch ([`store::Store::new_epoch`]) and be in recovery until
/// an operator says that its list is right. A state file that can't be read counts as one.
pub fn is_slave_store(data_dir: &Path) -> bool {
    !matches!(Provenance::read(data_dir), Ok(None))
}

/// The store of this data directory is a slave's no longer. To be called when a promotion is on record
/// elsewhere (new epoch, marker in recovery), not before.
pub fn forget_slave(data_dir: &Path) -> Result<(), FileError> {
    held::remove(data_dir)?;
    files::remove(&path_in(data_dir))
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(STATE_NAME)
}

fn print(provenance: &Provenance) -> String {
    let Provenance {
        upstream,
        epoch,
        complete,
    } = provenance;
    let complete = if *complete { "yes" } else { "no" };
    format!("{HEAD}\nupstream {upstream}\nepoch {epoch}\ncomplete {complete}\n")
}

/// Only what [`print`] could have printed counts.
fn parse(content: &[u8]) -> Option<Provenance> {
    let text = std::str::from_utf8(content).ok()?;
    let mut lines = text.lines();
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    field("mupdate-slave")?;
    let provenance = Provenance {
        upstream: field("upstream")?.to_owned(),
        epoch: parse_epoch(field("epoch")?)?,
        complete: field("complete")? == "yes",
    };
    (print(&provenance) == text).then_some(provenance)
}

pub(crate) fn parse_epoch(text: &str) -> Option<Epoch> {
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(Epoch(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_slave_store(dir.path()));
        for complete in [false, true] {
            let provenance = Provenance {
                upstream: "[::1]:3905".to_owned(),
                epoch: Epoch([9; 16]),
                complete,
            };
            provenance.write(dir.path()).unwrap();
            let read = Provenance::read(dir.path()).unwrap();
            assert_eq!(read, Some(provenance));
            assert!(is_slave_store(dir.path()));
        }
        std::fs::write(path_in(dir.path()), "x").unwrap();
        assert!(is_slave_store(dir.path()), "damage does not hide it");
        forget_slave(dir.path()).unwrap();
        assert!(!is_slave_store(dir.path()));
    }
}
