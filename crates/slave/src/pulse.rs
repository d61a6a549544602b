//! Whether the master is still there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// When to ask a silent master, and when to give it up.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Silence after which it is asked.
    delay: Duration,
    /// Silence after that until it counts as gone.
    patience: Duration,
    heard: Instant,
    asked: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Death,
}

impl Pulse {
    pub(crate) fn new(delay: Duration, patience: Duration, now: Instant) -> Self {
        Self {
            delay,
            patience,
            heard: now,
            asked: None,
        }
    }

    /// From here on, silence after a ping lasts this long.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Something came: any octet counts.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// When [`Pulse::due`] has to be asked next.
    pub(crate) fn deadline(&self) -> Instant {
        match self.asked {
            None => self.heard + self.delay,
            Some(asked) => asked + self.patience,
        }
    }

    /// What is due; a ping counts as sent.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        if self.asked.is_some() {
            return Due::Death;
        }
        self.asked = Some(now);
        Due::Ping
    }
}

/// Notices octets that do not make a whole response yet: the socket's wake-ups pass through here.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    woken: AtomicBool,
    listener: AtomicWaker,
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.listener.wake();
    }
}

impl Ear {
    /// Awaits something that reads a socket, and nothing else. Each time the socket moves, the pulse
    /// hears of it.
    pub(crate) async fn listen<T>(
        self: &Arc<Self>,
        pulse: &mut Pulse,
        reading: impl Future<Output = T>,
    ) -> T {
        let waker = Waker::from(Arc::clone(self));
        let mut reading = std::pin::pin!(reading);
        std::future::poll_fn(|cx| {
            self.listener.register(cx.waker());
            if self.woken.swap(false, Ordering::AcqRel) {
                pulse.heard(Instant::now());
            }
            let polled = reading.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                pulse.heard(Instant::now());
            }
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::sleep;

    const DELAY: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_then_given_up() {
        let start = Instant::now();
        let mut pulse = Pulse::new(DELAY, DELAY, start);
        assert_eq!(pulse.due(start + DELAY / 2), Due::Nothing);
        pulse.heard(start + DELAY / 2);
        assert_eq!(pulse.due(start + DELAY), Due::Nothing);
        assert_eq!(pulse.due(start + DELAY * 2), Due::Ping);
        assert_eq!(pulse.due(start + DELAY * 2), Due::Nothing);
        assert_eq!(pulse.due(start + DELAY * 3), Due::Death);
        pulse.heard(start + DELAY * 3);
        assert_eq!(pulse.due(start + DELAY * 3), Due::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn any_octet_is_heard() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        tokio::spawn(async move {
            for _ in 0..3 {
                sleep(DELAY / 2).await;
                theirs.write_all(b"x").await.unwrap();
            }
            sleep(DELAY * 10).await;
        });
        let start = Instant::now();
        let mut pulse = Pulse::new(DELAY, DELAY, start);
        let ear = Arc::new(Ear::default());
        let mut line = [0; 4];
        let reading = ear.listen(&mut pulse, ours.read_exact(&mut line));
        let waited = tokio::time::timeout(DELAY * 5, reading).await;
        assert!(waited.is_err(), "the fourth octet never comes");
        assert_eq!(pulse.deadline(), start + DELAY / 2 * 3 + DELAY);
    }
}
