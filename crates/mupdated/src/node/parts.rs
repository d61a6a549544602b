//! Parts that masters and slaves are made of.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use exporter::{ExporterConfig, Misfit};
use server::{KnownSlaves, Listener, ServerConfig, Transcripts};
use store::{Finding, OsFileSystem, Rules, Store, StoreConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use transport::tls::{AuthorityFiles, CertificateFiles, TlsServer, TlsServerConfig};

use super::{Entrance, Places};
use crate::config::{ExportMode, MurderKind, Settings, TlsFiles};
use crate::control::ControlSocket;
use crate::failure::{Failure, Status};

/// Name of the exporter's state file in the data directory.
const EXPORT_STATE_NAME: &str = "export.state";
/// Name of the file of known slaves in the data directory.
const SLAVES_NAME: &str = "slaves";
/// Name of the store's directory in the data directory.
pub(super) const STORE_NAME: &str = "store";
/// How often known slaves are written.
const SLAVES_SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that is bound before anything is served.
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listener>,
    pub(super) more: mpsc::Receiver<Listener>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) control: ControlSocket,
}

impl Sockets {
    pub(super) async fn open(places: &Places, entrance: Entrance) -> Result<Self, Failure> {
        let system = |cause: anyhow::Error| Failure::new(Status::System, cause);
        let mut listeners = entrance.listeners;
        for address in &places.listen {
            let bound = Listener::bind(address).await;
            listeners.extend(bound.map_err(|cause| system(cause.into()))?);
        }
        let addresses = listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok());
        Ok(Self {
            addresses: addresses.collect(),
            control: ControlSocket::bind(&places.data_dir).map_err(system)?,
            listeners,
            more: entrance.more,
        })
    }
}

/// Makes the data directory where it is missing, for its owner only.
pub fn make_data_dir(data_dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.with_context(|| format!("data directory {}", data_dir.display()))
        .map_err(|cause| Failure::new(Status::Storage, cause))
}

pub(crate) fn load_tls(files: &TlsFiles) -> Result<TlsServer, Failure> {
    let certificate = CertificateFiles::new(&files.certificate, &files.key);
    let client_authorities = AuthorityFiles {
        file: files.client_ca_file.clone(),
        directory: files.client_ca_dir.clone(),
    };
    let config = TlsServerConfig {
        client_authorities,
        client_certificates: files.client_certificates,
        minimum_version: files.minimum_version,
        ..TlsServerConfig::new(certificate)
    };
    TlsServer::load(&config).map_err(|cause| Failure::new(Status::Config, cause))
}

/// Opens the store; tells also whether it has been copied or brought back
/// ([`store::Finding::Copied`]).
pub(super) fn open_store(
    data_dir: &Path,
    settings: &Settings,
    rules: impl Rules + 'static,
) -> Result<(Store, bool), Failure> {
    let mut config = StoreConfig::default();
    if let Some(changes) = settings.store.history_changes_max {
        config.history_changes_max = changes;
    }
    if let Some(interval) = settings.store.scrub_interval {
        config.scrub_interval = interval;
    }
    if let Some(rate) = settings.store.scrub_bytes_per_second {
        config.scrub_bytes_per_second = rate;
    }
    let opened = Store::open(
        OsFileSystem,
        &data_dir.join(STORE_NAME),
        config,
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
    let copied = |finding: &Finding| matches!(finding, Finding::Copied { .. });
    Ok((store, report.findings.iter().any(copied)))
}

/// How the host's `mailboxes.db` is written.
pub(super) fn exporter_config(
    settings: &Settings,
    places: &Places,
    path: &Path,
    misfit: Misfit,
) -> ExporterConfig {
    let octets = |text: &String| text.clone().into_bytes();
    let unified = settings.murder == MurderKind::Unified;
    let mut config = ExporterConfig::new(path, places.data_dir.join(EXPORT_STATE_NAME));
    config.style = settings.export.style;
    config.order = settings.export.order;
    config.own_server = unified.then(|| octets(&settings.servername));
    config.default_domain = settings.default_domain.as_ref().map(octets);
    config.admins = settings.admins.iter().map(octets).collect();
    config.misfit = if unified { Misfit::Refuse } else { misfit };
    config.awaited = settings.export.mode == Some(ExportMode::BeforeOk);
    config.checkpoint.window = settings.export.checkpoint_window;
    config
}

pub(super) fn known_slaves(data_dir: &Path) -> KnownSlaves {
    let path = data_dir.join(SLAVES_NAME);
    KnownSlaves::load(&path).unwrap_or_else(|cause| {
        warn!(%cause, "starting without; slaves get a full repair pass");
        KnownSlaves::empty(&path)
    })
}

pub(super) async fn save_slaves(slaves: KnownSlaves, stop: CancellationToken) {
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

pub(super) fn save_slaves_once(slaves: &KnownSlaves) {
    if let Err(cause) = slaves.save() {
        warn!(%cause, "known slaves not saved; their next repair pass will be longer");
    }
}

pub(super) fn server_config(settings: &Settings) -> ServerConfig {
    let defaults = ServerConfig::default();
    let logs = settings.config_directory.join("log");
    let transcripts = Transcripts::start(logs, &settings.service);
    ServerConfig {
        transcripts: transcripts
            .inspect_err(|cause| warn!(%cause, "no transcripts of sessions"))
            .ok(),
        servername: settings.servername.clone(),
        connections_max: settings.connections_max.unwrap_or(defaults.connections_max),
        failed_login_pause: settings.failed_login_pause,
        strict: settings.strict,
        name_bytes_max: settings.name_bytes_max,
        list_orders: settings.list_orders.clone(),
        audits: settings.audits,
        ..defaults
    }
}
