//! A comparison by digests (`docs/resync.md`, sections 5.3 and 7): groups of buckets, the buckets of
//! those that differ, the entries of the buckets that differ.
//!
//! ```text
//! DIGEST ──► groups ──► buckets ──► entries ──► done
//!    │                     └── most of it differs ──┐
//!    └── the sums are equal ──► done                └──► everything
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proto::MailboxName;
use store::{Root, Sum, Version};

/// Buckets in a group.
const GROUP: usize = 16;
/// A bucket with so many entries may be too large for one question.
const LARGE: usize = 32_768;

/// What a server has said of a list that it holds for a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    /// Its number of buckets: a power of two, at least 16.
    pub(crate) buckets: u32,
    pub(crate) sum: Sum,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Ask for the sums of all groups of so many buckets.
    Groups { buckets: u32 },
    /// Ask for the sums of the buckets of these groups.
    Buckets { buckets: u32, groups: Vec<u32> },
    /// Ask for what we lack of these buckets, naming what we have of them.
    Entries { buckets: u32, wanted: HashSet<u32> },
    /// Everything that differs is known.
    Done,
    /// Too much differs: ask for the whole list.
    Everything,
}

/// The server's sums don't fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inconsistent;

/// One comparison of a version of ours.
#[derive(Debug)]
pub(crate) struct Comparison {
    version: Arc<Version>,
    /// Sums of our buckets, as many as both sides have.
    ours: Vec<Sum>,
    buckets: u32,
    /// The groups whose buckets have been asked for.
    groups: Vec<u32>,
}

impl Comparison {
    pub(crate) fn begin(version: Arc<Version>, theirs: Digest) -> (Self, Ask) {
        let buckets = theirs.buckets.min(version.buckets().len());
        let (us, them) = (version.sum(), theirs.sum);
        let ask = if us == them {
            Ask::Done
        } else if us.count.abs_diff(them.count).saturating_mul(2) > us.count.max(them.count) {
            Ask::Everything
        } else {
            Ask::Groups { buckets }
        };
        let ours = match ask {
            Ask::Groups { .. } => version.buckets().folded(buckets),
            _ => Vec::new(),
        };
        let comparison = Self {
            version,
            ours,
            buckets,
            groups: Vec::new(),
        };
        (comparison, ask)
    }

    /// Our list, as it is compared.
    pub(crate) fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// The sums of all groups are here.
    pub(crate) fn groups(&mut self, theirs: &[Sum]) -> Result<Ask, Inconsistent> {
        let ours = self.ours.chunks(GROUP).map(total);
        if ours.len() != theirs.len() {
            return Err(Inconsistent);
        }
        let numbers = (0_u32..).zip(ours.zip(theirs));
        let differing = numbers.filter(|(_, (ours, theirs))| ours != *theirs);
        self.groups = differing.map(|(number, _)| number).collect();
        if self.groups.is_empty() {
            // The lists differ, so some groups must.
            return Err(Inconsistent);
        }
        Ok(Ask::Buckets {
            buckets: self.buckets,
            groups: self.groups.clone(),
        })
    }

    /// The sums of all buckets of the groups are here, in the order in which they were asked for.
    pub(crate) fn buckets(&mut self, theirs: &[Sum]) -> Result<Ask, Inconsistent> {
        if theirs.len() != self.groups.len() * GROUP {
            return Err(Inconsistent);
        }
        let mut wanted = HashSet::new();
        let (mut filled, mut entries) = (0, 0);
        for (group, theirs) in self.groups.iter().zip(theirs.chunks(GROUP)) {
            let first = usize::try_from(*group)
                .unwrap_or(usize::MAX)
                .saturating_mul(GROUP);
            let ours = self.ours.iter().skip(first);
            let numbers = group.saturating_mul(16)..;
            for (number, (ours, theirs)) in numbers.zip(ours.zip(theirs)) {
                let most = ours.count.max(theirs.count);
                filled += u64::from(most > 0);
                entries += most;
                if ours != theirs {
                    wanted.insert(number);
                }
            }
        }
        if wanted.is_empty() {
            return Err(Inconsistent);
        }
        let all_groups = self.groups.len() * GROUP == self.ours.len();
        if all_groups && mostly_differs(wanted.len(), filled, entries) {
            return Ok(Ask::Everything);
        }
        Ok(Ask::Entries {
            buckets: self.buckets,
            wanted,
        })
    }
}

/// What we have of the buckets that differ.
#[derive(Debug, Default)]
pub(crate) struct Differing {
    names: HashMap<Root, MailboxName>,
    /// The names of buckets with too many entries to name them all.
    large: HashMap<u32, Vec<MailboxName>>,
    /// Names that the server has told of.
    told: HashSet<MailboxName>,
}

/// A bucket, and the hashes of all that we have in it.
pub(crate) type Named = (u32, Vec<Root>);

impl Differing {
    /// Walks the list.
    pub(crate) fn collect(
        version: &Version,
        buckets: u32,
        wanted: &HashSet<u32>,
    ) -> (Self, Vec<Named>) {
        let mut held = version.entries_of_buckets(buckets, wanted);
        let mut asked: Vec<Named> = Vec::with_capacity(wanted.len());
        let (mut names, mut large) = (HashMap::new(), HashMap::new());
        for &bucket in wanted {
            let entries = held.remove(&bucket).unwrap_or_default();
            asked.push((bucket, entries.iter().map(|(hash, _)| *hash).collect()));
            if entries.len() >= LARGE {
                let all = entries.iter().map(|(_, name)| name.clone());
                large.insert(bucket, all.collect());
            }
            names.extend(entries);
        }
        asked.sort_unstable_by_key(|(bucket, _)| *bucket);
        let told = HashSet::new();
        (Self { names, large, told }, asked)
    }

    /// The server has told of this name.
    pub(crate) fn told(&mut self, name: MailboxName) {
        self.told.insert(name);
    }

    /// The server does not have the entries of these hashes, and has told all it has of these buckets.
    /// Returns the names that it does not have at all; its lines must have been handed in before.
    pub(crate) fn unknown(
        &self,
        hashes: impl Iterator<Item = Root>,
        whole: &[u32],
    ) -> Vec<MailboxName> {
        let unknown = hashes.filter_map(|hash| self.names.get(&hash));
        let of_whole = whole.iter().filter_map(|bucket| self.large.get(bucket));
        let names = unknown.chain(of_whole.flatten());
        names
            .filter(|name| !self.told.contains(*name))
            .cloned()
            .collect()
    }
}

fn total(sums: &[Sum]) -> Sum {
    sums.iter().fold(Sum::default(), |total, sum| total + *sum)
}

/// Whether more than half of the entries seem to differ. Of buckets with m entries each, a share d
/// of which differ, the share (1 - d)^m is alike.
fn mostly_differs(differing: usize, filled: u64, entries: u64) -> bool {
    let differing = u64::try_from(differing).unwrap_or(u64::MAX);
    let alike = filled.saturating_sub(differing);
    // Rounded down, so that what is sent for nothing is rather hashes than entries.
    let per_bucket = entries.checked_div(filled).unwrap_or(0).min(63);
    alike.saturating_mul(1 << per_bucket) < filled
}
