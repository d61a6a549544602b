//! A new file in place of one that can't be kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use cyrusdb::detect::MAGIC_BYTES;
use cyrusdb::lock::{LockKind, lock};
use cyrusdb::mailboxes::{KeyMeaning, KeyStyle, Naming, Record};
use cyrusdb::twoskip::Database;
use cyrusdb::{Error, Format};
use store::Version;
use tracing::warn;

use crate::bulk::{self, remove_if_there, with_suffix};
use crate::holders::Holders;
use crate::place::{of_database, of_io, sync_directory};
use crate::table::unknown_style;
use crate::{ExportError, ExporterConfig, Misfit, StyleSetting};

/// How long the old file's lock is waited for, each time.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(1);

/// Puts a new file, already filled, in place of one that can't be kept because of `why`, which stays
/// beside it. Gives `why` back where that may not be done.
pub(crate) fn rebuild(
    config: &ExporterConfig,
    why: ExportError,
    last: Option<KeyStyle>,
    version: &Version,
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
    let naming = config.naming(style);
    let mut holders = Holders::of(naming, version);
    let new = bulk::write(config, path, &mut holders, version, 1)?;
    let aside = with_suffix(path, &format!(".{suffix}"));
    swap(path, &new.path, &aside, &why)?;
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
    remove_if_there(aside)?;
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
