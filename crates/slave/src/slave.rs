//! The handle of a running slave.

use std::sync::Arc;

use server::KickSocket;
use store::Store;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::files::FileError;
use crate::follower::Follower;
use crate::kick::Kicks;
use crate::link::{Link, Patience, Phase, Unreached};
use crate::replica::{ApplyError, Replica};
use crate::{Exported, SlaveConfig, SlaveRole};

/// Why a slave can't start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// One of its files can't be used.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// [`SlaveRules`](crate::SlaveRules), and nobody else may change it. Needs a runtime.
    pub async fn start(
        config: SlaveConfig,
        store: Store,
        kick: Option<KickSocket>,
    ) -> Result<Self, StartError> {
        let upstream = config.upstream.to_string();
        let delay = config.delay();
        let exported = config.exported.clone();
        let opening = {
            let (dir, store, upstream) = (config.data_dir.clone(), store.clone(), upstream.clone());
            spawn_blocking(move || Replica::open(&dir, store, &upstream))
        };
        let replica = opening.await.map_err(|_| StartError::Runtime)??;
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
        Status {
            upstream: self.upstream.clone(),
            phase: state.phase,
            trouble: self.link.trouble(),
            failures: state.failures,
            dumps: state.lives,
            complete: state.complete,
            held: state.held,
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
