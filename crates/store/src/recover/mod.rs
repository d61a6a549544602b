//! From the files of a directory to the list (`docs/store-format.md`, "Start").

mod base;
mod history;
mod replay;
mod report;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digester;
use crate::error::OpenError;
use crate::file::{FileSystem, TEMPORARY};
use crate::ids::Token;
use crate::log::append::Appender;
use crate::log::segment;
use crate::snapshot::{self, Kept};
use crate::{Lineage, StoreConfig, Version, token};

pub(crate) use history::{Backlog, Older};
pub use report::{Finding, OpenReport};

/// Name of the file whose lock says that a process has the directory.
const LOCK: &str = "lock";

/// A list that was brought back, and where it goes on.
pub(crate) struct Recovered {
    pub(crate) version: Version,
    pub(crate) log: Appender,
    pub(crate) lock: Box<dyn Send>,
    pub(crate) digester: Digester,
    pub(crate) snapshots: Kept,
    /// What feeds would like to know and the list can be served without.
    pub(crate) backlog: Option<Backlog>,
    pub(crate) report: OpenReport,
}

/// What the directory holds.
struct Found {
    /// Numbers of the segments, lowest first.
    segments: Vec<u64>,
    /// Numbers of the snapshots, lowest first.
    snapshots: Vec<u64>,
}

pub(crate) fn open(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    config: &StoreConfig,
) -> Result<Recovered, OpenError> {
    let lock = lock(&**fs, dir)?;
    let found = look_through(&**fs, dir)?;
    if found.segments.is_empty() && found.snapshots.is_empty() {
        return create(fs, dir, lock);
    }
    replay::recover(fs, dir, config, &found, lock)
}

fn lock(fs: &dyn FileSystem, dir: &Path) -> Result<Box<dyn Send>, OpenError> {
    fs.create_dir(dir).map_err(io_error("can't create", dir))?;
    let path = dir.join(LOCK);
    fs.lock(&path).map_err(|source| {
        if source.kind() == ErrorKind::WouldBlock {
            let dir = dir.to_owned();
            return OpenError::Locked { dir };
        }
        io_error("can't lock", &path)(source)
    })
}

fn look_through(fs: &dyn FileSystem, dir: &Path) -> Result<Found, OpenError> {
    let names = fs.list(dir).map_err(io_error("can't list", dir))?;
    for name in &names {
        let complete = name
            .strip_suffix(TEMPORARY)
            .and_then(|n| n.strip_suffix('.'));
        if complete.is_some_and(is_ours) {
            let path = dir.join(name);
            fs.remove(&path).map_err(io_error("can't remove", &path))?;
        }
    }
    let numbers = |number_of: fn(&str) -> Option<u64>| {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        numbers
    };
    Ok(Found {
        segments: numbers(segment::number_of),
        snapshots: numbers(snapshot::number_of),
    })
}

fn is_ours(name: &str) -> bool {
    name == token::FILE_NAME
        || segment::number_of(name)
            .or_else(|| snapshot::number_of(name))
            .is_some()
}

fn create(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    lock: Box<dyn Send>,
) -> Result<Recovered, OpenError> {
    let lineage = Arc::new(Lineage::random());
    if let Some(token) = lineage.token() {
        // Before the store that it stands for, which would else pass for a copy.
        token::write(&**fs, dir, token).map_err(io_error("can't write the token in", dir))?;
    }
    let mut version = Version::empty(Arc::clone(&lineage));
    let log = Appender::create(Arc::clone(fs), dir, 1, &version)
        .map_err(io_error("can't create the log in", dir))?;
    version.log = log.end();
    Ok(Recovered {
        version,
        log,
        lock,
        digester: Digester::new(&lineage),
        snapshots: Kept::default(),
        backlog: None,
        report: OpenReport {
            created: true,
            ..OpenReport::default()
        },
    })
}

/// Brings a store of an older version up to date: its last segment must hold nothing that the older
/// version would take for damage.
fn renew(
    fs: &dyn FileSystem,
    dir: &Path,
    version: &mut Version,
    log: &mut Appender,
) -> Result<(), OpenError> {
    if version.lineage.token().is_none() {
        let token = Token::random();
        token::write(fs, dir, token).map_err(io_error("can't write the token in", dir))?;
        version.lineage = Arc::new(version.lineage.with_token(token));
    }
    let rolled = log.roll(version);
    version.log = rolled.map_err(io_error("can't create the log in", dir))?;
    Ok(())
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = PathBuf::from(path);
    move |source| OpenError::Io { what, path, source }
}
