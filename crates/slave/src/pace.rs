//! What every link has, whatever it says: NOOPs and their answers, silence, the wish of others to have the
//! list brought up to date, and its end.

use std::collections::VecDeque;
use std::sync::Arc;

use client::Barrier;
use store::{Sequence, Store};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::SlaveConfig;
use crate::link::{Link, Thoroughly};
use crate::pulse::{Due, Ear, Pulse};
use crate::replica::{ApplyError, Replica};

/// Why a link ended.
#[derive(Debug, Error)]
pub(crate) enum LinkEnd {
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error("master is silent")]
    Silent,
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("list is not the master's at sequence {sequence}")]
    Mismatch {
        sequence: Sequence,
        found_by: FoundBy,
    },
    #[error("server's digests do not fit together")]
    Inconsistent,
    #[error("server is behind us, at sequence {0}")]
    Behind(Sequence),
    #[error("an operator wishes for another link")]
    Wished(Thoroughly),
    #[error("slave stops")]
    Stopped,
}

/// What led to a list that is not the master's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBy {
    /// Changes as they were made.
    Stream,
    /// The changes since a place.
    Log,
    /// A comparison.
    Digest,
    /// The whole list.
    Full,
}

/// What a link needs of the slave that it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a SlaveConfig,
    pub(crate) store: &'a Store,
    pub(crate) replica: &'a Mutex<Replica>,
    pub(crate) link: &'a Link,
    pub(crate) stop: &'a CancellationToken,
}

/// What a link is to look at next.
pub(crate) enum Event<T> {
    /// The master has said something.
    Heard(T),
    /// Somebody wishes for a NOOP.
    Demand,
    /// Silence has lasted.
    Timer,
}

/// Sees to it that a link does not wait in vain.
pub(crate) struct Pace<'a> {
    ground: Ground<'a>,
    /// NOOPs without an answer, with their numbers.
    outstanding: VecDeque<(Barrier, u64)>,
    ear: Arc<Ear>,
    pulse: Pulse,
}

impl<'a> Pace<'a> {
    /// For a link that begins: the master may have to read much before it speaks.
    pub(crate) fn new(ground: Ground<'a>) -> Self {
        let delay = ground.config.delay();
        let patience = delay.max(ground.config.dump_silence_max);
        Self {
            ground,
            outstanding: VecDeque::new(),
            ear: Arc::default(),
            pulse: Pulse::new(delay, patience, Instant::now()),
        }
    }

    /// From here on the master has nothing to read before it speaks.
    pub(crate) fn live(&mut self) {
        self.pulse.set_patience(self.ground.config.delay());
    }

    /// Waits for what the master says, or for another reason to act. `reading` may be dropped without loss.
    pub(crate) async fn event<T>(
        &mut self,
        reading: impl Future<Output = Result<T, client::Error>>,
    ) -> Result<Event<T>, LinkEnd> {
        let deadline = self.pulse.deadline();
        tokio::select! {
            biased;
            () = self.ground.stop.cancelled() => Err(LinkEnd::Stopped),
            how = self.ground.link.wished() => Err(LinkEnd::Wished(how)),
            said = self.ear.listen(&mut self.pulse, reading) => Ok(Event::Heard(said?)),
            () = self.ground.link.demanded() => Ok(Event::Demand),
            () = sleep_until(deadline) => Ok(Event::Timer),
        }
    }

    /// Carrying out what was said has taken its time.
    pub(crate) fn heard(&mut self) {
        self.pulse.heard(Instant::now());
    }

    /// Whether a NOOP is due because others wait for one.
    pub(crate) fn is_asked(&self) -> bool {
        self.outstanding.is_empty() && self.ground.link.is_wanted()
    }

    /// Whether a NOOP is due because of the silence.
    pub(crate) fn is_silent(&mut self) -> Result<bool, LinkEnd> {
        match self.pulse.due(Instant::now()) {
            Due::Ping => Ok(self.outstanding.is_empty()),
            Due::Nothing => Ok(false),
            Due::Death => Err(LinkEnd::Silent),
        }
    }

    /// A NOOP is on its way. Returns its number.
    pub(crate) fn sent(&mut self, barrier: Barrier) -> u64 {
        let number = self.ground.link.next_number();
        self.outstanding.push_back((barrier, number));
        number
    }

    /// A NOOP is answered. Returns its number.
    pub(crate) fn answered(&mut self, barrier: Barrier) -> Result<u64, LinkEnd> {
        match self.outstanding.pop_front() {
            Some((sent, number)) if sent == barrier => Ok(number),
            _ => Err(client::Error::Unexpected { command: "NOOP" }.into()),
        }
    }
}
