//! Who is connected, for operators.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use store::Sequence;
use tokio_util::sync::CancellationToken;

/// The sessions of one server, as they stand. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    live: Arc<DashMap<u64, Arc<Record>>>,
    next: Arc<AtomicU64>,
    resyncs: Arc<ResyncCounters>,
}

#[derive(Debug)]
struct Record {
    peer: SocketAddr,
    since: Instant,
    state: Mutex<SessionState>,
    evicted: CancellationToken,
}

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Connected, not logged in.
    Greeted,
    /// Logged in.
    LoggedIn {
        /// Who.
        identity: Arc<str>,
    },
    /// Receives the list: UPDATE's dump, or RESYNC's.
    Dumping {
        /// Who.
        identity: Arc<str>,
        /// By which command.
        mode: StreamMode,
    },
    /// Compares its list with ours.
    Comparing {
        /// Who.
        identity: Arc<str>,
    },
    /// Receives changes.
    Streaming {
        /// Who.
        identity: Arc<str>,
        /// By which command.
        mode: StreamMode,
        /// Changes up to here have been handed to the socket.
        position: Sequence,
    },
}

/// What a stream was asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamMode {
    /// UPDATE.
    Update,
    /// RESYNC.
    Resync,
}

/// How RESYNCs were answered since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resyncs {
    /// By the changes since the peer's place.
    pub log: u64,
    /// By a compare.
    pub digest: u64,
    /// By the whole list.
    pub full: u64,
    /// By NO: we were behind the peer.
    pub behind: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ResyncCounters {
    pub(crate) log: AtomicU64,
    pub(crate) digest: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) behind: AtomicU64,
}

/// One line of a listing of sessions.
#[derive(Debug, Clone)]
pub struct SessionStatus {
    /// Number of the session, from 1.
    pub number: u64,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Seconds since it connected.
    pub age_s: u64,
    /// What it is doing.
    pub state: SessionState,
}

impl Sessions {
    /// All sessions, oldest first.
    pub fn list(&self) -> Vec<SessionStatus> {
        let mut list: Vec<SessionStatus> = self
            .live
            .iter()
            .map(|entry| status(*entry.key(), entry.value()))
            .collect();
        list.sort_by_key(|session| session.number);
        list
    }

    /// How RESYNCs were answered.
    pub fn resyncs(&self) -> Resyncs {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Resyncs {
            log: read(&self.resyncs.log),
            digest: read(&self.resyncs.digest),
            full: read(&self.resyncs.full),
            behind: read(&self.resyncs.behind),
        }
    }

    pub(crate) fn resync_counters(&self) -> &ResyncCounters {
        &self.resyncs
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Asks the oldest connection that has not logged in to end; false when there is none.
    pub(crate) fn evict_one(&self) -> bool {
        let greeted = self
            .live
            .iter()
            .filter(|entry| entry.value().is_evictable());
        let oldest = greeted
            .min_by_key(|entry| *entry.key())
            .map(|entry| Arc::clone(entry.value()));
        oldest.inspect(|record| record.evicted.cancel()).is_some()
    }

    /// A session begins; it ends when the handle is dropped.
    pub(crate) fn open(&self, peer: SocketAddr) -> Registered {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let record = Arc::new(Record {
            peer,
            since: Instant::now(),
            state: Mutex::new(SessionState::Greeted),
            evicted: CancellationToken::new(),
        });
        self.live.insert(number, Arc::clone(&record));
        Registered {
            sessions: self.clone(),
            number,
            record,
        }
    }
}

impl Record {
    fn is_evictable(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state == SessionState::Greeted && !self.evicted.is_cancelled()
    }
}

fn status(number: u64, record: &Record) -> SessionStatus {
    SessionStatus {
        number,
        peer: record.peer,
        age_s: record.since.elapsed().as_secs(),
        state: record
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
    }
}

/// A session's own entry.
pub(crate) struct Registered {
    sessions: Sessions,
    number: u64,
    record: Arc<Record>,
}

impl Registered {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.record.peer
    }

    pub(crate) fn age(&self) -> Duration {
        self.record.since.elapsed()
    }

    /// Waits until another connection needs this place.
    pub(crate) async fn evicted(&self) {
        self.record.evicted.cancelled().await;
    }

    pub(crate) fn set(&self, state: SessionState) {
        *self
            .record
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.live.remove(&self.number);
    }
}
