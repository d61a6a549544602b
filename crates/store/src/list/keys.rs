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
        while low < high {
            let middle = usize::midpoint(low, high);
            let here = self.get(middle).unwrap_or_default();
            match here.cmp(key) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
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
        Self { octets, ends }
    }

    pub(super) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
        self.ends.shrink_to_fit();
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

fn narrow(octets: usize) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}
