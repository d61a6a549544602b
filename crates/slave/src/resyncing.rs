//! One link to a master that knows RESYNC, from the command to its end.
//!
//! ```text
//! RESYNC ──► LOG, FULL ──────────────► first point ──► live
//!       └──► DIGEST ──► comparison ──► RESYNC ──► LOG …
//! ```

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use client::{Barrier, Client, Octets, ResyncEvent, ResyncFrom, Update, WireSum};
use futures_util::FutureExt;
use store::{Epoch, Fork, Origin, Root, Sequence, Sum};
use tokio::time::Instant;
use tracing::info;

use crate::link::{Resynced, Thoroughly, Way};
use crate::pace::{Event, Ground, LinkEnd, Pace};
use crate::replica::follows;
use crate::resync::{Ask, Digest, History, Misplaced, Mode, Resync};

/// Events looked at before what they say is carried out.
const EVENTS_AT_ONCE: usize = 16_384;
/// How long deletions wait for a point although changes stream.
const DEFER_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Resyncing<'a> {
    ground: Ground<'a>,
    stream: client::Resync,
    resync: Resync<'a>,
    pace: Pace<'a>,
    peer: String,
    began: Instant,
    live_since: Option<Instant>,
    deferring_since: Option<Instant>,
}

impl<'a> Resyncing<'a> {
    /// Begins a link on a connection that has logged in.
    pub(crate) fn start(
        ground: Ground<'a>,
        client: Client,
        origin: Origin,
        how: Option<Thoroughly>,
    ) -> Self {
        let guarded = !client.banner().is_master();
        let peer = origin.peer.to_string();
        Self {
            stream: client.resync(from(ground, how), &[]),
            resync: Resync::new(ground.store, ground.replica, origin, guarded),
            pace: Pace::new(ground),
            ground,
            peer,
            began: Instant::now(),
            live_since: None,
            deferring_since: None,
        }
    }

    /// For how long the list has been the master's.
    pub(crate) fn lived(&self) -> Option<Duration> {
        self.live_since.map(|since| since.elapsed())
    }

    /// Follows until the link ends.
    pub(crate) async fn run(&mut self) -> LinkEnd {
        loop {
            if let Err(end) = self.step().await {
                if matches!(end, LinkEnd::Mismatch { .. }) {
                    self.ground.link.count_mismatch();
                }
                return end;
            }
        }
    }

    async fn step(&mut self) -> Result<(), LinkEnd> {
        if self.live_since.is_some() && self.pace.is_asked() {
            self.send_noop()?;
        }
        match self.pace.event(self.stream.next()).await? {
            Event::Heard(event) => self.heard(event).await,
            // Before that, no answer may stand between those of a comparison.
            Event::Timer if self.pace.is_silent()? && self.live_since.is_some() => self.send_noop(),
            Event::Timer | Event::Demand => Ok(()),
        }
    }

    fn send_noop(&mut self) -> Result<(), LinkEnd> {
        self.pace.sent(self.stream.barrier()?);
        Ok(())
    }

    /// Takes in an event and those that have come with it, and carries them out together.
    async fn heard(&mut self, first: ResyncEvent) -> Result<(), LinkEnd> {
        let mut next = Some(Ok(first));
        let mut taken = 0;
        let ended = loop {
            match next {
                Some(Ok(event)) => self.take(event).await?,
                Some(Err(cause)) => break Err(cause),
                None => break Ok(()),
            }
            taken += 1;
            if taken >= EVENTS_AT_ONCE || self.resync.is_full() {
                break Ok(());
            }
            next = self.stream.next().now_or_never();
        };
        // What came before the link ended has been said all the same.
        self.flush().await?;
        self.pace.heard();
        Ok(ended?)
    }

    async fn take(&mut self, event: ResyncEvent) -> Result<(), LinkEnd> {
        match event {
            ResyncEvent::History { epoch, key, forks } => {
                let fork = |(epoch, sequence)| Fork {
                    epoch: Epoch(epoch),
                    sequence: Sequence(sequence),
                };
                let history = History {
                    epoch: Epoch(epoch),
                    key: key.0,
                    forks: forks.into_iter().map(fork).collect(),
                };
                self.resync.history(history).await
            }
            ResyncEvent::Log { .. } => self.resync.log(),
            ResyncEvent::Full { sum, .. } => self.resync.full(sum.count.into()).await,
            ResyncEvent::Digest {
                sequence,
                buckets,
                sum: theirs,
            } => {
                let sum = sum(theirs);
                self.compare(sequence, Digest { buckets, sum }).await
            }
            ResyncEvent::Behind { sequence } => Err(LinkEnd::Behind(Sequence(sequence))),
            ResyncEvent::Line(Update::Reached(barrier)) => self.reached(barrier).await,
            ResyncEvent::Line(line) => self.resync.line(line).await,
            ResyncEvent::Position { sequence } => self.resync.position(Sequence(sequence)),
            ResyncEvent::Point {
                sequence,
                sum: theirs,
            } => self.resync.point(Sequence(sequence), sum(theirs)),
            ResyncEvent::Streaming => Ok(()),
            _ => Err(Misplaced.into()),
        }
    }

    /// Finds what differs and takes it over, then goes on from the list that was compared.
    async fn compare(&mut self, sequence: u64, digest: Digest) -> Result<(), LinkEnd> {
        let mut ask = self.resync.digest(digest).await?;
        loop {
            ask = match ask {
                Ask::Done => break,
                Ask::Everything => {
                    self.stream.resync(ResyncFrom::Nothing, &[])?;
                    return Ok(());
                }
                Ask::Groups { buckets } => {
                    let sums = wait(&mut self.pace, self.stream.groups(buckets)).await?;
                    let sums: Vec<Sum> = sums.into_iter().map(sum).collect();
                    self.resync.groups(&sums)?
                }
                Ask::Buckets { buckets, groups } => {
                    let sums = wait(&mut self.pace, self.stream.buckets(buckets, &groups)).await?;
                    let sums: Vec<Sum> = sums.into_iter().flatten().map(sum).collect();
                    self.resync.buckets(&sums)?
                }
                Ask::Entries { buckets, wanted } => {
                    self.entries(buckets, wanted).await?;
                    Ask::Done
                }
            };
        }
        let epoch = self.resync.epoch().ok_or(Misplaced)?.0;
        self.stream
            .resync(ResyncFrom::Place { epoch, sequence }, &[])?;
        Ok(())
    }

    /// Takes over what the server has in some buckets and we have not.
    async fn entries(&mut self, buckets: u32, wanted: HashSet<u32>) -> Result<(), LinkEnd> {
        let named = self.resync.named(buckets, wanted).await?;
        let named = named.into_iter().map(|(bucket, hashes)| client::Named {
            bucket,
            hashes: hashes
                .into_iter()
                .map(|hash| hash.0.to_be_bytes())
                .collect(),
        });
        let mut entries = self.stream.entries(buckets, named.collect());
        while let Some(line) = wait(&mut self.pace, entries.next()).await? {
            self.resync.line(line).await?;
            if self.resync.is_full() {
                self.resync.flush().await?;
            }
        }
        let answer = entries.into_answer();
        let unknown = answer.unknown.into_iter().map(u128::from_be_bytes);
        self.resync.unknown(unknown.map(Root), &answer.whole);
        Ok(())
    }

    async fn reached(&mut self, barrier: Barrier) -> Result<(), LinkEnd> {
        let number = self.pace.answered(barrier)?;
        if self.live_since.is_some() {
            self.resync.flush_all().await?;
            self.flush().await?;
            let sequence = self.ground.store.current().sequence();
            self.ground.link.reached(number, sequence);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LinkEnd> {
        let before = self.resync.tally().points;
        let flushed = self.resync.flush().await;
        let tally = self.resync.tally();
        self.ground.link.count_points(tally.points - before);
        self.ground
            .link
            .set_held(self.ground.store.current().held());
        flushed?;
        if tally.verified && self.live_since.is_none() {
            self.become_live();
        }
        if !self.resync.defers() {
            self.deferring_since = None;
        } else if self
            .deferring_since
            .get_or_insert_with(Instant::now)
            .elapsed()
            > DEFER_MAX
        {
            self.deferring_since = None;
            self.resync.flush_all().await?;
        }
        Ok(())
    }

    fn become_live(&mut self) {
        let tally = self.resync.tally();
        let version = self.ground.store.current();
        let way = match self.resync.mode() {
            Mode::Log => Way::Log,
            Mode::Digest => Way::Digest,
            Mode::Full => Way::Full,
        };
        let elapsed_ms = self.began.elapsed().as_millis();
        let resynced = Resynced {
            way,
            octets: octets(self.stream.octets()),
            changes: tally.changes,
            elapsed_ms: elapsed_ms.try_into().unwrap_or(u64::MAX),
        };
        let place = version.place();
        info!(
            upstream = %self.ground.config.upstream,
            peer = self.peer,
            epoch = %place.epoch,
            sequence = %place.sequence,
            mailboxes = version.len(),
            ?way,
            octets = resynced.octets,
            changes = tally.changes,
            deleted = tally.deleted,
            held = tally.held,
            elapsed_ms = resynced.elapsed_ms,
            "list is the master's"
        );
        self.live_since = Some(Instant::now());
        self.pace.live();
        self.ground.link.verified(resynced);
    }
}

impl std::fmt::Debug for Resyncing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resyncing")
            .field("peer", &self.peer)
            .field("live_since", &self.live_since)
            .finish_non_exhaustive()
    }
}

/// Waits for the answer to a question of a comparison.
async fn wait<T>(
    pace: &mut Pace<'_>,
    answer: impl Future<Output = Result<T, client::Error>>,
) -> Result<T, LinkEnd> {
    let mut answer = pin!(answer);
    loop {
        match pace.event(answer.as_mut()).await? {
            Event::Heard(said) => return Ok(said),
            Event::Demand => {}
            Event::Timer => drop(pace.is_silent()?),
        }
    }
}

/// What we say that we have.
fn from(ground: Ground<'_>, how: Option<Thoroughly>) -> ResyncFrom {
    let version = ground.store.current();
    let place = version.place();
    match how {
        Some(Thoroughly::Full) => ResyncFrom::Nothing,
        None if version.is_empty() && !follows(&version) => ResyncFrom::Nothing,
        // A history that nobody knows leads to a comparison.
        Some(Thoroughly::Compare) => ResyncFrom::Place {
            epoch: Epoch::random().0,
            sequence: 0,
        },
        None => ResyncFrom::Place {
            epoch: place.epoch.0,
            sequence: place.sequence.0,
        },
    }
}

pub(crate) fn octets(octets: Octets) -> u64 {
    octets.read.saturating_add(octets.written)
}

fn sum(sum: WireSum) -> Sum {
    Sum {
        count: sum.count.into(),
        root: Root(sum.root),
    }
}
