//! What the exporter's thread waits for.

use std::time::{Duration, Instant};

use store::{Sequence, Store};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the history from before the store's start is waited for; a comparison takes about as
/// long.
const HISTORY_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a change that has been announced is looked out for: about as long as it would take to be woken for it.
const LOOK_OUT: Duration = Duration::from_micros(100);

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// A change has been announced.
    Announced,
    /// It is there, or something else is to be done.
    Called,
}

/// The store and the wish to stop, listened to on a runtime of the thread's own.
pub(super) struct Waits<'r> {
    runtime: &'r Runtime,
    stop: CancellationToken,
    changes: watch::Receiver<Sequence>,
    /// `None`: announcements are of no interest.
    announced: Option<watch::Receiver<Sequence>>,
    /// The last announcement that nothing came of.
    vain: Sequence,
}

impl<'r> Waits<'r> {
    pub(super) fn new(
        runtime: &'r Runtime,
        store: &Store,
        stop: CancellationToken,
        awaited: bool,
    ) -> Self {
        Self {
            runtime,
            stop,
            changes: store.watch(),
            announced: awaited.then(|| store.announcements()),
            vain: Sequence(0),
        }
    }

    /// Waits for the history from before the store's start.
    pub(super) fn history(&self, store: &Store) {
        let mut history = store.history_complete();
        self.runtime.block_on(async {
            tokio::select! {
                _ = history.wait_for(|&complete| complete) => {}
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(HISTORY_WAIT_MAX) => {}
            }
        });
    }

    /// Waits, but not longer than for the wish to stop.
    pub(super) fn pause(&self, time: Duration) {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(time) => {}
            }
        });
    }

    /// Waits for a change of the store behind `at`, or one that is announced.
    pub(super) fn change(&mut self, at: Sequence, at_most: Duration) -> Woken {
        let seen = at.max(self.vain);
        let (changes, announced) = (&mut self.changes, &mut self.announced);
        self.runtime.block_on(async {
            let announcement = async {
                match announced {
                    Some(announced) => later(announced, seen).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = later(changes, at) => Woken::Called,
                () = announcement => Woken::Announced,
                () = self.stop.cancelled() => Woken::Called,
                () = tokio::time::sleep(at_most) => Woken::Called,
            }
        })
    }

    /// Waits for a change behind `at` that has been announced; `false` if it does not come in time.
    pub(super) fn announced_change(&mut self, at: Sequence, at_most: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < LOOK_OUT {
            if *self.changes.borrow() > at {
                return true;
            }
            std::thread::yield_now();
        }
        if *self.changes.borrow() <= at {
            self.change_alone(at, at_most);
        }
        let came = *self.changes.borrow() > at;
        if !came && let Some(announced) = &self.announced {
            self.vain = *announced.borrow();
        }
        came
    }

    fn change_alone(&mut self, at: Sequence, at_most: Duration) {
        let changes = &mut self.changes;
        self.runtime.block_on(async {
            tokio::select! {
                () = later(changes, at) => {}
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(at_most) => {}
            }
        });
    }
}

/// Waits until a value behind `at` is told; for ever if nobody is left to tell one.
async fn later(told: &mut watch::Receiver<Sequence>, at: Sequence) {
    if told.wait_for(|&told| told > at).await.is_err() {
        std::future::pending::<()>().await;
    }
}
