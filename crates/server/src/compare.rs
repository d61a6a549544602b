//! What a compare (`docs/resync.md`, section 8) asks of one version: work for the dump pool.

use std::collections::HashSet;

use proto::MailboxName;
use proto::codec::{Tag, encode};
use proto::resync::{BUCKETS_PER_GROUP, EntryHashBytes, Named, WireSum};
use store::{Buckets, Sum, Version};

/// A sum as it is sent.
pub(crate) fn wire_sum(sum: Sum) -> WireSum {
    WireSum {
        count: u32::try_from(sum.count % (1 << 32)).unwrap_or_default(),
        root: sum.root.0,
    }
}

/// SUMS lines of all groups.
pub(crate) fn groups(version: &Version, buckets: u32, tag: &Tag) -> Vec<u8> {
    let sums = Buckets::grouped(&version.buckets().folded(buckets));
    let sums: Vec<WireSum> = sums.into_iter().map(wire_sum).collect();
    let mut lines = Vec::new();
    encode::resync::sums(&mut lines, tag, 0, &sums);
    lines
}

/// SUMS lines of the buckets of some groups.
pub(crate) fn buckets(version: &Version, buckets: u32, groups: &[u32], tag: &Tag) -> Vec<u8> {
    let sums = version.buckets().folded(buckets);
    let sums: Vec<WireSum> = sums.into_iter().map(wire_sum).collect();
    let (all, _) = sums.as_chunks::<16>();
    let mut lines = Vec::new();
    for &group in groups {
        let sums = usize::try_from(group).ok().and_then(|group| all.get(group));
        let first = group.saturating_mul(BUCKETS_PER_GROUP);
        encode::resync::sums(&mut lines, tag, first, sums.map_or(&[], |sums| sums));
    }
    lines
}

/// Where some buckets of a client and of ours differ.
pub(crate) struct Differences {
    /// What the client lacks.
    pub(crate) missing: Vec<MailboxName>,
    /// What we lack.
    pub(crate) unknown: Vec<EntryHashBytes>,
}

/// Looks through the whole list, once for all the buckets named.
pub(crate) fn differences(version: &Version, buckets: u32, named: &[Named]) -> Differences {
    let wanted: HashSet<u32> = named.iter().map(|named| named.bucket).collect();
    let mut ours = version.entries_of_buckets(buckets, &wanted);
    let mut differences = Differences {
        missing: Vec::new(),
        unknown: Vec::new(),
    };
    for named in named {
        let mut theirs: HashSet<EntryHashBytes> = named.hashes.iter().copied().collect();
        for (hash, mailbox) in ours.remove(&named.bucket).unwrap_or_default() {
            if !theirs.remove(&hash.0.to_be_bytes()) {
                differences.missing.push(mailbox);
            }
        }
        differences.unknown.extend(theirs);
    }
    differences
}
