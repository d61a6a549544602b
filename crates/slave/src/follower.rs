//! The loop that keeps a link to the master: connect, follow, wait, again.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use store::{Health, Store};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::connect::connect;
use crate::following::{Following, Ground, LinkEnd};
use crate::link::Link;
use crate::replica::{ApplyError, Replica, origin};
use crate::retry::Retry;
use crate::{Phase, SlaveConfig};

/// Attempts on behalf of kicks are no closer than this.
const DEMAND_SPACING: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) config: SlaveConfig,
    pub(crate) store: Store,
    pub(crate) replica: Arc<Mutex<Replica>>,
    pub(crate) link: Arc<Link>,
    pub(crate) stop: CancellationToken,
}

impl Follower {
    /// Runs until it is told to stop. A panic ends a link, not the following.
    pub(crate) async fn run_on(self) {
        while let Err(cause) = tokio::spawn(self.clone().run()).await {
            error!(%cause, "follower has panicked");
            self.link.lost(false, "follower has panicked");
            self.pause(self.config.delay()).await;
        }
    }

    async fn run(self) {
        let mut retry = Retry::new(self.config.delay());
        let mut told = String::new();
        loop {
            self.link.set_phase(Phase::Connecting);
            let (lived, end) = self.follow().await;
            let cause = describe(&end);
            self.link.lost(lived.is_some(), &cause);
            if matches!(end, LinkEnd::Stopped) {
                return;
            }
            let delay = retry.next_delay(lived, (self.config.chance)());
            self.tell(&mut told, lived.is_some(), cause, delay);
            self.pause(delay).await;
        }
    }

    /// One link. Returns how long it was live, if it ever was, and why it ended.
    async fn follow(&self) -> (Option<Duration>, LinkEnd) {
        if self.store.health() == Health::Failed {
            return (None, ApplyError::Storage.into());
        }
        let connected = tokio::select! {
            () = self.stop.cancelled() => return (None, LinkEnd::Stopped),
            connected = connect(&self.config) => connected,
        };
        let (client, peer) = match connected {
            Ok(connected) => connected,
            Err(cause) => return (None, cause.into()),
        };
        debug!(peer, banner = ?client.banner(), tls = client.stream().is_tls(), "connected");
        self.link.set_phase(Phase::Dumping);
        let ground = Ground {
            config: &self.config,
            store: &self.store,
            replica: &self.replica,
            link: &self.link,
            stop: &self.stop,
        };
        let origin = origin(&self.config.upstream.to_string(), &peer);
        let started = Following::start(ground, client.update(&[]), origin).await;
        let mut following = match started {
            Ok(following) => following,
            Err(end) => return (None, end),
        };
        let end = following.run().await;
        let lived = following.live_since().map(|since| since.elapsed());
        (lived, end)
    }

    /// Every loss of a link is told; an attempt that fails as the one before did, is not.
    fn tell(&self, told: &mut String, was_live: bool, cause: String, delay: Duration) {
        let upstream = &self.config.upstream;
        if was_live {
            info!(%upstream, cause, ?delay, "link to the master is lost");
        } else if *told == cause {
            debug!(%upstream, cause, ?delay, "still no link to the master");
        } else {
            warn!(%upstream, cause, ?delay, "no link to the master");
        }
        *told = if was_live { String::new() } else { cause };
    }

    /// Waits; somebody who asks for the master cuts it short.
    async fn pause(&self, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let soonest = Instant::now() + DEMAND_SPACING;
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(delay) => {}
            () = async { self.link.demanded().await; sleep_until(soonest).await } => {}
        }
    }
}

/// An error with its causes, in one line.
fn describe(end: &LinkEnd) -> String {
    let mut text = end.to_string();
    let mut cause = end.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
