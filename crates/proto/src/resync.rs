//! What RESYNC (`docs/resync.md`) has on the wire beside names and entries.

use std::fmt;

/// Argument of the capability line.
pub const RESYNC_VERSION: &str = "1";
/// Most octets in one binary string.
pub const BINARY_BYTES_MAX: usize = 64 * 1024;
/// Most sums in one SUMS line.
pub const SUMS_PER_LINE_MAX: usize = 1000;
/// Most hashes in one UNKNOWN line.
pub const HASHES_PER_LINE_MAX: usize = BINARY_BYTES_MAX / HASH_BYTES;
/// Most groups that one BUCKETS asks for.
pub const GROUPS_ASKED_MAX: usize = 4096;
/// Most binary strings in one ENTRIES.
pub const NAMED_STRINGS_MAX: usize = 15;
/// Buckets in a group.
pub const BUCKETS_PER_GROUP: u32 = 16;

const SUM_BYTES: usize = 20;
const HASH_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 8;

/// Name of a history: 128 random bits.
pub type EpochBytes = [u8; 16];
/// Digest of one entry: 128 bits.
pub type EntryHashBytes = [u8; HASH_BYTES];

/// The key of entry digests. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestKey(pub [u8; 32]);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

/// What a set of entries adds up to, as it is sent: 20 octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireSum {
    /// Number of entries, modulo 2^32.
    pub count: u32,
    /// Sum of their hashes, modulo 2^128.
    pub root: u128,
}

impl WireSum {
    /// The sum of two sets without a common name.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            root: self.root.wrapping_add(other.root),
        }
    }

    /// As it is sent.
    pub fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.root.to_be_bytes());
    }

    pub(crate) fn read(octets: &[u8; SUM_BYTES]) -> Self {
        let (count, root) = octets.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        Self {
            count: u32::from_be_bytes(*count),
            root: u128::from_be_bytes(root.first_chunk().copied().unwrap_or_default()),
        }
    }

    /// All sums in a string; `None` unless it consists of whole ones.
    pub(crate) fn read_all(octets: &[u8]) -> Option<Vec<Self>> {
        let (sums, []) = octets.as_chunks() else {
            return None;
        };
        Some(sums.iter().map(Self::read).collect())
    }
}

/// What a client of RESYNC has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResyncFrom {
    /// No list worth comparing.
    Nothing,
    /// A list at this place, or, in an epoch that nobody knows, one of unknown history.
    Place {
        /// The history.
        epoch: EpochBytes,
        /// The place in it.
        sequence: u64,
    },
}

/// What a client of RESYNC has in one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The bucket's number.
    pub bucket: u32,
    /// Hashes of all its entries; none: everything in the bucket is wanted.
    pub hashes: Vec<EntryHashBytes>,
}

impl Named {
    /// Octets of the record.
    pub fn wire_bytes(&self) -> usize {
        RECORD_HEAD_BYTES + self.hashes.len() * HASH_BYTES
    }

    /// Appends the record.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&self.bucket.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        for hash in &self.hashes {
            out.extend_from_slice(hash);
        }
    }

    /// All records in a string; `None` unless it consists of whole ones, at least one.
    pub(crate) fn read_all(mut octets: &[u8]) -> Option<Vec<Self>> {
        let mut records = Vec::new();
        while !octets.is_empty() {
            let (bucket, rest) = octets.split_first_chunk()?;
            let (count, rest) = rest.split_first_chunk()?;
            let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
            let (hashes, rest) = rest.split_at_checked(count.checked_mul(HASH_BYTES)?)?;
            records.push(Self {
                bucket: u32::from_be_bytes(*bucket),
                hashes: read_hashes(hashes)?,
            });
            octets = rest;
        }
        (!records.is_empty()).then_some(records)
    }
}

/// Numbers of groups in a string; `None` unless there are 1 to [`GROUPS_ASKED_MAX`].
pub(crate) fn read_groups(octets: &[u8]) -> Option<Vec<u32>> {
    let (groups, []) = octets.as_chunks() else {
        return None;
    };
    let fits = (1..=GROUPS_ASKED_MAX).contains(&groups.len());
    fits.then(|| {
        groups
            .iter()
            .map(|&group| u32::from_be_bytes(group))
            .collect()
    })
}

/// Hashes in a string; `None` unless it consists of whole ones.
pub(crate) fn read_hashes(octets: &[u8]) -> Option<Vec<EntryHashBytes>> {
    let (hashes, []) = octets.as_chunks() else {
        return None;
    };
    Some(hashes.to_vec())
}

/// `32HEXDIG`
pub(crate) fn read_epoch(text: &[u8]) -> Option<EpochBytes> {
    let is_hex = text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_hex)?;
    Some(u128::from_str_radix(text, 16).ok()?.to_be_bytes())
}

/// `1*20DIGIT`
pub(crate) fn read_sequence(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

/// `1*10DIGIT`
pub(crate) fn read_number(text: &[u8]) -> Option<u32> {
    u32::try_from(read_sequence(text)?).ok()
}

/// A number of buckets: a power of two, at least one group.
pub(crate) fn read_buckets(text: &[u8]) -> Option<u32> {
    read_number(text).filter(|buckets| buckets.is_power_of_two() && *buckets >= BUCKETS_PER_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_twenty_octets_and_add_up() {
        let sum = WireSum {
            count: 0x0102_0304,
            root: u128::MAX,
        };
        let mut out = Vec::new();
        sum.write_to(&mut out);
        assert_eq!(out, [&[1, 2, 3, 4][..], &[0xFF; 16]].concat());
        assert_eq!(WireSum::read_all(&out), Some(vec![sum]));
        let one = WireSum { count: 1, root: 1 };
        assert_eq!(
            sum.plus(one),
            WireSum {
                count: 0x0102_0305,
                root: 0
            }
        );
        assert_eq!(WireSum::read_all(&out[1..]), None);
    }

    #[test]
    fn records_are_whole() {
        let named = [
            Named {
                bucket: 7,
                hashes: vec![[1; 16], [2; 16]],
            },
            Named {
                bucket: 1 << 19,
                hashes: Vec::new(),
            },
        ];
        let mut out = Vec::new();
        for record in &named {
            let before = out.len();
            record.write_to(&mut out);
            assert_eq!(out.len() - before, record.wire_bytes());
        }
        assert_eq!(Named::read_all(&out).unwrap(), named);
        for cut in (0..out.len()).filter(|&cut| cut != named[0].wire_bytes()) {
            assert_eq!(Named::read_all(&out[..cut]), None, "{cut}");
        }
        let liar = [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(Named::read_all(&liar), None);
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(read_sequence(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", "1 ", "18446744073709551616", "0x1"] {
            assert_eq!(read_sequence(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read_buckets(b"16"), Some(16));
        for text in ["0", "8", "17", "4294967296"] {
            assert_eq!(read_buckets(text.as_bytes()), None, "{text}");
        }
        let epoch = read_epoch(b"000102030405060708090A0b0c0d0e0f").unwrap();
        assert_eq!(epoch, std::array::from_fn(|at| u8::try_from(at).unwrap()));
        for text in ["", "+00102030405060708090A0b0c0d0e0f", "00"] {
            assert_eq!(read_epoch(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read_groups(b""), None);
        assert_eq!(read_groups(&[0, 0, 1, 0]), Some(vec![256]));
        assert_eq!(read_groups(&vec![0; 4 * GROUPS_ASKED_MAX + 4]), None);
    }
}
