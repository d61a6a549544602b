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

use std::collections::VecDeque;
use std::sync::Arc;

use client::{Barrier, Update, Updates};
use futures_util::FutureExt;
use proto::{Entry, MailboxName};
use store::{Origin, Store};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::SlaveConfig;
use crate::census::Census;
use crate::link::Link;
use crate::pulse::{Due, Ear, Pulse};
use crate::replica::{ApplyError, Outcome, Replica};
use crate::wishes::Wishes;

/// Events looked at before what they say is carried out.
const EVENTS_AT_ONCE: usize = 16_384;

/// Why a link ended.
#[derive(Debug, Error)]
pub(crate) enum LinkEnd {
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error("master is silent")]
    Silent,
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("slave stops")]
    Stopped,
}

enum Event {
    Update(Update),
    Demand,
    Timer,
}

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

/// What a link needs of the slave that it belongs to.
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a SlaveConfig,
    pub(crate) store: &'a Store,
    pub(crate) replica: &'a Mutex<Replica>,
    pub(crate) link: &'a Link,
    pub(crate) stop: &'a CancellationToken,
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
    /// NOOPs without an answer, with their numbers.
    outstanding: VecDeque<(Barrier, u64)>,
    ear: Arc<Ear>,
    pulse: Pulse,
    unusable: usize,
    live_since: Option<Instant>,
}

impl<'a> Following<'a> {
    /// Begins a link on a connection that has logged in.
    pub(crate) async fn start(
        ground: Ground<'a>,
        updates: Updates,
        origin: Origin,
    ) -> Result<Self, LinkEnd> {
        let delay = ground.config.delay();
        let patience = delay.max(ground.config.dump_silence_max);
        let replica = ground.replica.lock().await;
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
            outstanding: VecDeque::new(),
            ear: Arc::default(),
            pulse: Pulse::new(delay, patience, Instant::now()),
            unusable: 0,
            live_since: None,
        })
    }

    /// Since when the list has been the master's.
    pub(crate) fn live_since(&self) -> Option<Instant> {
        self.live_since
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
        let idle = self.outstanding.is_empty();
        if self.stage == Stage::Live && idle && self.ground.link.is_wanted() {
            self.send_noop()?;
        }
        match self.event().await? {
            Event::Update(update) => self.updates(update).await,
            Event::Demand => Ok(()),
            Event::Timer => self.timer(),
        }
    }

    async fn event(&mut self) -> Result<Event, LinkEnd> {
        let deadline = self.pulse.deadline();
        tokio::select! {
            biased;
            () = self.ground.stop.cancelled() => Err(LinkEnd::Stopped),
            update = self.ear.listen(&mut self.pulse, self.updates.next()) => Ok(Event::Update(update?)),
            () = self.ground.link.demanded() => Ok(Event::Demand),
            () = sleep_until(deadline) => Ok(Event::Timer),
        }
    }

    fn timer(&mut self) -> Result<(), LinkEnd> {
        match self.pulse.due(Instant::now()) {
            Due::Ping if self.outstanding.is_empty() => self.send_noop().map(|_| ()),
            Due::Ping | Due::Nothing => Ok(()),
            Due::Death => Err(LinkEnd::Silent),
        }
    }

    fn send_noop(&mut self) -> Result<u64, LinkEnd> {
        let number = self.ground.link.next_number();
        self.outstanding
            .push_back((self.updates.barrier()?, number));
        Ok(number)
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
        self.pulse.heard(Instant::now());
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
        let number = match self.outstanding.pop_front() {
            Some((sent, number)) if sent == barrier => number,
            _ => return Err(client::Error::Unexpected { command: "NOOP" }.into()),
        };
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
        self.pulse.set_patience(self.ground.config.delay());
        self.ground.link.set_held(held);
        self.ground.link.live(number, version.sequence());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LinkEnd> {
        let wishes = self.wishes.take();
        if wishes.is_empty() {
            return Ok(());
        }
        let mut replica = self.ground.replica.lock().await;
        replica.apply(wishes, &self.origin).await?;
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
