//! Digests counted anew, against those that a version keeps.

use std::collections::{BTreeMap, HashSet};

use store::{HostFilter, Sum, Version};

use crate::common::check;

/// All digests, without the store's help but for those of single entries.
fn digests(version: &Version) -> (Sum, BTreeMap<Vec<u8>, Sum>, Vec<Sum>) {
    let len = version.buckets().len();
    let mut hosts: BTreeMap<Vec<u8>, Sum> = BTreeMap::new();
    let mut buckets = vec![Sum::default(); len.try_into().unwrap()];
    let mut all = Sum::default();
    for (mailbox, stored) in version.iter().filter(|(_, stored)| !stored.held) {
        let sum = Sum {
            count: 1,
            root: version.entry_hash(&mailbox, &stored.entry),
        };
        all += sum;
        *hosts
            .entry(stored.entry.location().server().to_vec())
            .or_default() += sum;
        let mut hashed = b"owner".to_vec();
        let (domain, owner) = mailbox.owner();
        hashed.extend([domain, owner].concat());
        let hash = blake3::keyed_hash(version.lineage().key(), &hashed);
        let octets = hash.as_bytes()[..4].iter().rev();
        let number = octets.fold(0u32, |number, octet| number << 8 | u32::from(*octet));
        buckets[usize::try_from(number % len).unwrap()] += sum;
    }
    (all, hosts, buckets)
}

pub(crate) fn check_digests(version: &Version) {
    check(version);
    let (all, hosts, buckets) = digests(version);
    assert_eq!(version.sum(), all);
    assert_eq!((version.count(), version.root()), (all.count, all.root));
    assert_eq!(version.buckets().iter().collect::<Vec<_>>(), buckets);
    for (host, sum) in hosts {
        let found = version.sum_of_hosts(&HostFilter::new([host]));
        assert_eq!(found, sum);
    }
    let held = version.iter().filter(|(_, stored)| stored.held);
    assert!(held.map(|(name, _)| name).eq(version.held_names().cloned()));
    let wanted: HashSet<u32> = (0..8).collect();
    let mut found: Vec<_> = version
        .entries_of_buckets(16, &wanted)
        .into_iter()
        .flat_map(|(bucket, entries)| entries.into_iter().map(move |e| (bucket, e)))
        .collect();
    found.sort_by(|(_, a), (_, b)| a.1.cmp(&b.1));
    let folded = version.buckets().folded(16);
    for bucket in wanted {
        let inside = found.iter().filter(|(b, _)| *b == bucket);
        let sum: Sum = inside
            .map(|(_, (root, _))| Sum {
                count: 1,
                root: *root,
            })
            .sum();
        assert_eq!(folded[usize::try_from(bucket).unwrap()], sum);
    }
}
