//! A new file in place of one that can't be kept.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cyrusdb::detect::MAGIC_BYTES;
use cyrusdb::lock::{LockKind, lock};
use cyrusdb::mailboxes::{KeyMeaning, KeyStyle, Naming, Record};
use cyrusdb::twoskip::{Database, Options};
use cyrusdb::{Error, Format};
use store::Version;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::apply::unix_seconds;
use crate::place::{of_database, of_io, own_as, sync_directory};
use crate::table::{Table, unknown_style};
use crate::{ExportError, ExporterConfig, Misfit, StyleSetting};

/// Entries in one transaction on a file that nobody else sees.
const PORTION: usize = 5000;
/// How long the old file's lock is waited for, each time.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(1);
/// What the new file is called until it is in place.
const NEW_SUFFIX: &str = ".mupdate-new";

/// Puts a new file, already filled, in place of one that can't be kept because of `why`, which stays
/// beside it. Gives `why` back where that may not be done.
pub(crate) fn rebuild(
    config: &ExporterConfig,
    why: ExportError,
    last: Option<KeyStyle>,
    version: &Version,
    stop: &CancellationToken,
) -> Result<(), ExportError> {
    let Some(suffix) = why.misfit() else {
        return Err(why);
    };
    if config.misfit == Misfit::Refuse {
        return Err(why);
    }
    if config.own_server.is_some() || holds_local(config, &why) {
        return Err(ExportError::HoldsLocal {
            path: config.mailboxes_db.clone(),
            why: Box::new(why),
        });
    }
    // A link is followed, so that what it leads to is replaced and not the link.
    let path =
        &fs::canonicalize(&config.mailboxes_db).map_err(of_io("find", &config.mailboxes_db))?;
    let style = match config.style {
        StyleSetting::Fixed(style) => style,
        StyleSetting::Auto => unknown_style(last),
    };
    let new = with_suffix(path, NEW_SUFFIX);
    fill(config, path, &new, style, version, stop)?;
    let aside = with_suffix(path, &format!(".{suffix}"));
    swap(path, &new, &aside, &why)?;
    warn!(
        path = %path.display(), why = %why, kept = %aside.display(),
        setting = why.setting_to_change(),
        "replaced mailboxes.db by a new twoskip file; correct the setting in imapd.conf"
    );
    Ok(())
}

/// Whether a file with keys of another style holds mailboxes of this host.
fn holds_local(config: &ExporterConfig, why: &ExportError) -> bool {
    let ExportError::OtherStyle { found, path } = why else {
        return false;
    };
    let naming = Naming::new(*found);
    let mut local = false;
    let mut walk = || {
        let mut database = Database::open_path(path, config.options())?;
        database.read()?.walk(None, |key, value| {
            let record = Record::parse(value).ok();
            local |= matches!(naming.meaning(key), KeyMeaning::Mailbox(_))
                && record.is_some_and(|record| record.local(None).is_some());
            !local
        })
    };
    // What can't be read may hold anything.
    walk().is_err() || local
}

/// Writes the new file, with owner and mode of the old one.
fn fill(
    config: &ExporterConfig,
    old: &Path,
    new: &Path,
    style: KeyStyle,
    version: &Version,
    stop: &CancellationToken,
) -> Result<(), ExportError> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(of_io("remove", new)(error));
        }
        _ => {}
    }
    let like = fs::metadata(old).map_err(of_io("look at", old))?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
        .map_err(of_io("create", new))?;
    own_as(&file, &like)
        .and_then(|()| file.set_permissions(like.permissions()))
        .map_err(of_io("set owner and mode of", new))?;
    let options = Options {
        fillers: config.fillers,
        order: config.order,
        ..Options::default()
    };
    let database = Database::open_path(new, options).map_err(of_database(new))?;
    let mut table = Table::new(new.to_owned(), database, style, config, version);
    write_all(&mut table, version, stop).map_err(of_database(new))
}

fn write_all(table: &mut Table, version: &Version, stop: &CancellationToken) -> Result<(), Error> {
    let modified = unix_seconds(SystemTime::now());
    let mut entries = version.iter().peekable();
    table.database.write()?.abort();
    while entries.peek().is_some() {
        if stop.is_cancelled() {
            return Err(Error::GivenUp);
        }
        let mut transaction = table.database.write()?;
        for (name, _) in entries.by_ref().take(PORTION) {
            let wanted = table.holders.wanted(name, version);
            if let Some(entry) = wanted.entry.filter(|_| wanted.holder == *name) {
                table
                    .mailboxes
                    .set(&mut transaction, name, &entry, modified)?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// The old file keeps its content under another name; the new one takes its place at once, so that
/// there always is a file under the path. Under the old one's lock, unless Cyrus has replaced it.
fn swap(path: &Path, new: &Path, aside: &Path, why: &ExportError) -> Result<(), ExportError> {
    let mut old = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(of_io("open", path))?;
    if !lock(&old, LockKind::Exclusive, LOCK_WAIT_MAX).map_err(of_io("lock", path))? {
        let seconds = LOCK_WAIT_MAX.as_secs();
        return Err(of_database(path)(Error::Locked { seconds }));
    }
    let (open, in_place) = (old.metadata(), fs::metadata(path));
    let id = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino()));
    let same = id(open).map_err(of_io("look at", path))?
        == id(in_place).map_err(of_io("look at", path))?;
    if !same || !is_still(&mut old, why).map_err(of_io("read", path))? {
        return Err(of_database(path)(Error::Replaced));
    }
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(of_io("remove", aside)(error));
        }
        _ => {}
    }
    fs::hard_link(path, aside).map_err(of_io("keep the old file as", aside))?;
    fs::rename(new, path).map_err(of_io("put a new file in place of", path))?;
    sync_directory(path)
}

/// Whether the file still has the format that it is replaced for.
fn is_still(file: &mut File, why: &ExportError) -> io::Result<bool> {
    let mut start = Vec::new();
    let limit = u64::try_from(MAGIC_BYTES).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut start)?;
    let format = Format::of(&start);
    Ok(match why {
        ExportError::Database {
            source: Error::OtherFormat { found },
            ..
        } => format == *found,
        _ => format == Format::Twoskip,
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}
