//! The slave's own small files, beside the store: whose list it is, and which names are held.
//!
//! Both are lines, the last of which is `crc32 ` and the checksum of everything before it in hexadecimal.
//! They are replaced whole: temporary file, fsync, rename, fsync of the directory.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

const CRC: &[u8] = b"crc32 ";
/// `crc32 `, eight digits and a line end.
const CRC_LINE_BYTES: usize = 15;
/// A longer file is not ours.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// Why a file of the slave can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It can't be read or written.
    #[error("{what} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The content without the checksum; `None` where there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut octets = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut octets));
    match read {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed("can't read", path)(cause)),
        Ok(_) => {}
    }
    match octets.len().checked_sub(CRC_LINE_BYTES) {
        Some(at) if octets.get(at..) == Some(&*crc_line(octets.get(..at).unwrap_or_default())) => {
            octets.truncate(at);
            Ok(Some(octets))
        }
        _ => Err(damaged(path)),
    }
}

/// Replaces the file, durably.
pub(crate) fn replace(path: &Path, mut content: Vec<u8>) -> Result<(), FileError> {
    let crc = crc_line(&content);
    content.extend_from_slice(&crc);
    let temporary = path.with_added_extension("tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(&content)?;
        file.sync_all()
    });
    written.map_err(failed("can't write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("can't replace", path))?;
    sync_directory_of(path)
}

/// Removes the file, durably, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("can't remove", path)(cause)),
        Ok(()) => sync_directory_of(path),
    }
}

pub(crate) fn damaged(path: &Path) -> FileError {
    FileError::Damaged {
        path: path.to_owned(),
    }
}

fn sync_directory_of(path: &Path) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("can't sync", directory))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |cause| FileError::Io { what, path, cause }
}

fn crc_line(content: &[u8]) -> Vec<u8> {
    let crc = format!("{:08x}\n", crc32fast::hash(content));
    [CRC, crc.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_octet_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read(&path).unwrap().is_none());
        replace(&path, b"head\nuser.\xff x\n".to_vec()).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"head\nuser.\xff x\n");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(read(&path).is_err(), "octet {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
