//! The first 64 bytes (format document, section 1).

use super::record::FIRST_RECORD_AT;
use crate::detect::{Format, MAGIC_BYTES, TWOSKIP_MAGIC};
use crate::file::File;
use crate::{Error, wide};

/// Length of the header, and offset of the DUMMY record.
pub(crate) const HEADER_BYTES: usize = 64;
/// As an offset.
pub(crate) const DUMMY_AT: u64 = 64;
const VERSION: u32 = 1;
const DIRTY: u32 = 1;
/// Offset of the checksum.
const CRC_AT: usize = 60;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 1 in a new file, one more after each checkpoint.
    pub generation: u64,
    /// How many keys there are; may be off by some while `dirty`.
    pub records: u64,
    /// Where the last record written in key order ends.
    pub repack_size: u64,
    /// Where the last committed byte ends.
    pub committed: u64,
    /// A transaction is under way, or was when its process died.
    pub dirty: bool,
}

impl Header {
    /// Reads and checks the header. `None` for a file of no bytes, which is a new database.
    pub(crate) fn read(file: &impl File) -> Result<Option<Self>, Error> {
        let mut raw = [0; HEADER_BYTES];
        let count = file
            .read_at(0, &mut raw)
            .map_err(Error::io("read the header"))?;
        match raw.get(..count) {
            None | Some([]) => Ok(None),
            Some(found) => Self::parse(found).map(Some),
        }
    }

    fn parse(raw: &[u8]) -> Result<Self, Error> {
        let start = raw.get(..MAGIC_BYTES).unwrap_or(raw);
        let found = Format::of(start);
        if found != Format::Twoskip {
            // A file that was twoskip until a byte was hit must not be taken for another format.
            return Err(
                match start.iter().zip(TWOSKIP_MAGIC).position(|(a, b)| a != b) {
                    Some(at) if found == Format::Unknown && at > 3 => {
                        Error::corrupt(wide(at), "not the magic of any format")
                    }
                    _ => Error::OtherFormat { found },
                },
            );
        }
        let Some((fields, crc)) = raw
            .split_at_checked(CRC_AT)
            .filter(|_| raw.len() == HEADER_BYTES)
        else {
            return Err(Error::corrupt(
                wide(raw.len()),
                "file ends inside the header",
            ));
        };
        if crc != crc32fast::hash(fields).to_be_bytes() {
            return Err(Error::corrupt(
                wide(CRC_AT),
                "header checksum does not match",
            ));
        }
        let u64_at = |at: usize| {
            let octets = fields.get(at..).and_then(<[u8]>::first_chunk);
            octets.copied().map_or(0, u64::from_be_bytes)
        };
        let u32_at = |at: usize| {
            let octets = fields.get(at..).and_then(<[u8]>::first_chunk);
            octets.copied().map_or(0, u32::from_be_bytes)
        };
        if u32_at(20) != VERSION {
            return Err(Error::Version(u32_at(20)));
        }
        let header = Self {
            generation: u64_at(24),
            records: u64_at(32),
            repack_size: u64_at(40),
            committed: u64_at(48),
            dirty: u32_at(56) & DIRTY != 0,
        };
        if header.committed < FIRST_RECORD_AT || !header.committed.is_multiple_of(8) {
            return Err(Error::corrupt(48, "committed size where no record can end"));
        }
        Ok(header)
    }

    /// The bytes of this header.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(HEADER_BYTES);
        raw.extend_from_slice(TWOSKIP_MAGIC);
        raw.extend_from_slice(&VERSION.to_be_bytes());
        for field in [
            self.generation,
            self.records,
            self.repack_size,
            self.committed,
        ] {
            raw.extend_from_slice(&field.to_be_bytes());
        }
        raw.extend_from_slice(&u32::from(self.dirty).to_be_bytes());
        let crc = crc32fast::hash(&raw);
        raw.extend_from_slice(&crc.to_be_bytes());
        raw
    }

    /// Makes it known, also after a crash, that what is behind the committed size and in the heads of records does not
    /// count from now on.
    pub(crate) fn mark_dirty(mut self, file: &impl File) -> Result<(), Error> {
        self.dirty = true;
        self.write(file)?;
        file.sync()
            .map_err(Error::io("sync the header before a transaction"))
    }

    /// Writes the header, in one call, without a sync.
    pub(crate) fn write(&self, file: &impl File) -> Result<(), Error> {
        file.write_at(0, &self.encode())
            .map_err(Error::io("write the header"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_files_header_is_cyruss_own() {
        let header = Header {
            generation: 1,
            records: 0,
            repack_size: FIRST_RECORD_AT,
            committed: FIRST_RECORD_AT,
            dirty: false,
        };
        let raw = header.encode();
        assert_eq!(raw, include_bytes!("../../tests/vectors/01-empty.db")[..64]);
        assert_eq!(raw[60..], 0xa294_3880_u32.to_be_bytes());
        assert_eq!(Header::parse(&raw).unwrap(), header);
    }

    #[test]
    fn a_hit_magic_is_damage_and_another_format_is_named() {
        let mut raw = include_bytes!("../../tests/vectors/01-empty.db")[..64].to_vec();
        raw[10] ^= 1;
        let error = Header::parse(&raw).unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { offset: 10, .. }),
            "{error}"
        );
        let skiplist = include_bytes!("../../tests/vectors/20-skiplist.db");
        let message = Header::parse(&skiplist[..64]).unwrap_err().to_string();
        assert!(
            message.contains("skiplist") && message.contains("cvt_cyrusdb"),
            "{message}"
        );
    }
}
