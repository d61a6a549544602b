//! A new file with all of a list, made at once and put in place whole.

mod records;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cyrusdb::file::FileId;
use cyrusdb::twoskip::{Identity, Options, build};
use store::Version;

use crate::apply::unix_seconds;
use crate::holders::Holders;
use crate::place::{of_database, of_io, own_as, sync_directory};
use crate::table::Table;
use crate::{ExportError, ExporterConfig};

/// What a new file is called until it is in place. Not `.NEW`, which is Cyrus's.
const NEW_SUFFIX: &str = ".mupdate-new";
/// Fewer entries are not worth a new file.
const ENTRIES_MIN: usize = 1000;

/// A new file that is not in place yet.
pub(crate) struct New {
    pub(crate) path: PathBuf,
    identity: Identity,
}

/// Writes a new file beside `old`, with its owner and mode, and all of the list in it.
pub(crate) fn write(
    config: &ExporterConfig,
    old: &Path,
    holders: &mut Holders,
    version: &Version,
    generation: u64,
) -> Result<New, ExportError> {
    let path = with_suffix(old, NEW_SUFFIX);
    remove_if_there(&path)?;
    let like = fs::metadata(old).map_err(of_io("look at", old))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(of_io("create", &path))?;
    own_as(&file, &like)
        .and_then(|()| file.set_permissions(like.permissions()))
        .map_err(of_io("set owner and mode of", &path))?;
    let options = Options {
        fillers: config.fillers,
        order: config.order,
        ..Options::default()
    };
    let modified = unix_seconds(SystemTime::now());
    let header = records::send(config, holders, version, modified, |records| {
        build(&file, &options, generation, records).map_err(of_database(&path))
    })?;
    let found = file.metadata().map_err(of_io("look at", &path))?;
    let identity = Identity {
        file: FileId {
            device: found.dev(),
            inode: found.ino(),
        },
        generation,
        committed: header.committed,
    };
    Ok(New { path, identity })
}

/// Puts a new file with all of the list in place of one without a key: readers find all at once.
/// Returns the state of the new file, or `None` where the old one is not to be replaced.
pub(crate) fn fill_empty(
    config: &ExporterConfig,
    table: &mut Table,
    version: &Version,
) -> Result<Option<Identity>, ExportError> {
    let (expected, records) = table.look()?;
    if records > 0 || version.len() < ENTRIES_MIN || config.own_server.is_some() {
        return Ok(None);
    }
    let path = fs::canonicalize(&table.path).map_err(of_io("find", &table.path))?;
    let generation = expected.generation.saturating_add(1);
    let new = write(config, &path, &mut table.holders, version, generation)?;
    let mut put = || {
        let transaction = table.database.write().map_err(of_database(&path))?;
        let found = transaction.identity().map_err(of_database(&path))?;
        if found != expected || transaction.header().records > 0 {
            return Ok(None);
        }
        fs::rename(&new.path, &path).map_err(of_io("put a new file in place of", &path))?;
        sync_directory(&path)?;
        // Whoever waits for this lock finds the new file under the path.
        transaction.abort();
        Ok(Some(new.identity))
    };
    let done = put();
    if !matches!(done, Ok(Some(_))) {
        remove_if_there(&new.path)?;
    }
    done
}

pub(crate) fn remove_if_there(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of_io("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}
