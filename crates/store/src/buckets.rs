//! Sums over the entries of some owners each, by which two lists find where they differ.

use std::ops::Bound;

use imbl::Vector;
use proto::MailboxName;

use crate::Sum;
use crate::digest::Digester;
use crate::list::List;

/// Fewest buckets, and buckets of a group.
const BUCKETS_MIN: u32 = 16;
/// Most buckets.
const BUCKETS_MAX: u32 = 1 << 20;
/// Buckets of a group.
const GROUP: usize = 16;
/// Entries for which there is one bucket.
const ENTRIES_PER_BUCKET: u64 = 16;

/// The sums of all buckets. A mailbox is in the bucket whose number is the lowest bits of its owner's
/// hash, so that all folders of a user share one, and twice as many buckets split each in two: bucket
/// `i` of `n` is the sum of the buckets `i` and `i + n` of `2 * n`. Immutable; a clone shares
/// everything.
#[derive(Clone)]
pub struct Buckets {
    sums: Vector<Sum>,
    growing: Option<Growing>,
    /// Entries that the list is on its way to; there are buckets for them already.
    expected: u64,
}

/// More buckets under way: they take in the list bit by bit, so that no edit waits for all of it.
#[derive(Clone)]
struct Growing {
    sums: Vector<Sum>,
    /// The entries up to this one are in them.
    through: Option<MailboxName>,
}

impl Buckets {
    pub(crate) fn new(len: u32) -> Self {
        Self::from_sums(vec![Sum::default(); index(len)])
    }

    /// From sums whose number is a power of two.
    pub(crate) fn from_sums(sums: Vec<Sum>) -> Self {
        Self {
            sums: sums.into(),
            growing: None,
            expected: 0,
        }
    }

    /// Whether there can be so many buckets.
    pub(crate) fn may_be(len: usize) -> bool {
        len.is_power_of_two() && (index(BUCKETS_MIN)..=index(BUCKETS_MAX)).contains(&len)
    }

    /// Number of buckets: a power of two, at least 16, at most 2^20, about one for 16 entries.
    pub fn len(&self) -> u32 {
        u32::try_from(self.sums.len()).unwrap_or(BUCKETS_MAX)
    }

    /// There are always some.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The sum of a bucket; that of nothing beyond the last.
    pub fn sum(&self, bucket: u32) -> Sum {
        self.sums.get(index(bucket)).copied().unwrap_or_default()
    }

    /// The sums of all buckets, first to last.
    pub fn iter(&self) -> impl Iterator<Item = Sum> {
        self.sums.iter().copied()
    }

    /// The sums of groups of 16 buckets each, first to last.
    pub fn groups(&self) -> Vec<Sum> {
        let all: Vec<Sum> = self.iter().collect();
        Self::grouped(&all)
    }

    /// The sums as they are with at most `len` buckets, a power of two.
    pub fn folded(&self, len: u32) -> Vec<Sum> {
        Self::fold(self.iter().collect(), len)
    }

    /// Adds up sums of 16 consecutive buckets each.
    pub fn grouped(sums: &[Sum]) -> Vec<Sum> {
        let groups = sums.chunks(GROUP);
        groups.map(|group| group.iter().copied().sum()).collect()
    }

    /// Halves a power of two of sums, of buckets or of groups, until there are at most `len`.
    pub fn fold(mut sums: Vec<Sum>, len: u32) -> Vec<Sum> {
        let len = index(len).max(1);
        while sums.len() > len {
            let upper = sums.split_off(sums.len() / 2);
            for (sum, more) in sums.iter_mut().zip(upper) {
                *sum += more;
            }
        }
        sums
    }

    /// How many buckets a list of so many entries has when they are counted anew.
    pub(crate) fn len_for(entries: u64) -> u32 {
        let wanted = (entries / ENTRIES_PER_BUCKET).next_power_of_two();
        let wanted = u32::try_from(wanted).unwrap_or(BUCKETS_MAX);
        wanted.clamp(BUCKETS_MIN, BUCKETS_MAX)
    }

    /// For an empty list that is about to have so many entries: else they would be counted anew each time that there are too
    /// few buckets for them.
    pub(crate) fn expecting(entries: u64) -> Self {
        Self {
            expected: entries,
            ..Self::new(Self::len_for(entries))
        }
    }

    /// An entry has changed: the sum of what it is now, less that of what it was.
    pub(crate) fn change(&mut self, owner: u32, mailbox: &MailboxName, by: Sum) {
        add(&mut self.sums, owner, by);
        if let Some(growing) = &mut self.growing
            && growing.through.as_ref() >= Some(mailbox)
        {
            add(&mut growing.sums, owner, by);
        }
    }

    /// Keeps the number of buckets right; `entries_max` is how many entries may be looked at for it.
    pub(crate) fn keep_up(&mut self, digester: &mut Digester, list: &List, entries_max: usize) {
        let (len, entries) = (u64::from(self.len()), list.len());
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        if entries >= self.expected {
            self.expected = 0;
        }
        let entries = entries.max(self.expected);
        if self.growing.is_none() && entries > 2 * ENTRIES_PER_BUCKET * len {
            // With room, so that it is not soon done again.
            let wanted = Self::len_for(entries.saturating_mul(2));
            self.growing = (wanted > self.len()).then(|| Growing {
                sums: Self::new(wanted).sums,
                through: None,
            });
        }
        if entries < len * ENTRIES_PER_BUCKET / 4 && self.len() > BUCKETS_MIN {
            self.sums = self.folded(self.len() / 2).into();
            self.growing = None;
        }
        let Some(growing) = &mut self.growing else {
            return;
        };
        if growing.take_in(digester, list, entries_max) {
            self.sums = std::mem::take(&mut growing.sums);
            self.growing = None;
        }
    }
}

impl Growing {
    /// Whether all entries are in.
    fn take_in(&mut self, digester: &mut Digester, list: &List, entries_max: usize) -> bool {
        let through = self.through.as_ref();
        let start = through.map_or(Bound::Unbounded, |name| Bound::Excluded(name.key()));
        let mut taken = 0;
        let mut through = None;
        for listed in list.starting(start).take(entries_max) {
            if !listed.held {
                let owner = digester.owner(listed.mailbox);
                let entry = digester.entry(listed.mailbox, listed.entry);
                add(&mut self.sums, owner, Sum::of(entry));
            }
            taken += 1;
            through = Some(listed.mailbox);
        }
        if let Some(through) = through {
            self.through = Some(through.to_name());
        }
        taken < entries_max
    }
}

fn add(sums: &mut Vector<Sum>, owner: u32, by: Sum) {
    let bucket = index(owner) & (sums.len() - 1);
    if let Some(sum) = sums.get_mut(bucket) {
        *sum += by;
    }
}

/// A number of buckets as an index.
pub(crate) fn index(bucket: u32) -> usize {
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets")
            .field("len", &self.len())
            .field("growing", &self.growing.is_some())
            .finish_non_exhaustive()
    }
}
