//! Opening what is under the path, or making a file there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cyrusdb::Error;
use cyrusdb::twoskip::Database;
use tracing::info;

use crate::{ExportError, ExporterConfig};

/// Mailbox lists are nobody else's business.
const CREATE_MODE: u32 = 0o600;

/// Opens the database, creating an empty file where there is none.
pub(crate) fn open(config: &ExporterConfig) -> Result<Database, ExportError> {
    let path = &config.mailboxes_db;
    create_if_missing(path)?;
    let database = Database::open_path(path, config.options()).map_err(of_database(path))?;
    // Of a file without a byte there is no state to tell; locking it to write makes it a database.
    if matches!(database.format(), Ok(cyrusdb::Format::Empty)) {
        return initialised(database, path);
    }
    Ok(database)
}

fn initialised(mut database: Database, path: &Path) -> Result<Database, ExportError> {
    database.write().map_err(of_database(path))?.abort();
    Ok(database)
}

/// For `map_err`: an error of the database under a path.
pub(crate) fn of_database(path: &Path) -> impl FnOnce(Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Database { path, source }
}

/// For `map_err`: a failed call on a file.
pub(crate) fn of_io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Io { what, path, source }
}

fn create_if_missing(path: &Path) -> Result<(), ExportError> {
    if path.try_exists().map_err(of_io("look at", path))? {
        return Ok(());
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(CREATE_MODE)
        .open(path);
    let file = match made {
        // Others were faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other.map_err(of_io("create", path))?,
    };
    info!(path = %path.display(), "created mailboxes.db");
    let directory = directory_of(path);
    let like = fs::metadata(&directory).map_err(of_io("look at", &directory))?;
    own_as(&file, &like).map_err(of_io("set the owner of", path))?;
    sync_directory(path)
}

/// Gives a new file the owner of another: one that root leaves behind as root's own stops every
/// Cyrus daemon.
pub(crate) fn own_as(file: &File, like: &fs::Metadata) -> io::Result<()> {
    let present = file.metadata()?;
    if (present.uid(), present.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()))
}

/// Makes what happened in a file's directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), ExportError> {
    let directory = directory_of(path);
    File::open(&directory)
        .and_then(|directory| directory.sync_all())
        .map_err(of_io("sync", &directory))
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new(".")).to_owned()
}
