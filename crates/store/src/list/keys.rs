//! Keys behind each other in one allocation.

use std::cmp::Ordering;
use std::ops::Range;

use super::room;

/// Some keys in ascending order. At most as many as fit into 65 535 octets, which a node's are: it has
/// fewer than a hundred, of at most [`proto::MAILBOX_NAME_BYTES_MAX`] octets.
#[derive(Clone, Default)]
pub(super) struct Keys {
    octets: Vec<u8>,
    /// Where each ends, and the next begins.
    ends: Vec<u16>,
    /// How many octets all of them begin with.
    shared: u16,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Octets of all keys.
    pub(super) fn octets(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&[u8]> {
        self.octets.get(self.span(at)?)
    }

    /// Where a key is, or where it would have to be.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        let shared = usize::from(self.shared);
        if shared > 0 {
            let beginning = self.octets.get(..shared).unwrap_or_default();
            match beginning.cmp(key.get(..shared).unwrap_or(key)) {
                Ordering::Less => return Err(high),
                Ordering::Equal => {}
                Ordering::Greater => return Err(0),
            }
        }
        let key = key.get(shared..).unwrap_or_default();
        let lead = lead_of(key);
        while low < high {
            let middle = usize::midpoint(low, high);
            let here = self.get(middle).and_then(|here| here.get(shared..));
            let here = here.unwrap_or_default();
            // Mostly that is enough, and no function has to be called for a few octets.
            let order = lead_of(here).cmp(&lead).then_with(|| here.cmp(key));
            match order {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// As [`Keys::search`], quicker for a key behind all others: what is set mostly comes in order.
    pub(super) fn search_from_end(&self, key: &[u8]) -> Result<usize, usize> {
        let last = self.len().checked_sub(1);
        let is_behind = last
            .and_then(|last| self.get(last))
            .is_none_or(|last| last < key);
        if is_behind {
            Err(self.len())
        } else {
            self.search(key)
        }
    }

    pub(super) fn push(&mut self, key: &[u8]) {
        self.insert(self.len(), key);
    }

    pub(super) fn insert(&mut self, at: usize, key: &[u8]) {
        let start = self.start(at);
        room(&mut self.octets, key.len());
        room(&mut self.ends, 1);
        self.octets.splice(start..start, key.iter().copied());
        self.ends.insert(at, narrow(start));
        for end in self.ends.iter_mut().skip(at) {
            *end = end.saturating_add(narrow(key.len()));
        }
        if at == 0 || at + 1 == self.len() {
            self.share();
        }
    }

    pub(super) fn remove(&mut self, at: usize) {
        let Some(span) = self.span(at) else {
            return;
        };
        let len = narrow(span.len());
        self.octets.drain(span);
        self.ends.remove(at);
        for end in self.ends.iter_mut().skip(at) {
            *end = end.saturating_sub(len);
        }
        if at == 0 || at == self.len() {
            self.share();
        }
    }

    /// The keys from the one at `at` on; those before it stay.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let start = self.start(at);
        let octets = self.octets.split_off(start.min(self.octets.len()));
        let mut ends = self.ends.split_off(at.min(self.ends.len()));
        for end in &mut ends {
            *end = end.saturating_sub(narrow(start));
        }
        self.shrink();
        self.share();
        let mut right = Self {
            octets,
            ends,
            shared: 0,
        };
        right.share();
        right
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(super) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// They are in order: what the first and the last begin with, all do.
    fn share(&mut self) {
        let first = self.get(0).unwrap_or_default();
        let last = self.len().checked_sub(1).and_then(|last| self.get(last));
        let pairs = first.iter().zip(last.unwrap_or_default());
        self.shared = narrow(pairs.take_while(|(one, other)| one == other).count());
    }

    fn start(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        before.map_or(0, |&end| usize::from(end))
    }

    fn span(&self, at: usize) -> Option<Range<usize>> {
        let end = usize::from(*self.ends.get(at)?);
        Some(self.start(at)..end)
    }
}

/// The first octets of a key, as a number that is in the same order.
fn lead_of(key: &[u8]) -> u64 {
    if let Some(lead) = key.first_chunk() {
        return u64::from_be_bytes(*lead);
    }
    let shift = |lead: u64, octet: &u8| lead << 8 | u64::from(*octet);
    let missing = 8 - key.len().min(8);
    key.iter().fold(0, shift) << (8 * missing).min(63)
}

fn narrow(octets: usize) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}
