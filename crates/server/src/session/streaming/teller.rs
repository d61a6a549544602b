//! What a RESYNC stream says beside its lines: HISTORY, POSITION, POINT (`docs/resync.md`, sections 5
//! and 6).

use std::time::{Duration, Instant};

use proto::codec::{Tag, encode};
use proto::resync::DigestKey;
use store::{Chunk, Epoch, HostFilter, Place, Sequence, Version};
use tokio::sync::watch;

use crate::compare::wire_sum;
use crate::session::End;

/// Where a RESYNC stream stands.
pub(in crate::session) struct Teller {
    tag: Tag,
    hosts: Option<HostFilter>,
    /// What the last HISTORY said.
    epoch: Epoch,
    key: [u8; 32],
    /// The last position that the peer knows.
    position: Option<Place>,
    /// The version's own sequence and place at the last point.
    point: Option<(Sequence, Place)>,
    /// OK "streaming" has been said.
    is_live: bool,
    /// Sees every version, also those that only say more of the same list.
    watch: watch::Receiver<Sequence>,
    every: Duration,
    due: Instant,
}

impl Teller {
    /// Says HISTORY. `position` is the place that the peer came with, in this history.
    pub(in crate::session) fn begin(
        out: &mut Vec<u8>,
        tag: Tag,
        version: &Version,
        hosts: Option<HostFilter>,
        watch: watch::Receiver<Sequence>,
        every: Duration,
    ) -> Self {
        history(out, &tag, version);
        Self {
            tag,
            hosts,
            epoch: version.owner_history().epoch,
            key: *version.lineage().key(),
            position: None,
            point: None,
            is_live: false,
            watch,
            every,
            due: Instant::now() + every,
        }
    }

    /// The peer came with this place, so no earlier one is told.
    pub(in crate::session) fn came_with(&mut self, sequence: Sequence) {
        self.position = Some(Place {
            epoch: self.epoch,
            sequence,
        });
    }

    /// Waits until there may be something to tell.
    pub(super) async fn changed(&mut self) -> Result<(), End> {
        self.watch.changed().await.map_err(|_| End::Stopping)
    }

    /// When the next point is due, whatever else happens.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Nothing has been said for long: the last point is to be said again.
    pub(super) fn tick(&mut self) {
        self.point = None;
        self.due = Instant::now() + self.every;
    }

    /// The lines of a chunk have been said.
    pub(super) fn after_chunk(&mut self, out: &mut Vec<u8>, chunk: &Chunk) -> Result<(), End> {
        if chunk.exact {
            return self.say_point(out, &chunk.version);
        }
        match chunk.place {
            Some(place) => self.say_position(out, &chunk.version, place),
            None => Ok(()),
        }
    }

    /// The dump has been said; `version` is what all of it was, if it was one.
    pub(super) fn after_dump(
        &mut self,
        out: &mut Vec<u8>,
        version: Option<&Version>,
    ) -> Result<(), End> {
        match version {
            Some(version) if version.is_exact() => self.say_point(out, version),
            Some(version) => self.say_position(out, version, version.place()),
            None => Ok(()),
        }
    }

    /// Everything up to the head of `version` has been said; false when that was told.
    pub(super) fn at_head(&mut self, out: &mut Vec<u8>, version: &Version) -> Result<bool, End> {
        let told = self.point == Some((version.sequence(), version.place()));
        if told || !version.is_exact() {
            return Ok(false);
        }
        self.say_point(out, version)?;
        Ok(true)
    }

    /// Something true, for a peer that waits.
    pub(super) fn repeat(&self, out: &mut Vec<u8>) {
        if let Some(position) = self.position {
            encode::resync::position(out, &self.tag, position.sequence.0);
        }
    }

    fn say_point(&mut self, out: &mut Vec<u8>, version: &Version) -> Result<(), End> {
        let place = version.place();
        self.say_history(out, version)?;
        let sum = match &self.hosts {
            None => version.sum(),
            Some(hosts) => version.sum_of_hosts(hosts),
        };
        encode::resync::point(out, &self.tag, place.sequence.0, wire_sum(sum));
        if !self.is_live {
            encode::ok(out, &self.tag, "streaming");
            self.is_live = true;
        }
        self.position = Some(place);
        self.point = Some((version.sequence(), place));
        self.due = Instant::now() + self.every;
        Ok(())
    }

    fn say_position(
        &mut self,
        out: &mut Vec<u8>,
        version: &Version,
        place: Place,
    ) -> Result<(), End> {
        let is_news = self
            .position
            .is_none_or(|known| known.epoch != place.epoch || known.sequence < place.sequence);
        if is_news {
            self.say_history(out, version)?;
            encode::resync::position(out, &self.tag, place.sequence.0);
            self.position = Some(place);
        }
        Ok(())
    }

    /// HISTORY again, if the epoch has changed. Under another key everything begins anew.
    fn say_history(&mut self, out: &mut Vec<u8>, version: &Version) -> Result<(), End> {
        if *version.lineage().key() != self.key {
            return Err(End::OtherHistory);
        }
        let epoch = version.owner_history().epoch;
        if epoch != self.epoch {
            history(out, &self.tag, version);
            self.epoch = epoch;
        }
        Ok(())
    }
}

/// `HISTORY` as a version knows it.
pub(in crate::session) fn history(out: &mut Vec<u8>, tag: &Tag, version: &Version) {
    let owner = version.owner_history();
    let forks = owner
        .forks
        .iter()
        .map(|fork| (fork.epoch.0, fork.sequence.0));
    let key = DigestKey(*version.lineage().key());
    encode::resync::history(out, tag, owner.epoch.0, &key, forks);
}
