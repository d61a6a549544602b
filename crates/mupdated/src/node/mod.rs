//! A running node, master or slave: its parts, put together from settings and taken apart in order.

mod export;
mod login;
mod master;
mod parts;
mod slave;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use server::{DumpPool, KnownSlaves, Listener, Role, Server, ServerConfig, Sessions};
use store::Store;
use store::marker::Keeper;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use transport::sasl::Authenticator;
use transport::tls::TlsServer;

use crate::config::Settings;
use crate::failure::{Failure, Status};

pub(crate) use self::slave::{client_login, client_tls};
pub(crate) use export::Export;
use login::authenticator;
pub(crate) use login::{Offer, offer, uses_libsasl};
pub(crate) use parts::load_tls;
pub use parts::make_data_dir;
use parts::{known_slaves, save_slaves, save_slaves_once};

/// How long sessions may take to end after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Where a node's parts live and listen.
#[derive(Debug, Clone)]
pub struct Places {
    /// Own state.
    pub data_dir: PathBuf,
    /// SCRAM verifiers.
    pub users_file: PathBuf,
    /// The host's `mailboxes.db`; `None`: there is none to keep.
    pub mailboxes_db: Option<PathBuf>,
    /// Kick socket; `None`: no kick socket.
    pub kick_socket: Option<PathBuf>,
    /// `HOST:PORT` each.
    pub listen: Vec<String>,
}

/// Sockets that were opened by somebody else.
#[derive(Debug)]
pub struct Entrance {
    /// Those there are.
    pub listeners: Vec<Listener>,
    /// Those that are handed over later.
    pub more: mpsc::Receiver<Listener>,
}

impl Default for Entrance {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            more: mpsc::channel(1).1,
        }
    }
}

/// A node that serves. Stop it with [`Node::stop`]; dropped, it leaves its threads behind.
pub struct Node {
    /// Addresses that are listened on.
    pub addresses: Vec<SocketAddr>,
    store: Store,
    slaves: KnownSlaves,
    serving: JoinHandle<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
    export: Option<Export>,
    /// A master's.
    keeper: Option<Arc<Keeper>>,
    /// A slave's link to its master.
    follower: Option<::slave::Slave>,
}

impl Node {
    /// Opens a master's store, takes the sockets and begins to serve. Needs a runtime.
    pub async fn start_master(
        settings: &Settings,
        places: &Places,
        entrance: Entrance,
    ) -> Result<Self, Failure> {
        master::start(settings, places, entrance).await
    }

    /// Opens a slave's store, takes the sockets and begins to follow. Clients are greeted from when the
    /// list is complete. Needs a runtime.
    pub async fn start_slave(
        settings: &Settings,
        places: &Places,
        entrance: Entrance,
    ) -> Result<Self, Failure> {
        slave::start(settings, places, entrance).await
    }

    /// Waits until there is a whole list, and the host's `mailboxes.db` has it.
    pub async fn ready(&self) {
        if let Some(follower) = &self.follower {
            follower.ready().await;
        }
    }

    /// Ends sessions, makes what they were promised durable, and gives everything back.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if let Some(follower) = &self.follower {
            follower.shutdown().await;
        }
        let ended = async {
            if let Err(cause) = self.serving.await {
                error!(%cause, "server ended badly");
            }
            self.tasks.wait().await;
        };
        if tokio::time::timeout(STOP_GRACE, ended).await.is_err() {
            warn!("some sessions did not end in time");
        }
        save_slaves_once(&self.slaves);
        if let Some(export) = self.export {
            export.end().await;
        }
        self.store.shutdown().await;
        match self.keeper.map(Arc::try_unwrap) {
            Some(Ok(keeper)) => keeper.stop(),
            Some(Err(_)) => {
                warn!("state file is still in use; its last figures are up to a second old");
            }
            None => {}
        }
    }
}

/// What a server needs beside its role.
struct Serving {
    authenticator: Authenticator,
    tls: Option<TlsServer>,
    dump_pool: DumpPool,
    slaves: KnownSlaves,
    sessions: Sessions,
}

impl Serving {
    /// What can go wrong here goes wrong before the store is touched.
    fn prepare(settings: &Settings, places: &Places) -> Result<Self, Failure> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            authenticator: authenticator(settings, places)?,
            tls: settings.tls.as_ref().map(load_tls).transpose()?,
            dump_pool: DumpPool::start(threads)
                .map_err(|cause| Failure::new(Status::System, cause))?,
            slaves: known_slaves(&places.data_dir),
            sessions: Sessions::default(),
        })
    }

    fn server(&self, config: ServerConfig, store: &Store, role: Arc<dyn Role>) -> Server {
        Server {
            config,
            store: store.clone(),
            role,
            authenticator: self.authenticator.clone(),
            tls: self.tls.clone(),
            dump_pool: self.dump_pool.clone(),
            slaves: self.slaves.clone(),
            sessions: self.sessions.clone(),
        }
    }

    /// Keeps the file of known slaves until `stop`.
    fn keep_slaves(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(save_slaves(self.slaves.clone(), stop.clone()));
    }
}
