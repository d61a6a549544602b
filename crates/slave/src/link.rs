//! What everybody may know of the link to the master, and how they ask it for all it has.
//!
//! Asking is by **tickets**: NOOPs to the master are numbered, and whoever asks waits for the next one
//! that is sent. So any number of askers share one NOOP, and at most one is on its way for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::Sequence;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// How long anybody waits for a link that is not there.
const DOWN_WAIT: Duration = Duration::from_secs(1);

/// How far the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There is none; the next attempt is being waited for.
    Down,
    /// An attempt is being made.
    Connecting,
    /// The master's list is coming in, or its end is not proven yet.
    Dumping,
    /// The list is the master's, and changes follow.
    Live,
}

/// How a link came to be live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// RESYNC: the changes since the last link.
    Log,
    /// RESYNC: what differed, found by digests.
    Digest,
    /// RESYNC: the whole list.
    Full,
    /// UPDATE: the whole list.
    Dump,
}

/// A link that has become live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resynced {
    /// How.
    pub way: Way,
    /// Octets read and written for it, as far as they are known.
    pub octets: u64,
    /// Changes of our list.
    pub changes: usize,
    /// From the request until the list was the master's (for RESYNC: verified), in milliseconds.
    pub elapsed_ms: u64,
}

/// What an operator, or a list that is not what it should be, asks of the next link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thoroughly {
    /// Compare by digests, whatever place is known.
    Compare,
    /// Take the whole list.
    Full,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkState {
    pub(crate) phase: Phase,
    /// Attempts that led to no live link.
    pub(crate) failures: u64,
    /// Links that became live.
    pub(crate) lives: u64,
    /// The store holds a complete list.
    pub(crate) complete: bool,
    /// Entries that only wait for an operator to be deleted.
    pub(crate) held: usize,
    /// The last NOOP whose answer has come and whose changes are in the store,
    reached: u64,
    /// at this sequence or before.
    sequence: Sequence,
}

/// The master could not be asked in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the master could not be asked in time")]
pub struct Unreached;

#[derive(Debug, Default)]
struct Tickets {
    sent: u64,
    wanted: u64,
}

#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Sender<LinkState>,
    tickets: Mutex<Tickets>,
    demand: Notify,
    trouble: Mutex<Option<String>>,
    /// What an operator wishes for.
    wish: Mutex<Option<Thoroughly>>,
    wished: Notify,
    last: Mutex<Option<Resynced>>,
    points: AtomicU64,
    mismatches: AtomicU64,
}

impl Link {
    pub(crate) fn new(complete: bool, held: usize) -> Self {
        let state = LinkState {
            phase: Phase::Down,
            failures: 0,
            lives: 0,
            complete,
            held,
            reached: 0,
            sequence: Sequence::default(),
        };
        Self {
            state: watch::Sender::new(state),
            tickets: Mutex::default(),
            demand: Notify::new(),
            trouble: Mutex::default(),
            wish: Mutex::default(),
            wished: Notify::new(),
            last: Mutex::default(),
            points: AtomicU64::new(0),
            mismatches: AtomicU64::new(0),
        }
    }

    pub(crate) fn state(&self) -> LinkState {
        *self.state.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    pub(crate) fn set_held(&self, held: usize) {
        self.state.send_if_modified(|state| {
            let changed = state.held != held;
            state.held = held;
            changed
        });
    }

    /// The link is gone; `lived` says whether it had been live.
    pub(crate) fn lost(&self, lived: bool, cause: &str) {
        *lock(&self.trouble) = Some(cause.to_owned());
        self.state.send_modify(|state| {
            state.phase = Phase::Down;
            state.failures += u64::from(!lived);
        });
    }

    /// Why there is no link.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// The NOOP of this number is answered, and the store, at `sequence`, holds what came before.
    pub(crate) fn reached(&self, number: u64, sequence: Sequence) {
        self.state.send_modify(|state| {
            state.reached = number;
            state.sequence = sequence;
        });
    }

    /// As [`Link::reached`], for the first time on this link: its dump is in the store.
    pub(crate) fn live(&self, number: u64, sequence: Sequence) {
        *lock(&self.trouble) = None;
        self.state.send_modify(|state| {
            state.phase = Phase::Live;
            state.complete = true;
            state.lives += 1;
            state.reached = number;
            state.sequence = sequence;
        });
    }

    /// The list is the master's: a resync is over. What was asked before is still to be asked of the
    /// master.
    pub(crate) fn verified(&self, resynced: Resynced) {
        *lock(&self.trouble) = None;
        *lock(&self.last) = Some(resynced);
        self.state.send_modify(|state| {
            state.phase = Phase::Live;
            state.complete = true;
            state.lives += 1;
        });
    }

    /// How the last link came to be live.
    pub(crate) fn last(&self) -> Option<Resynced> {
        *lock(&self.last)
    }

    pub(crate) fn set_last(&self, resynced: Resynced) {
        *lock(&self.last) = Some(resynced);
    }

    /// The list was as so many more points say.
    pub(crate) fn count_points(&self, more: u64) {
        self.points.fetch_add(more, Ordering::Relaxed);
    }

    /// The list was not as a point says.
    pub(crate) fn count_mismatch(&self) {
        self.mismatches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// An operator wishes for another link that is made more thoroughly.
    pub(crate) fn wish(&self, how: Thoroughly) {
        *lock(&self.wish) = Some(how);
        self.wished.notify_one();
    }

    /// Whether an operator waits for another link to be begun.
    pub(crate) fn is_wished(&self) -> bool {
        lock(&self.wish).is_some()
    }

    /// Waits until an operator wishes for another link; it is then for the caller to make one.
    pub(crate) async fn wished(&self) -> Thoroughly {
        loop {
            let wish = lock(&self.wish).take();
            if let Some(how) = wish {
                return how;
            }
            self.wished.notified().await;
        }
    }

    /// Number of the NOOP that is sent now.
    pub(crate) fn next_number(&self) -> u64 {
        let mut tickets = lock(&self.tickets);
        tickets.sent += 1;
        tickets.sent
    }

    /// Whether somebody waits for a NOOP that has not been sent.
    pub(crate) fn is_wanted(&self) -> bool {
        let tickets = lock(&self.tickets);
        tickets.wanted > tickets.sent
    }

    /// Waits until somebody asks; once for any number of them.
    pub(crate) async fn demanded(&self) {
        self.demand.notified().await;
    }

    /// Asks the master for all it has. Returns the sequence at which the store holds it. A link that
    /// is up is waited for as long as `patience` says; one that is down, or goes down, for one
    /// attempt of at most a second.
    pub(crate) async fn ask(&self, patience: Patience) -> Result<Sequence, Unreached> {
        let ticket = self.ticket();
        let mut states = self.watch();
        let begun = Instant::now();
        let failures = states.borrow().failures;
        let mut limit = None;
        loop {
            let state = *states.borrow_and_update();
            if state.reached >= ticket {
                return Ok(state.sequence);
            }
            if state.phase == Phase::Down && state.failures > failures {
                return Err(Unreached);
            }
            let until = match (state.phase, limit) {
                (_, Some(limit)) => Some(limit),
                (Phase::Down | Phase::Connecting, None) => {
                    Some(*limit.insert(Instant::now() + DOWN_WAIT))
                }
                (Phase::Dumping, None) => Some(begun + patience.for_dump()),
                (Phase::Live, None) => patience.for_answer().map(|wait| begun + wait),
            };
            let bound = until.map(|until| patience.cut(begun, until));
            tokio::select! {
                changed = states.changed() => changed.map_err(|_| Unreached)?,
                () = elapse(bound) => return Err(Unreached),
            }
        }
    }

    fn ticket(&self) -> u64 {
        let mut tickets = lock(&self.tickets);
        tickets.wanted = tickets.sent + 1;
        let ticket = tickets.wanted;
        drop(tickets);
        self.demand.notify_one();
        ticket
    }
}

/// How long an asker bears with a link that is up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// At most this long.
    AtMost(Duration),
    /// While the link lives, but at most this long for a dump.
    WhileLive(Duration),
}

impl Patience {
    fn for_dump(self) -> Duration {
        match self {
            Self::AtMost(wait) | Self::WhileLive(wait) => wait,
        }
    }

    fn for_answer(self) -> Option<Duration> {
        match self {
            Self::AtMost(wait) => Some(wait),
            Self::WhileLive(_) => None,
        }
    }

    /// However the link flaps, the whole wait has its bound.
    fn cut(self, begun: Instant, until: Instant) -> Instant {
        match self {
            Self::AtMost(wait) => until.min(begun + wait.max(DOWN_WAIT)),
            Self::WhileLive(_) => until,
        }
    }
}

async fn elapse(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn asked(link: &Arc<Link>) -> tokio::task::JoinHandle<Result<Sequence, Unreached>> {
        let link = Arc::clone(link);
        tokio::spawn(async move { link.ask(Patience::AtMost(PATIENCE)).await })
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_askers_share_the_next_noop() {
        let link = Arc::new(Link::new(false, 0));
        link.set_phase(Phase::Live);
        let first = link.next_number();
        let askers: Vec<_> = (0..100).map(|_| asked(&link)).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(link.is_wanted());
        link.reached(first, Sequence(5));
        let second = link.next_number();
        assert!(!link.is_wanted());
        link.reached(second, Sequence(7));
        for asker in askers {
            assert_eq!(asker.await.unwrap(), Ok(Sequence(7)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_is_up_is_waited_for_and_one_that_is_down_is_not() {
        let link = Arc::new(Link::new(true, 0));
        let begun = Instant::now();
        assert_eq!(asked(&link).await.unwrap(), Err(Unreached));
        assert_eq!(begun.elapsed().as_secs(), 1);
        link.set_phase(Phase::Live);
        let begun = Instant::now();
        assert_eq!(asked(&link).await.unwrap(), Err(Unreached));
        assert_eq!(begun.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_attempt_ends_the_wait_at_once() {
        let link = Arc::new(Link::new(true, 0));
        let asker = asked(&link);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        link.lost(false, "refused");
        assert_eq!(asker.await.unwrap(), Err(Unreached));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
