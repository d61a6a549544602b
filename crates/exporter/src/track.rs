//! Which state the file should be in, and what others must have done if it is not.

use std::time::{Duration, Instant};

use cyrusdb::twoskip::{Checkpointed, Identity};

/// A comparison that others' commits ask for waits this many times as long as the last one took, so
/// that a busy unified server does not keep us comparing.
const REST_FACTOR: u32 = 10;
/// And not longer than this.
const REST_MAX: Duration = Duration::from_secs(30);

/// What the present state says about the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nobody else wrote.
    Same,
    /// Others have committed to the same file: a comparison is due, our own changes go on.
    Grown,
    /// Another file, or one that was emptied: nothing is known of it.
    Other,
}

/// The state that the file was in when we last saw or left it.
#[derive(Debug)]
pub(crate) struct Track {
    known: Option<Identity>,
    /// A state that an earlier run left must be exactly the one that is found.
    exact: bool,
    compare_due: bool,
    compare_from: Instant,
}

impl Track {
    /// Expects the state that an earlier run left, if it is known.
    pub(crate) fn new(known: Option<Identity>) -> Self {
        Self {
            exact: known.is_some(),
            known,
            compare_due: false,
            compare_from: Instant::now(),
        }
    }

    /// The state last seen or left.
    pub(crate) fn known(&self) -> Option<Identity> {
        self.known
    }

    /// Takes note of the present state. On [`Seen::Other`] nothing is noted.
    pub(crate) fn observe(&mut self, found: Identity) -> Seen {
        let Some(known) = self.known else {
            self.known = Some(found);
            return Seen::Same;
        };
        let exact = self.exact;
        if known == found {
            self.exact = false;
            return Seen::Same;
        }
        let same_file = (known.file, known.generation) == (found.file, found.generation);
        if exact || !same_file || found.committed < known.committed {
            return Seen::Other;
        }
        self.known = Some(found);
        self.compare_due = true;
        Seen::Grown
    }

    /// We have left the file in this state.
    pub(crate) fn left(&mut self, state: Identity) {
        self.known = Some(state);
    }

    /// A checkpoint of ours put a new file in place of the known one, with the same content.
    pub(crate) fn moved(&mut self, done: &Checkpointed) {
        let Some(known) = self.known else { return };
        let replaced = done.replaced;
        let same_file = (known.file, known.generation) == (replaced.file, replaced.generation);
        if same_file && known.committed <= replaced.committed {
            self.compare_due |= known.committed < replaced.committed;
            self.known = Some(done.identity);
        }
    }

    /// Nothing is known any more.
    pub(crate) fn lose(&mut self) {
        *self = Self {
            known: None,
            exact: false,
            ..*self
        };
    }

    /// Others have written since the last comparison.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.compare_due
    }

    /// Whether it is time for the comparison that others' commits ask for.
    pub(crate) fn wants_compare(&self) -> bool {
        self.compare_due && self.compare_from <= Instant::now()
    }

    /// A comparison begins.
    pub(crate) fn compare_starts(&mut self) {
        self.compare_due = false;
    }

    /// A comparison has ended.
    pub(crate) fn compare_took(&mut self, time: Duration) {
        self.compare_from = Instant::now() + time.saturating_mul(REST_FACTOR).min(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use cyrusdb::file::FileId;

    fn state(inode: u64, generation: u64, committed: u64) -> Identity {
        Identity {
            file: FileId { device: 1, inode },
            generation,
            committed,
        }
    }

    #[test]
    fn others_commits_are_told_from_another_file() {
        let mut track = Track::new(None);
        assert_eq!(track.observe(state(5, 1, 336)), Seen::Same);
        track.left(state(5, 1, 500));
        assert_eq!(track.observe(state(5, 1, 500)), Seen::Same);
        assert!(!track.is_doubtful());
        assert_eq!(track.observe(state(5, 1, 600)), Seen::Grown);
        assert!(track.is_doubtful() && track.wants_compare());
        for other in [state(6, 1, 600), state(5, 2, 600), state(5, 1, 336)] {
            assert_eq!(track.observe(other), Seen::Other);
        }
        assert_eq!(track.observe(state(5, 1, 600)), Seen::Same);
    }

    #[test]
    fn an_earlier_runs_state_must_be_found_exactly() {
        let mut track = Track::new(Some(state(5, 1, 500)));
        assert_eq!(track.observe(state(5, 1, 600)), Seen::Other);
        track = Track::new(Some(state(5, 1, 500)));
        assert_eq!(track.observe(state(5, 1, 500)), Seen::Same);
        assert_eq!(track.observe(state(5, 1, 600)), Seen::Grown);
    }
}
