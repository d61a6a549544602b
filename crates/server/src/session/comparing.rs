//! A compare (`docs/resync.md`, sections 5.3 and 8): one version, held for a while, and questions
//! about it.

use std::sync::Arc;
use std::time::Instant;

use proto::codec::{Tag, encode};
use proto::session::Question;
use store::{Feed, Place, Version};
use tokio::time::timeout_at;

use super::{End, Session};
use crate::compare::{self, Differences};
use crate::pins::PinnedPlace;
use crate::status::SessionState;

/// What a session compares with its peer.
pub(super) struct Compare {
    version: Arc<Version>,
    /// Holds the history behind the version.
    feed: Feed,
    until: Instant,
    _pin: PinnedPlace,
}

impl Compare {
    /// When it has taken too long.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// The changes behind the version, if the peer goes on from there.
    pub(super) fn feed_from(self, place: &Place) -> Option<Feed> {
        (self.version.place() == *place).then_some(self.feed)
    }
}

impl Session {
    /// DIGEST has been said of `version`.
    pub(super) fn begin_compare(&mut self, version: Arc<Version>, pin: PinnedPlace) {
        if let Some(asker) = &self.asker {
            let identity = Arc::clone(&asker.origin.identity);
            self.registered.set(SessionState::Comparing { identity });
        }
        self.compare = Some(Compare {
            feed: self.shared.store.feed(version.sequence()),
            version,
            until: Instant::now() + self.shared.config.compare_timeout,
            _pin: pin,
        });
        self.protocol.comparing();
    }

    /// Answers GROUPS, BUCKETS or ENTRIES, in the time that is left.
    pub(super) async fn answer_question(
        &mut self,
        tag: &Tag,
        buckets: u32,
        question: Question,
    ) -> Result<(), End> {
        let Some(compare) = &self.compare else {
            return Err(End::Internal("question without a compare"));
        };
        let (version, until) = (Arc::clone(&compare.version), compare.until);
        if !may_be_asked(&version, buckets, &question) {
            encode::no(self.wire.tail(), tag, "no such bucket");
            return Ok(());
        }
        let answering = async {
            match question {
                Question::Groups => {
                    let of = tag.clone();
                    self.sums(tag, move || compare::groups(&version, buckets, &of))
                        .await
                }
                Question::Buckets(groups) => {
                    let of = tag.clone();
                    let make = move || compare::buckets(&version, buckets, &groups, &of);
                    self.sums(tag, make).await
                }
                Question::Entries(named) => {
                    let in_job = Arc::clone(&version);
                    let job = move || compare::differences(&in_job, buckets, &named);
                    let differences = self.shared.dump_pool.run(job).await;
                    let differences = differences.ok_or(End::Internal("dump pool"))?;
                    self.entries(tag, &version, differences).await
                }
            }
        };
        timeout_at(until.into(), answering)
            .await
            .map_err(|_| End::CompareTooLong)?
    }

    async fn sums(
        &mut self,
        tag: &Tag,
        make: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<(), End> {
        let lines = self.shared.dump_pool.run(make).await;
        self.wire
            .push_page(lines.ok_or(End::Internal("dump pool"))?);
        encode::ok(self.wire.tail(), tag, "sums complete");
        self.wire.flush().await?;
        Ok(())
    }

    async fn entries(
        &mut self,
        tag: &Tag,
        version: &Arc<Version>,
        differences: Differences,
    ) -> Result<(), End> {
        self.send_entries(tag, version, Arc::new(differences.missing))
            .await?;
        encode::resync::unknown(self.wire.tail(), tag, &differences.unknown);
        encode::ok(self.wire.tail(), tag, "entries complete");
        Ok(())
    }
}

/// Whether there are as many buckets, and the groups or buckets asked for.
fn may_be_asked(version: &Version, buckets: u32, question: &Question) -> bool {
    let exist = match question {
        Question::Groups => true,
        Question::Buckets(groups) => groups.iter().all(|&group| group < buckets / 16),
        Question::Entries(named) => named.iter().all(|named| named.bucket < buckets),
    };
    buckets <= version.buckets().len() && exist
}
