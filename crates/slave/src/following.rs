//! One link to the master, from UPDATE to its end.
//!
//! ```text
//! UPDATE ──► dump ──OK──► NOOP sent ──OK──► live
//!             │              │                │
//!             └── any other end: nothing is deleted
//! ```
//!
//! What a dump says is carried out as it comes; what it lacks is looked at only when its OK *and* the
//! answer to a NOOP behind it are there. A streamed line counts at once, DELETE too.

use std::time::Duration;

use client::{Barrier, Update, Updates};
use futures_util::FutureExt;
use proto::{Entry, MailboxName};
use store::Origin;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::census::Census;
use crate::link::{Resynced, Way};
use crate::pace::{Event, Ground, LinkEnd, Pace};
use crate::replica::Outcome;
use crate::resyncing::octets;
use crate::wishes::Wishes;

/// Events looked at before what they say is carried out.
const EVENTS_AT_ONCE: usize = 16_384;

/// What of the dump is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Lines, or its OK.
    Dump,
    /// The answer to the NOOP of this number.
    Proof(u64),
    /// Nothing.
    Live,
}

pub(crate) struct Following<'a> {
    ground: Ground<'a>,
    updates: Updates,
    origin: Origin,
    stage: Stage,
    wishes: Wishes,
    /// Our list, to be checked off.
    census: Census,
    /// No name is held, so a line that says what is already so may be passed over.
    none_held: bool,
    pace: Pace<'a>,
    unusable: usize,
    changes: usize,
    began: Instant,
    live_since: Option<Instant>,
}

impl<'a> Following<'a> {
    /// Begins a link on a connection that has logged in.
    pub(crate) async fn start(
        ground: Ground<'a>,
        updates: Updates,
        origin: Origin,
    ) -> Result<Self, LinkEnd> {
        let mut replica = ground.replica.lock().await;
        replica.leave_history().await?;
        let (census, none_held) = (replica.census().await?, replica.held() == 0);
        drop(replica);
        Ok(Self {
            ground,
            updates,
            origin,
            stage: Stage::Dump,
            wishes: Wishes::default(),
            census,
            none_held,
            pace: Pace::new(ground),
            unusable: 0,
            changes: 0,
            began: Instant::now(),
            live_since: None,
        })
    }

    /// For how long the list has been the master's.
    pub(crate) fn lived(&self) -> Option<Duration> {
        self.live_since.map(|since| since.elapsed())
    }

    /// Follows until the link ends.
    pub(crate) async fn run(&mut self) -> LinkEnd {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    async fn step(&mut self) -> Result<(), LinkEnd> {
        if self.stage == Stage::Live && self.pace.is_asked() {
            self.send_noop()?;
        }
        match self.pace.event(self.updates.next()).await? {
            Event::Heard(update) => self.updates(update).await,
            Event::Timer if self.pace.is_silent()? => self.send_noop().map(|_| ()),
            Event::Timer | Event::Demand => Ok(()),
        }
    }

    fn send_noop(&mut self) -> Result<u64, LinkEnd> {
        Ok(self.pace.sent(self.updates.barrier()?))
    }

    /// Takes in an event and those that have come with it, and carries them out together.
    async fn updates(&mut self, first: Update) -> Result<(), LinkEnd> {
        let mut next = Some(Ok(first));
        let mut taken = 0;
        let ended = loop {
            match next {
                Some(Ok(update)) => self.take(update).await?,
                Some(Err(cause)) => break Err(cause),
                None => break Ok(()),
            }
            taken += 1;
            if taken >= EVENTS_AT_ONCE || self.wishes.is_full() {
                break Ok(());
            }
            next = self.updates.next().now_or_never();
        };
        self.pace.heard();
        // What came before the link ended has been said all the same.
        self.flush().await?;
        Ok(ended?)
    }

    async fn take(&mut self, update: Update) -> Result<(), LinkEnd> {
        match update {
            Update::Mailbox { name, entry } => self.note(name, Some(entry)),
            Update::Delete { name } => self.note(name, None),
            Update::Unusable(unusable) => self.note_unusable(&unusable),
            Update::DumpComplete => self.stage = Stage::Proof(self.send_noop()?),
            Update::Reached(barrier) => return self.reached(barrier).await,
        }
        Ok(())
    }

    fn note(&mut self, name: MailboxName, entry: Option<Entry>) {
        let is_so = self.census.mention(&name, entry.as_ref());
        if !(is_so && self.none_held) {
            self.wishes.note(name, entry);
        }
    }

    /// A mailbox that we can't hold as the master has it. What we know of it stays: it is not deleted
    /// there.
    fn note_unusable(&mut self, unusable: &client::Unusable) {
        if let Ok(name) = MailboxName::try_from(unusable.name.as_slice()) {
            self.census.mention(&name, None);
        }
        if self.unusable == 0 {
            warn!(cause = %unusable, "the master has mailboxes that can't be stored here; this is the first");
        }
        self.unusable += 1;
    }

    async fn reached(&mut self, barrier: Barrier) -> Result<(), LinkEnd> {
        let number = self.pace.answered(barrier)?;
        match self.stage {
            Stage::Dump => {}
            Stage::Proof(proof) if number < proof => {}
            Stage::Proof(_) => self.become_live(number).await?,
            Stage::Live => {
                self.flush().await?;
                let sequence = self.ground.store.current().sequence();
                self.ground.link.reached(number, sequence);
            }
        }
        Ok(())
    }

    async fn become_live(&mut self, number: u64) -> Result<(), LinkEnd> {
        self.flush().await?;
        let census = std::mem::take(&mut self.census);
        let mut replica = self.ground.replica.lock().await;
        let outcome = replica.finish_dump(census, &self.origin).await?;
        let held = replica.held();
        drop(replica);
        let version = self.ground.store.current();
        let deleted = match outcome {
            Outcome::Applied { deleted } => deleted,
            Outcome::Held { .. } => 0,
        };
        info!(
            upstream = %self.ground.config.upstream,
            peer = %self.origin.peer,
            mailboxes = version.len(),
            deleted,
            held,
            unusable = self.unusable,
            "list is the master's"
        );
        self.stage = Stage::Live;
        self.live_since = Some(Instant::now());
        self.pace.live();
        self.ground.link.set_held(held);
        let elapsed_ms = self.began.elapsed().as_millis();
        self.ground.link.set_last(Resynced {
            way: Way::Dump,
            octets: octets(self.updates.octets()),
            changes: self.changes + deleted,
            elapsed_ms: elapsed_ms.try_into().unwrap_or(u64::MAX),
        });
        self.ground.link.live(number, version.sequence());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LinkEnd> {
        let wishes = self.wishes.take();
        if wishes.is_empty() {
            return Ok(());
        }
        let mut replica = self.ground.replica.lock().await;
        self.changes += replica.apply(wishes, &self.origin).await?;
        self.ground.link.set_held(replica.held());
        Ok(())
    }
}

impl std::fmt::Debug for Following<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
