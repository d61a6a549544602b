//! How many versions sessions may hold on to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::listener::Shared;

/// Dumps and compares that may each hold on to a version of their own.
const PINNED_VERSIONS_MAX: usize = 32;

/// One of the places for sessions that hold on to a version; given back when dropped.
pub(crate) struct PinnedPlace(Arc<Shared>);

impl PinnedPlace {
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let pins: &AtomicUsize = &shared.pinned_versions;
        let taken = pins.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pins| {
            (pins < PINNED_VERSIONS_MAX).then_some(pins + 1)
        });
        taken.ok().map(|_| Self(Arc::clone(shared)))
    }
}

impl Drop for PinnedPlace {
    fn drop(&mut self) {
        self.0.pinned_versions.fetch_sub(1, Ordering::Relaxed);
    }
}
