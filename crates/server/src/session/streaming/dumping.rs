//! The dump of UPDATE: pages made by the pool, one ahead of what the socket takes.

use std::sync::Arc;

use proto::MailboxName;
use proto::codec::Tag;
use store::Version;

use crate::dump::{self, Page, Wanted};
use crate::listener::Shared;
use crate::pins::PinnedPlace;
use crate::planes::Job;
use crate::shelf::Taker;

/// A version is held on to while it is at most this many changes old.
const PINNED_CHANGES_MAX: u64 = 200_000;

/// A dump under way.
pub(in crate::session) struct Dump {
    shared: Arc<Shared>,
    version: Arc<Version>,
    wanted: Wanted,
    tag: Tag,
    job: Job<Page>,
    taker: Option<Arc<Taker>>,
    pin: Option<PinnedPlace>,
    /// All pages so far are of one version.
    is_one_version: bool,
}

impl Dump {
    /// Asks the pool for the first page of `version`.
    pub(in crate::session) fn begin(
        shared: &Arc<Shared>,
        version: Arc<Version>,
        wanted: Wanted,
        tag: Tag,
    ) -> Self {
        let taker = taker(shared, &version, &wanted, &tag);
        let job = page_job(shared, &version, taker.as_ref(), None, &wanted, &tag);
        let pin = PinnedPlace::take(shared);
        Self {
            shared: Arc::clone(shared),
            version,
            wanted,
            tag,
            job,
            taker,
            pin,
            is_one_version: true,
        }
    }

    /// The page asked for; `None` when the pool could not make it.
    pub(super) async fn page(&mut self) -> Option<Page> {
        self.job.result().await
    }

    /// Asks for the page behind `after`. Where too many versions are held, or this one has grown too
    /// old, from the current one: the feed goes on from the first version's sequence all the same, so
    /// what changed meanwhile is said again.
    pub(super) fn go_on(&mut self, after: MailboxName) {
        let current = self.shared.store.current();
        let age = current
            .sequence()
            .0
            .saturating_sub(self.version.sequence().0);
        if self.pin.is_none() || age > PINNED_CHANGES_MAX {
            self.taker = taker(&self.shared, &current, &self.wanted, &self.tag);
            self.version = current;
            self.pin = None;
            self.is_one_version = false;
        }
        self.job = page_job(
            &self.shared,
            &self.version,
            self.taker.as_ref(),
            Some(after),
            &self.wanted,
            &self.tag,
        );
    }

    /// The version that the whole dump was made of, if it was one.
    pub(super) fn one_version(&self) -> Option<Arc<Version>> {
        self.is_one_version.then(|| Arc::clone(&self.version))
    }

    /// The version that pages are being made of.
    pub(super) fn version(&self) -> &Version {
        &self.version
    }
}

fn taker(shared: &Shared, version: &Version, wanted: &Wanted, tag: &Tag) -> Option<Arc<Taker>> {
    shared.shelf.taker(version, wanted, tag).map(Arc::new)
}

fn page_job(
    shared: &Arc<Shared>,
    version: &Arc<Version>,
    taker: Option<&Arc<Taker>>,
    after: Option<MailboxName>,
    wanted: &Wanted,
    tag: &Tag,
) -> Job<Page> {
    let (version, wanted, tag) = (Arc::clone(version), wanted.clone(), tag.clone());
    let taker = taker.cloned();
    shared.dump_pool.start_job(move || {
        let make = || dump::page(&version, after.as_ref(), &wanted, &tag);
        match &taker {
            Some(taker) => taker.page(after.as_ref(), make),
            None => make(),
        }
    })
}
