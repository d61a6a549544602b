//! The handle of a running slave.

use std::sync::Arc;
use std::time::Duration;

use server::KickSocket;
use store::{EditError, Place, Store};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::files::FileError;
use crate::follower::Follower;
use crate::kick::Kicks;
use crate::link::{Link, Patience, Phase, Resynced, Thoroughly, Unreached};
use crate::replica::{ApplyError, Replica, follows};
use crate::{Exported, SlaveConfig, SlaveRole};

/// Why a slave can't start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// One of its files can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store can't be written.
    #[error(transparent)]
    Store(#[from] EditError),
    /// The runtime is about to end.
    #[error("runtime is stopping")]
    Runtime,
}

/// How a slave is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The master, as `host:port`.
    pub upstream: String,
    /// How far the link is.
    pub phase: Phase,
    /// Why there is no live link.
    pub trouble: Option<String>,
    /// Attempts that led to no live link.
    pub failures: u64,
    /// Links that became live: dumps that came to their proven end.
    pub dumps: u64,
    /// Whether the list is complete, and so may be served.
    pub complete: bool,
    /// Entries that wait for an operator to be deleted.
    pub held: usize,
    /// The place in the master's history that the list has come to; `None`: the master tells none.
    pub place: Option<Place>,
    /// How the last link became live.
    pub resync: Option<Resynced>,
    /// Points at which the list was verified.
    pub points: u64,
    /// Points at which it was not what it should have been.
    pub mismatches: u64,
}

/// A running slave. Its tasks go on until [`Slave::shutdown`], whatever becomes of this handle; clones are
/// handles to the same slave.
#[derive(Clone)]
pub struct Slave {
    upstream: String,
    link: Arc<Link>,
    replica: Arc<Mutex<Replica>>,
    store: Store,
    exported: Option<Exported>,
    patience: Patience,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Slave {
    /// Begins to follow the master, and to answer kicks. The store must have been opened with
    /// [`AsTold`](store::AsTold), and nobody else may change it. Needs a runtime.
    pub async fn start(
        config: SlaveConfig,
        store: Store,
        kick: Option<KickSocket>,
    ) -> Result<Self, StartError> {
        let upstream = config.upstream.to_string();
        let delay = config.delay();
        let exported = config.exported.clone();
        let replica = Replica::open(&config.data_dir, store.clone(), &upstream).await?;
        let link = Arc::new(Link::new(replica.is_complete(), replica.held()));
        let replica = Arc::new(Mutex::new(replica));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let follower = Follower {
            config,
            store: store.clone(),
            replica: Arc::clone(&replica),
            link: Arc::clone(&link),
            stop: stop.clone(),
        };
        tasks.spawn(follower.run_on());
        if let Some(kick) = kick {
            let kicks = Kicks {
                link: Arc::clone(&link),
                exported: exported.clone(),
                wait_max: delay,
            };
            tasks.spawn(kick.run(move || kicks.clone().make_current(), stop.clone()));
        }
        Ok(Self {
            upstream,
            link,
            replica,
            store,
            exported,
            patience: Patience::WhileLive(delay),
            tasks,
            stop,
        })
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        let state = self.link.state();
        let version = self.store.current();
        Status {
            upstream: self.upstream.clone(),
            phase: state.phase,
            trouble: self.link.trouble(),
            failures: state.failures,
            dumps: state.lives,
            complete: state.complete,
            held: state.held,
            place: follows(&version).then(|| version.place()),
            resync: self.link.last(),
            points: self.link.points(),
            mismatches: self.link.mismatches(),
        }
    }

    /// What its sessions may do; for [`server::Server`].
    pub fn role(&self) -> SlaveRole {
        SlaveRole::new(Arc::clone(&self.link), self.patience)
    }

    /// Waits until the list is complete and what is exported has come so far: from then on clients may
    /// be greeted. A store that has been complete before need not wait for the master.
    pub async fn ready(&self) {
        let mut states = self.link.watch();
        // The sender is part of what this handle holds, so there is no other way to end.
        drop(states.wait_for(|state| state.complete).await);
        if let Some(exported) = &self.exported {
            exported(self.store.current().sequence()).await;
        }
    }

    /// Asks the master for all it has, and waits until it is in the store: while the link lives as long as
    /// it takes, else at most a second.
    pub async fn barrier(&self) -> Result<(), Unreached> {
        self.link.ask(self.patience).await.map(|_| ())
    }

    /// An operator says that what is held is to be deleted. Returns the number of names.
    pub async fn confirm_deletes(&self) -> Result<usize, ApplyError> {
        let mut replica = self.replica.lock().await;
        let confirmed = replica.confirm_deletes().await;
        self.link.set_held(replica.held());
        confirmed
    }

    /// Has the list compared with the master's anew, by digests or, if `full`, entry by entry; serving goes
    /// on. Waits until it is the master's, at most so long. Returns how that went; `None`: not yet.
    pub async fn resync(
        &self,
        full: bool,
        at_most: Duration,
    ) -> Result<Option<Resynced>, Unreached> {
        let mut states = self.link.watch();
        let lives = states.borrow_and_update().lives;
        self.link.wish(if full {
            Thoroughly::Full
        } else {
            Thoroughly::Compare
        });
        // A link that was on its way when the wish came is not the one that was wished for.
        let live = states.wait_for(|state| {
            state.lives > lives && state.phase == Phase::Live && !self.link.is_wished()
        });
        match timeout(at_most, live).await {
            Ok(Ok(_)) => Ok(self.link.last()),
            Ok(Err(_)) => Err(Unreached),
            Err(_) => Ok(None),
        }
    }

    /// Ends the link, in a dump too, and the kick socket. The store stays open.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl std::fmt::Debug for Slave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slave")
            .field("upstream", &self.upstream)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
