//! Who tells streaming sessions that there are changes: some of them at a time.
//!
//! A change makes every streaming session write a line. Were all of them woken at once, whoever asks for something
//! meanwhile would wait behind thousands of them for its turn on the control plane. So they hear of it in rounds, and
//! between two rounds everybody else gets a turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use store::Sequence;
use tokio::sync::watch;
use tokio::task::yield_now;

/// Rounds in which all sessions hear of a change.
const ROUNDS: usize = 128;
/// So many neighbours share a round before the next one gets any.
const NEIGHBOURS: usize = 16;

/// Where sessions listen.
#[derive(Debug)]
pub(crate) struct Audience {
    first: watch::Receiver<Sequence>,
    others: Vec<watch::Receiver<Sequence>>,
    listeners: AtomicUsize,
}

/// Who tells them. With it goes what they listen to.
#[derive(Debug)]
pub(crate) struct Crier {
    rounds: Vec<watch::Sender<Sequence>>,
    store: watch::Receiver<Sequence>,
}

/// Tells listeners what `store` tells: each change, or a later one.
pub(crate) fn crier(store: watch::Receiver<Sequence>) -> (Audience, Crier) {
    let (mine, first) = watch::channel(*store.borrow());
    let (mut rounds, mut others) = (vec![mine], Vec::new());
    for _ in 1..ROUNDS {
        let (mine, other) = watch::channel(*store.borrow());
        rounds.push(mine);
        others.push(other);
    }
    let audience = Audience {
        first,
        others,
        listeners: AtomicUsize::new(0),
    };
    (audience, Crier { rounds, store })
}

impl Audience {
    /// Hears of whatever is published from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<Sequence> {
        let before = self.listeners.fetch_add(1, Ordering::Relaxed);
        let round = self.others.get(before / NEIGHBOURS % ROUNDS);
        round.unwrap_or(&self.first).clone()
    }
}

impl Crier {
    /// Tells until the store has ended.
    pub(crate) async fn run(mut self) {
        while self.store.changed().await.is_ok() {
            for round in &self.rounds {
                // Also where nobody listens yet: whoever is about to may have seen an earlier version.
                round.send_replace(*self.store.borrow());
                let is_heard = round.receiver_count() > 1;
                if is_heard {
                    yield_now().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    const LISTENERS: usize = 5000;

    #[tokio::test]
    async fn everybody_hears_of_the_last_change_and_of_the_end() {
        let store = watch::Sender::new(Sequence(1));
        let (audience, crier) = crier(store.subscribe());
        let mut listeners: Vec<_> = (0..LISTENERS).map(|_| audience.listen()).collect();
        let running = tokio::spawn(crier.run());
        for head in 2..10 {
            store.send_replace(Sequence(head));
            yield_now().await;
        }
        for listener in &mut listeners {
            listener.wait_for(|head| head.0 == 9).await.unwrap();
        }
        // Who comes later has missed nothing.
        assert_eq!(*audience.listen().borrow(), Sequence(9));
        drop(store);
        running.await.unwrap();
        for listener in &mut listeners {
            listener.wait_for(|head| head.0 > 9).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn between_two_rounds_others_get_a_turn() {
        let store = watch::Sender::new(Sequence(1));
        let (audience, crier) = crier(store.subscribe());
        let (heard, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut listeners = JoinSet::new();
        for _ in 0..LISTENERS {
            let mut listener = audience.listen();
            let (heard, first) = (Arc::clone(&heard), Arc::clone(&first));
            listeners.spawn(async move {
                listener.wait_for(|head| head.0 == 2).await.unwrap();
                heard.fetch_add(1, Ordering::Relaxed);
                first.notify_one();
            });
        }
        tokio::spawn(crier.run());
        yield_now().await;
        store.send_replace(Sequence(2));
        first.notified().await;
        let before_us = heard.load(Ordering::Relaxed);
        assert!(
            before_us <= LISTENERS / ROUNDS + 2 * NEIGHBOURS,
            "{before_us}"
        );
        listeners.join_all().await;
        assert_eq!(heard.load(Ordering::Relaxed), LISTENERS);
    }
}
