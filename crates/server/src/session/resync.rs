//! RESYNC (`docs/resync.md`, section 5): which of its answers a peer gets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::codec::{Tag, encode};
use proto::resync::ResyncFrom;
use store::{Epoch, Feed, HostFilter, Place, Sequence, Standing, Store, Version};
use tokio::time::timeout;
use tracing::{debug, error, info};

use super::streaming::{Dump, Streaming, Teller, history};
use super::{End, Session};
use crate::compare::wire_sum;
use crate::dump::Wanted;
use crate::pins::PinnedPlace;

/// How long a peer may wait for the history that is still being read after a start.
const HISTORY_WAIT: Duration = Duration::from_secs(10);

/// How a peer is told what it lacks.
enum Way {
    /// The changes behind this cursor, from a place on.
    Log(Sequence, Feed),
    Full,
    Digest(PinnedPlace),
    Behind,
}

impl Session {
    /// Answers RESYNC; streams until the session ends, unless a compare comes first or we are behind.
    pub(super) async fn resync(
        &mut self,
        tag: Tag,
        from: ResyncFrom,
        hosts: Vec<Vec<u8>>,
    ) -> Result<(), End> {
        self.streams = true;
        if !self.shared.role.may_stream() {
            return Err(End::NotOpen);
        }
        let hosts = (!hosts.is_empty()).then(|| HostFilter::new(hosts));
        // Before the version, so that no later one is missed.
        let watch = self.shared.audience.listen();
        let (way, version) = self.way(from, hosts.is_some()).await?;
        let counters = self.shared.sessions.resync_counters();
        let out = self.wire.tail();
        let every = self.shared.config.points_every;
        let place = version.place();
        let begin = |out: &mut Vec<u8>| {
            Teller::begin(out, tag.clone(), &version, hosts.clone(), watch, every)
        };
        match way {
            Way::Log(sequence, feed) => {
                counters.log.fetch_add(1, Ordering::Relaxed);
                info!(from = %sequence, to = %place.sequence, "resync by log");
                let mut teller = begin(out);
                teller.came_with(sequence);
                encode::resync::log(out, &tag, sequence.0);
                let stream = Streaming::new(tag, Wanted::Resync(hosts), feed, None);
                self.run_stream(stream.told_by(teller)).await
            }
            Way::Full => {
                counters.full.fetch_add(1, Ordering::Relaxed);
                info!(sequence = %place.sequence, "resync by dump");
                let teller = begin(out);
                let sum = match &hosts {
                    None => version.sum(),
                    Some(hosts) => version.sum_of_hosts(hosts),
                };
                encode::resync::full(out, &tag, place.sequence.0, wire_sum(sum));
                let feed = self.shared.store.feed(version.sequence());
                let wanted = Wanted::Resync(hosts);
                let dump = Dump::begin(&self.shared, version, wanted.clone(), tag.clone());
                let stream = Streaming::new(tag, wanted, feed, Some(dump));
                self.run_stream(stream.told_by(teller)).await
            }
            Way::Digest(pin) => {
                counters.digest.fetch_add(1, Ordering::Relaxed);
                info!(sequence = %place.sequence, "resync by compare");
                history(out, &tag, &version);
                let (buckets, sum) = (version.buckets().len(), wire_sum(version.sum()));
                encode::resync::digest(out, &tag, place.sequence.0, buckets, sum);
                encode::ok(out, &tag, "compare");
                self.begin_compare(version, pin);
                Ok(())
            }
            Way::Behind => {
                counters.behind.fetch_add(1, Ordering::Relaxed);
                history(out, &tag, &version);
                encode::resync::behind(out, &tag, place.sequence.0);
                self.streams = false;
                self.protocol.resync_refused();
                Ok(())
            }
        }
    }

    /// The way, and the version that it begins with.
    async fn way(&mut self, from: ResyncFrom, is_subset: bool) -> Result<(Way, Arc<Version>), End> {
        let compared = self.compare.take();
        let version = self.shared.store.current();
        let ResyncFrom::Place { epoch, sequence } = from else {
            return Ok((Way::Full, version));
        };
        let place = Place {
            epoch: Epoch(epoch),
            sequence: Sequence(sequence),
        };
        if let Some(feed) = compared.and_then(|compared| compared.feed_from(&place)) {
            return Ok((Way::Log(place.sequence, feed), version));
        }
        let (standing, version) = standing(&self.shared.store, &place).await;
        match standing {
            Standing::From(local) => {
                let feed = self.shared.store.resume(local, &version);
                Ok((Way::Log(place.sequence, feed), version))
            }
            Standing::Behind if place.epoch != version.epoch() => {
                debug!(peer_at = %place.sequence, we_at = %version.place().sequence, "behind a peer");
                Ok((Way::Behind, version))
            }
            Standing::Behind => {
                let version = self.fork(&place, &version).await?;
                Ok((self.compare_or_dump(is_subset), version))
            }
            Standing::Unknown => Ok((self.compare_or_dump(is_subset), version)),
        }
    }

    fn compare_or_dump(&self, is_subset: bool) -> Way {
        let pin = (!is_subset).then(|| PinnedPlace::take(&self.shared));
        pin.flatten().map_or(Way::Full, Way::Digest)
    }

    /// A peer has more of our own history than we have: we have lost some. What we do from here on is
    /// another history.
    async fn fork(&mut self, place: &Place, version: &Version) -> Result<Arc<Version>, End> {
        error!(
            peer = %self.registered.peer(),
            peer_at = %place.sequence,
            we_at = %version.sequence(),
            epoch = %place.epoch,
            "a peer is ahead of us in our own history: changes were lost here; a new epoch begins"
        );
        match self.shared.store.new_epoch().await {
            Ok(Ok(version)) => Ok(version),
            Ok(Err(_)) | Err(_) => Err(End::Internal("no new epoch")),
        }
    }
}

/// Where a place is in our list, once the history from before the start is there.
async fn standing(store: &Store, place: &Place) -> (Standing, Arc<Version>) {
    let mut complete = store.history_complete();
    // Without it the answer is a compare, which is right, too.
    drop(timeout(HISTORY_WAIT, complete.wait_for(|complete| *complete)).await);
    let version = store.current();
    (version.local_position(place), version)
}
