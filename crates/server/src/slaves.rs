//! How far each slave is proven to have come, kept over sessions and restarts.
//!
//! The answer to a NOOP on a streaming session follows every change before it; a *later* NOOP of the
//! same session proves that the answer was read, and so that the slave holds the list as it was
//! then. When that slave comes back for a dump, only the names deleted since can hurt its merge (see
//! `repair`). A slave is known by its address and identity; where two sessions of one such pair have
//! been live at once, the pair names two slaves and proves nothing any more.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{Epoch, Sequence};
use thiserror::Error;
use tracing::info;

/// Pairs remembered; a further one simply gets the full repair pass each time.
const PAIRS_MAX: usize = 4096;
/// First line of the file.
const HEADER: &str = "mupdate slaves 1";

/// The slaves that have proven a position, shared by all sessions.
#[derive(Debug, Clone)]
pub struct KnownSlaves {
    path: Arc<Path>,
    table: Arc<Mutex<Table>>,
}

/// Why the file of known slaves can't be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KnownSlavesError {
    /// Reading or writing failed.
    #[error("known slaves {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A line is not of this format.
    #[error("known slaves {}: line {line} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

#[derive(Debug, Default)]
struct Table {
    slaves: BTreeMap<Pair, Slave>,
    dirty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    address: IpAddr,
    identity: Arc<str>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slave {
    proven: Option<(Epoch, Sequence)>,
    live_sessions: u32,
    ambiguous: bool,
}

impl KnownSlaves {
    /// Reads the file; one that does not exist is empty.
    pub fn load(path: &Path) -> Result<Self, KnownSlavesError> {
        let slaves = match fs::read_to_string(path) {
            Ok(text) => parse(&text).map_err(|line| KnownSlavesError::Damaged {
                path: path.into(),
                line,
            })?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => {
                return Err(KnownSlavesError::Io {
                    path: path.into(),
                    cause,
                });
            }
        };
        Ok(Self::with(path, slaves))
    }

    /// Knows nobody yet; the file is replaced at the next [`KnownSlaves::save`].
    pub fn empty(path: &Path) -> Self {
        Self::with(path, BTreeMap::new())
    }

    fn with(path: &Path, slaves: BTreeMap<Pair, Slave>) -> Self {
        let table = Table {
            slaves,
            dirty: false,
        };
        Self {
            path: path.into(),
            table: Arc::new(Mutex::new(table)),
        }
    }

    /// Writes the file if anything changed since the last time. Never ahead of the truth: a position
    /// lost in a crash only makes the next repair pass longer.
    pub fn save(&self) -> Result<(), KnownSlavesError> {
        let text = {
            let mut table = self.lock();
            if !table.dirty {
                return Ok(());
            }
            table.dirty = false;
            print(&table.slaves)
        };
        replace(&self.path, text.as_bytes()).map_err(|cause| {
            self.lock().dirty = true;
            KnownSlavesError::Io {
                path: self.path.to_path_buf(),
                cause,
            }
        })
    }

    /// A streaming session of this pair begins; it ends when the membership is dropped.
    pub(crate) fn join(&self, address: IpAddr, identity: &Arc<str>) -> Membership {
        let pair = Pair {
            address,
            identity: Arc::clone(identity),
        };
        let mut table = self.lock();
        if table.slaves.len() >= PAIRS_MAX && !table.slaves.contains_key(&pair) {
            return Membership {
                slaves: self.clone(),
                pair: None,
            };
        }
        let slave = table.slaves.entry(pair.clone()).or_default();
        slave.live_sessions += 1;
        if slave.live_sessions > 1 && !slave.ambiguous {
            slave.ambiguous = true;
            slave.proven = None;
            table.dirty = true;
            info!(%address, %identity, "two streaming sessions at once: one address and identity for several slaves");
        }
        drop(table);
        Membership {
            slaves: self.clone(),
            pair: Some(pair),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One streaming session's place among the known slaves.
#[derive(Debug)]
pub(crate) struct Membership {
    slaves: KnownSlaves,
    pair: Option<Pair>,
}

impl Membership {
    /// The position this slave is known to have reached in an earlier session.
    pub(crate) fn proven(&self) -> Option<(Epoch, Sequence)> {
        let pair = self.pair.as_ref()?;
        self.slaves.lock().slaves.get(pair)?.proven
    }

    /// The slave has read the answer to a barrier at this position.
    pub(crate) fn prove(&self, epoch: Epoch, sequence: Sequence) {
        let Some(pair) = &self.pair else { return };
        let mut table = self.slaves.lock();
        let Some(slave) = table.slaves.get_mut(pair) else {
            return;
        };
        if !slave.ambiguous && slave.proven != Some((epoch, sequence)) {
            slave.proven = Some((epoch, sequence));
            table.dirty = true;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Some(pair) = &self.pair else { return };
        if let Some(slave) = self.slaves.lock().slaves.get_mut(pair) {
            slave.live_sessions = slave.live_sessions.saturating_sub(1);
        }
    }
}

fn print(slaves: &BTreeMap<Pair, Slave>) -> String {
    let mut text = format!("{HEADER}\n");
    for (pair, slave) in slaves {
        let printable = !pair.identity.chars().any(char::is_control);
        let state = match slave.proven {
            _ if !printable => continue,
            _ if slave.ambiguous => "ambiguous -".to_owned(),
            Some((epoch, sequence)) => format!("{epoch} {sequence}"),
            None => continue,
        };
        text.extend([
            pair.address.to_string().as_str(),
            " ",
            &state,
            " ",
            &pair.identity,
            "\n",
        ]);
    }
    text
}

/// The slaves in the file, or the number of the line that can't be read.
fn parse(text: &str) -> Result<BTreeMap<Pair, Slave>, usize> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(1);
    }
    lines
        .zip(2..)
        .map(|(line, number)| parse_line(line).ok_or(number))
        .collect()
}

fn parse_line(line: &str) -> Option<(Pair, Slave)> {
    let mut fields = line.splitn(4, ' ');
    let address = IpAddr::from_str(fields.next()?).ok()?;
    let (epoch, sequence) = (fields.next()?, fields.next()?);
    let identity: Arc<str> = fields.next()?.into();
    let slave = if epoch == "ambiguous" {
        Slave {
            ambiguous: true,
            ..Slave::default()
        }
    } else {
        let proven = Some((parse_epoch(epoch)?, Sequence(sequence.parse().ok()?)));
        Slave {
            proven,
            ..Slave::default()
        }
    };
    Some((Pair { address, identity }, slave))
}

/// The inverse of how an epoch is displayed.
fn parse_epoch(text: &str) -> Option<Epoch> {
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(Epoch(number.to_be_bytes()))
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> (Epoch, Sequence) {
        (Epoch([7; 16]), Sequence(sequence))
    }

    fn slaves() -> (tempfile::TempDir, KnownSlaves) {
        let dir = tempfile::tempdir().unwrap();
        let slaves = KnownSlaves::load(&dir.path().join("slaves")).unwrap();
        (dir, slaves)
    }

    #[test]
    fn a_proven_position_survives_a_restart() {
        let (dir, slaves) = slaves();
        let address = IpAddr::from([127, 0, 0, 1]);
        slaves.join(address, &"fe 1".into()).prove(at(7).0, at(7).1);
        slaves.save().unwrap();
        let again = KnownSlaves::load(&dir.path().join("slaves")).unwrap();
        assert_eq!(again.join(address, &"fe 1".into()).proven(), Some(at(7)));
        assert_eq!(again.join(address, &"fe2".into()).proven(), None);
    }

    #[test]
    fn two_live_sessions_void_the_proof_for_good() {
        let (dir, slaves) = slaves();
        let address = IpAddr::from([127, 0, 0, 1]);
        let first = slaves.join(address, &"fe".into());
        first.prove(at(7).0, at(7).1);
        let second = slaves.join(address, &"fe".into());
        assert_eq!(second.proven(), None);
        drop((first, second));
        slaves.save().unwrap();
        let again = KnownSlaves::load(&dir.path().join("slaves")).unwrap();
        let alone = again.join(address, &"fe".into());
        alone.prove(at(9).0, at(9).1);
        assert_eq!(alone.proven(), None);
    }

    #[test]
    fn damage_is_named_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slaves");
        fs::write(&path, format!("{HEADER}\n127.0.0.1 nonsense\n")).unwrap();
        let error = KnownSlaves::load(&path).unwrap_err();
        assert!(error.to_string().ends_with("line 2 is damaged"), "{error}");
    }
}
