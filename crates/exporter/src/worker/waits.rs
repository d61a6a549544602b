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
    /// The last announcement that was told: nothing may come of it.
    told: Sequence,
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
            told: Sequence(0),
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

    /// Waits for a change of the store behind `at`, or for one to be announced, of which each announcement tells once.
    pub(super) fn change(&mut self, at: Sequence, at_most: Duration) -> Woken {
        let told = at.max(self.told);
        let (changes, announced) = (&mut self.changes, &mut self.announced);
        let (woken, heard) = self.runtime.block_on(async {
            let announcement = async {
                match announced {
                    Some(announced) => later(announced, told).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = later(changes, at) => (Woken::Called, told),
                heard = announcement => (Woken::Announced, heard),
                () = self.stop.cancelled() => (Woken::Called, told),
                () = tokio::time::sleep(at_most) => (Woken::Called, told),
            }
        });
        self.told = heard;
        woken
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
        let changes = &mut self.changes;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = later(changes, at) => true,
                () = self.stop.cancelled() => false,
                () = tokio::time::sleep(at_most) => false,
            }
        })
    }
}

/// Waits until a value behind `at` is told; for ever if nobody is left to tell one.
async fn later(teller: &mut watch::Receiver<Sequence>, at: Sequence) -> Sequence {
    if let Ok(told) = teller.wait_for(|&told| told > at).await {
        return *told;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn an_announcement_that_nothing_comes_of_is_told_once() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (store, announcer) = (
            watch::Sender::new(Sequence(4)),
            watch::Sender::new(Sequence(4)),
        );
        let mut waits = Waits {
            runtime: &runtime,
            stop: CancellationToken::new(),
            changes: store.subscribe(),
            announced: Some(announcer.subscribe()),
            told: Sequence(0),
        };
        assert_eq!(waits.change(Sequence(4), SHORT), Woken::Called);
        announcer.send_replace(Sequence(5));
        assert_eq!(waits.change(Sequence(4), SHORT), Woken::Announced);
        assert!(!waits.announced_change(Sequence(4), SHORT));
        assert_eq!(waits.change(Sequence(4), SHORT), Woken::Called);

        announcer.send_replace(Sequence(6));
        assert_eq!(waits.change(Sequence(4), SHORT), Woken::Announced);
        store.send_replace(Sequence(6));
        assert!(waits.announced_change(Sequence(4), SHORT));
        // What is there already is not waited for.
        assert_eq!(waits.change(Sequence(4), Duration::MAX), Woken::Called);
    }
}
