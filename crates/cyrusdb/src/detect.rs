//! Formats of Cyrus database files, told apart by their first bytes.

use std::fmt;

/// How many bytes [`Format::of`] wants to see, if the file has them.
pub const MAGIC_BYTES: usize = 20;

/// First bytes of a twoskip file.
pub(crate) const TWOSKIP_MAGIC: &[u8; MAGIC_BYTES] = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0";
const SKIPLIST_MAGIC: &[u8] = b"\xa1\x02\x8b\x0dskiplist file\0\0\0";
const TWOM_MAGIC: &[u8] = b"\xa1\x02\x8b\x0dtwomfile\0\0\0\0";
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// The format of a Cyrus database file (format document, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// No byte yet: whoever opens it first makes it his own.
    Empty,
    /// The default since 2.5, and what this crate reads and writes.
    Twoskip,
    /// The default up to 2.4.
    Skiplist,
    /// Of the development branch.
    Twom,
    /// The sql backend, with `SQLite`.
    Sqlite,
    /// Lines of text.
    Flat,
    /// None of these.
    Unknown,
}

impl Format {
    /// The format of a file that begins so. `start` is the first [`MAGIC_BYTES`] bytes, or all of a
    /// shorter file.
    pub fn of(start: &[u8]) -> Self {
        let is = |magic: &[u8]| start.starts_with(magic);
        if start.is_empty() {
            Self::Empty
        } else if is(TWOSKIP_MAGIC) {
            Self::Twoskip
        } else if is(SKIPLIST_MAGIC) {
            Self::Skiplist
        } else if is(TWOM_MAGIC) {
            Self::Twom
        } else if is(SQLITE_MAGIC) {
            Self::Sqlite
        } else if start.iter().all(|&octet| is_text(octet)) {
            Self::Flat
        } else {
            Self::Unknown
        }
    }

    /// What an operator can do about a file of this format.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Empty | Self::Twoskip => "nothing to do",
            Self::Skiplist => {
                "stop Cyrus and convert it with 'cvt_cyrusdb FILE skiplist NEWFILE twoskip', \
                 or set 'mboxlist_db: twoskip' and run 'ctl_cyrusdb -r'"
            }
            Self::Twom => {
                "stop Cyrus, set 'mboxlist_db: twoskip' and 'cyrusdb_autoconvert: no', and convert \
                 it with 'cvt_cyrusdb FILE twom NEWFILE twoskip'"
            }
            Self::Sqlite => {
                "stop Cyrus, set 'mboxlist_db: twoskip', and convert it with \
                 'cvt_cyrusdb FILE sql NEWFILE twoskip'"
            }
            Self::Flat => {
                "stop Cyrus, set 'mboxlist_db: twoskip', and convert it with \
                 'cvt_cyrusdb FILE flat NEWFILE twoskip'"
            }
            Self::Unknown => "check the path, or move the file aside and restore it from a backup",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Twoskip => "twoskip",
            Self::Skiplist => "skiplist",
            Self::Twom => "twom",
            Self::Sqlite => "SQLite",
            Self::Flat => "flat",
            Self::Unknown => "foreign",
        })
    }
}

fn is_text(octet: u8) -> bool {
    matches!(octet, b'\t' | b'\n' | 0x1d..=0x7e | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_told_by_its_magic() {
        assert_eq!(Format::of(b""), Format::Empty);
        assert_eq!(Format::of(TWOSKIP_MAGIC), Format::Twoskip);
        assert_eq!(Format::of(SKIPLIST_MAGIC), Format::Skiplist);
        assert_eq!(Format::of(TWOM_MAGIC), Format::Twom);
        assert_eq!(Format::of(b"SQLite format 3\0\x10\0\0\0"), Format::Sqlite);
        assert_eq!(Format::of(b"user.joe\t0 default "), Format::Flat);
        assert_eq!(Format::of(b"\x7fELF\x02\x01"), Format::Unknown);
        assert_eq!(Format::of(b"\xa1\x02\x8b\x0dtwo"), Format::Unknown);
    }
}
