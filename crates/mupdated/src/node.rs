//! A running master: its parts, put together from settings, and taken apart in order.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use master::{KickSocket, MasterRole, MasterRules, Murder, Policy, Recovery};
use server::{DumpPool, KnownSlaves, Listener, Server, ServerConfig, Sessions};
use store::marker::{Keeper, Marker};
use store::{OsFileSystem, Store, StoreConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use transport::sasl::{AuthConfig, Authenticator};
use transport::tls::{AuthorityFiles, CertificateFiles, TlsServer, TlsServerConfig};
use transport::users::UsersFile;

use crate::config::{MurderKind, Settings, TlsFiles};
use crate::control::ControlSocket;
use crate::failure::{Failure, Status};
use crate::operator::MasterOperator;

/// Name of the marker in `configdirectory`.
const MARKER_NAME: &str = "mupdate.state";
/// Name of the file of known slaves in the data directory.
const SLAVES_NAME: &str = "slaves";
/// How often known slaves are written.
const SLAVES_SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long sessions may take to end after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// `mailboxes.db` of a site without a mailbox: what Cyrus's tools leave, a twoskip file's header.
const EMPTY_MAILBOXES_DB_BYTES: u64 = 336;

/// Where a master's parts live and listen.
#[derive(Debug, Clone)]
pub struct Places {
    /// Own state.
    pub data_dir: PathBuf,
    /// SCRAM verifiers.
    pub users_file: PathBuf,
    /// Kick socket; `None`: no kick socket.
    pub kick_socket: Option<PathBuf>,
    /// `HOST:PORT` each.
    pub listen: Vec<String>,
}

/// A master that serves. Stop it with [`Master::stop`]; dropped, it leaves its threads behind.
pub struct Master {
    /// Addresses that are listened on.
    pub addresses: Vec<SocketAddr>,
    store: Store,
    keeper: Arc<Keeper>,
    slaves: KnownSlaves,
    serving: JoinHandle<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Master {
    /// Opens the store, takes the sockets and begins to serve. Needs a runtime.
    pub async fn start(settings: &Settings, places: &Places) -> Result<Self, Failure> {
        let murder = murder(settings)?;
        make_data_dir(&places.data_dir)?;
        let authenticator = authenticator(settings, &places.users_file)?;
        let tls = settings.tls.as_ref().map(load_tls).transpose()?;
        let recovery = Arc::new(Recovery::off());
        let policy = Policy {
            murder,
            strict: settings.strict,
        };
        let store = open_store(
            &places.data_dir,
            MasterRules::new(policy, Arc::clone(&recovery)),
        )?;
        let keeper = keep_marker(settings, &store, &recovery)?;
        name_unread_mailboxes_db(&settings.mailboxes_db, &store);

        let sockets = Sockets::open(places).await?;
        let slaves = known_slaves(&places.data_dir.join(SLAVES_NAME));
        let sessions = Sessions::default();
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let server = Server {
            config: server_config(settings),
            store: store.clone(),
            role: Arc::new(MasterRole::new(murder, Arc::clone(&recovery))),
            authenticator,
            tls,
            dump_pool: DumpPool::start(threads)
                .map_err(|cause| Failure::new(Status::System, cause))?,
            slaves: slaves.clone(),
            sessions: sessions.clone(),
        };
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        if let Some(kick) = sockets.kick {
            tasks.spawn(kick.run(stop.clone()));
        }
        tasks.spawn(save_slaves(slaves.clone(), stop.clone()));
        let operator = MasterOperator {
            store: store.clone(),
            keeper: Arc::clone(&keeper),
            recovery,
            sessions,
        };
        tasks.spawn(sockets.control.run(operator, stop.clone()));
        let serving = tokio::spawn(server.run(sockets.listeners, stop.clone()));
        Ok(Self {
            addresses: sockets.addresses,
            store,
            keeper,
            slaves,
            serving,
            tasks,
            stop,
        })
    }

    /// Ends sessions, makes what they were promised durable, and gives everything back.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
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
        self.store.shutdown().await;
        if let Ok(keeper) = Arc::try_unwrap(self.keeper) {
            keeper.stop()
        } else {
            warn!("state file is still in use; its last figures are up to a second old")
        }
    }
}

/// Everything that is bound before anything is served.
struct Sockets {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    kick: Option<KickSocket>,
    control: ControlSocket,
}

impl Sockets {
    async fn open(places: &Places) -> Result<Self, Failure> {
        let system = |cause: anyhow::Error| Failure::new(Status::System, cause);
        let mut listeners = Vec::new();
        for address in &places.listen {
            let bound = Listener::bind(address).await;
            listeners.extend(bound.map_err(|cause| system(cause.into()))?);
        }
        let addresses = listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok());
        let kick = places
            .kick_socket
            .as_deref()
            .map(KickSocket::bind)
            .transpose();
        Ok(Self {
            addresses: addresses.collect(),
            kick: kick.map_err(|cause| system(cause.into()))?,
            control: ControlSocket::bind(&places.data_dir).map_err(system)?,
            listeners,
        })
    }
}

fn murder(settings: &Settings) -> Result<Murder, Failure> {
    match settings.murder {
        MurderKind::Standard => Ok(Murder::Standard),
        MurderKind::Replicated => Ok(Murder::Replicated),
        MurderKind::Unified => {
            let cause = anyhow::anyhow!("cannot run mupdate master on a unified server");
            Err(Failure::new(Status::Usage, cause))
        }
    }
}

fn make_data_dir(data_dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.with_context(|| format!("data directory {}", data_dir.display()))
        .map_err(|cause| Failure::new(Status::Storage, cause))
}

fn authenticator(settings: &Settings, users_file: &Path) -> Result<Authenticator, Failure> {
    let config_error = |cause: anyhow::Error| Failure::new(Status::Config, cause);
    if settings.admins.is_empty() {
        warn!("imapd.conf names no admins, so nobody can log in");
    }
    if !users_file.exists() {
        warn!(path = %users_file.display(), "no users file yet: make one with 'mupdatectl passwd'");
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(users_file);
        made.with_context(|| format!("users file {}", users_file.display()))
            .map_err(config_error)?;
    }
    let users = UsersFile::load(users_file).map_err(|cause| config_error(cause.into()))?;
    let config = AuthConfig {
        users: Arc::new(users),
        mechanisms: settings.mechanisms.clone(),
        allow_plaintext: settings.allow_plaintext,
        admins: settings.admins.clone(),
    };
    Authenticator::new(config).map_err(|cause| Failure::new(Status::System, cause))
}

fn load_tls(files: &TlsFiles) -> Result<TlsServer, Failure> {
    let certificate = CertificateFiles::new(&files.certificate, &files.key);
    let client_authorities = AuthorityFiles {
        file: files.client_ca_file.clone(),
        directory: files.client_ca_dir.clone(),
    };
    let config = TlsServerConfig {
        client_authorities,
        ..TlsServerConfig::new(certificate)
    };
    TlsServer::load(&config).map_err(|cause| Failure::new(Status::Config, cause))
}

fn open_store(data_dir: &Path, rules: MasterRules) -> Result<Store, Failure> {
    let opened = Store::open(
        OsFileSystem,
        &data_dir.join("store"),
        StoreConfig::default(),
        Box::new(rules),
    );
    let (store, report) = opened.map_err(|cause| Failure::new(Status::Storage, cause))?;
    for finding in &report.findings {
        warn!(%finding, "store was not as it should be");
    }
    let version = store.current();
    info!(
        mailboxes = version.len(),
        sequence = %version.sequence(),
        epoch = %version.epoch(),
        replayed_groups = report.replayed_groups,
        created = report.created,
        "store opened"
    );
    Ok(store)
}

/// Compares the store with the marker that remembers it, and keeps the marker from here on.
fn keep_marker(
    settings: &Settings,
    store: &Store,
    recovery: &Recovery,
) -> Result<Arc<Keeper>, Failure> {
    let path = settings.config_directory.join(MARKER_NAME);
    let before = Marker::read(&OsFileSystem, &path);
    if let Some(reason) = Marker::assess(&before, &store.current()) {
        recovery.begin(&reason.to_string());
        warn!(%reason, "master is in recovery: it takes backends' lists and streams to nobody; when they have run 'ctl_mboxlist -m', end it with 'mupdatectl recovery end'");
    }
    let keeper = Keeper::start(
        OsFileSystem,
        path.clone(),
        store,
        before.ok().flatten(),
        recovery.is_on(),
    );
    let keeper = keeper.with_context(|| format!("state file {}", path.display()));
    keeper
        .map(Arc::new)
        .map_err(|cause| Failure::new(Status::Storage, cause))
}

/// A list in `mailboxes.db` is not taken over yet, which an operator must know.
fn name_unread_mailboxes_db(path: &Path, store: &Store) {
    let holds_a_list = fs::metadata(path).is_ok_and(|found| found.len() > EMPTY_MAILBOXES_DB_BYTES);
    if holds_a_list && store.current().is_empty() {
        warn!(path = %path.display(), "the list in this file is not read; backends must push theirs with 'ctl_mboxlist -m'");
    }
}

fn known_slaves(path: &Path) -> KnownSlaves {
    KnownSlaves::load(path).unwrap_or_else(|cause| {
        warn!(%cause, "starting without; slaves get a full repair pass");
        KnownSlaves::empty(path)
    })
}

async fn save_slaves(slaves: KnownSlaves, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let again = slaves.clone();
        let saved = tokio::task::spawn_blocking(move || save_slaves_once(&again)).await;
        if saved.is_err() {
            error!("saving the known slaves panicked");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SLAVES_SAVE_INTERVAL) => {}
        }
    }
}

fn save_slaves_once(slaves: &KnownSlaves) {
    if let Err(cause) = slaves.save() {
        warn!(%cause, "known slaves not saved; their next repair pass will be longer");
    }
}

fn server_config(settings: &Settings) -> ServerConfig {
    let defaults = ServerConfig::default();
    ServerConfig {
        servername: settings.servername.clone(),
        connections_max: settings.connections_max.unwrap_or(defaults.connections_max),
        failed_login_pause: settings.failed_login_pause,
        strict: settings.strict,
        name_bytes_max: settings.name_bytes_max,
        list_orders: settings.list_orders.clone(),
        ..defaults
    }
}
