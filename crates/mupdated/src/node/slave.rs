//! A slave, put together.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use client::Login;
use exporter::{Misfit, import};
use server::KickSocket;
use slave::{Slave, SlaveConfig, Upstream};
use store::{AsTold, Sequence, Store};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use transport::Secret;
use transport::sasl::{ClientPolicy, Credentials};
use transport::tls::{
    AuthorityFiles, CertificateFiles, ServerVerification, TlsClient, TlsClientConfig,
};

use super::export::Export;
use super::login::client_backend;
use super::parts::{Sockets, exporter_config, make_data_dir, open_store, server_config};
use super::{Entrance, Node, Places, Serving};
use crate::config::Settings;
use crate::failure::{Failure, Status};
use crate::operator::SlaveOperator;

pub(super) async fn start(
    settings: &Settings,
    places: &Places,
    entrance: Entrance,
) -> Result<Node, Failure> {
    let config_error = |cause: anyhow::Error| Failure::new(Status::Config, cause);
    let address = settings.upstream.as_deref().ok_or_else(|| {
        config_error(anyhow!(
            "imapd.conf does not say whom to follow: set 'mupdate_server', or be the master with -m"
        ))
    })?;
    let upstream = read_upstream(address).map_err(config_error)?;
    make_data_dir(&places.data_dir)?;
    let serving = Serving::prepare(settings, places)?;
    let login = client_login(settings, places).map_err(config_error)?;
    let tls = client_tls(settings).map_err(config_error)?;
    let store = open_list(settings, places).await?;
    let export = places.mailboxes_db.as_deref().map(|path| {
        Export::new(
            store.clone(),
            exporter_config(settings, places, path, Misfit::MoveAside),
        )
    });

    let sockets = Sockets::open(places, entrance).await?;
    let kick = places
        .kick_socket
        .as_deref()
        .map(KickSocket::bind)
        .transpose();
    let kick = kick.map_err(|cause| Failure::new(Status::System, cause))?;
    let config = SlaveConfig {
        tls: Some(tls),
        exported: export.clone().map(exported),
        ..slave_config(settings, places, upstream, login)
    };
    let follower = Slave::start(config, store.clone(), kick).await;
    let follower = follower.map_err(|cause| Failure::new(Status::Storage, cause))?;

    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    serving.keep_slaves(&tasks, &stop);
    let operator = SlaveOperator {
        store: store.clone(),
        follower: follower.clone(),
        sessions: serving.sessions.clone(),
        export: export.clone(),
    };
    tasks.spawn(sockets.control.run(operator, stop.clone()));
    let mut config = server_config(settings);
    config.upstream = Some(format!("mupdate://{address}"));
    let server = serving.server(config, &store, Arc::new(follower.role()));
    let (ready, ending) = (follower.clone(), stop.clone());
    // Clients connect meanwhile and see no greeting, as with Cyrus, until there is a whole list.
    let serve = async move {
        tokio::select! {
            () = ready.ready() => info!("list is complete, clients are greeted"),
            () = ending.cancelled() => return,
        }
        server
            .run_with(sockets.listeners, sockets.more, ending)
            .await;
    };
    Ok(Node {
        addresses: sockets.addresses,
        serving: tokio::spawn(serve),
        slaves: serving.slaves,
        keeper: None,
        follower: Some(follower),
        store,
        tasks,
        stop,
        export,
    })
}

fn read_upstream(address: &str) -> anyhow::Result<Upstream> {
    Upstream::from_str(address).with_context(|| format!("'mupdate_server: {address}'"))
}

fn slave_config(
    settings: &Settings,
    places: &Places,
    upstream: Upstream,
    login: Login,
) -> SlaveConfig {
    SlaveConfig {
        retry_delay: settings.client.retry_delay,
        resync: settings.client.resync,
        connect_timeout: settings.client.timeout,
        ..SlaveConfig::new(upstream, login, places.data_dir.clone())
    }
}

async fn open_list(settings: &Settings, places: &Places) -> Result<Store, Failure> {
    let (store, copied) = open_store(&places.data_dir, settings, AsTold)?;
    if copied {
        settle_down(&store).await?;
    }
    if store.current().is_empty() && !slave::is_slave_store(&places.data_dir) {
        begin_with_file(settings, places, &store).await?;
    }
    Ok(store)
}

/// A slave's store that was copied goes on where it is.
async fn settle_down(store: &Store) -> Result<(), Failure> {
    let cause = "the store came from elsewhere; what it lacks comes from the master";
    info!(cause, "store is at home here now");
    let renewed = store.renew_token().await;
    renewed.map_err(|cause| Failure::new(Status::Storage, cause))
}

/// A slave that has nothing yet begins with what the host's `mailboxes.db` says, so that its master has to
/// tell only what differs. The list counts as complete only when the master has said that it is right; a
/// file that can't be read is of no use here, and the exporter's business.
async fn begin_with_file(
    settings: &Settings,
    places: &Places,
    store: &Store,
) -> Result<(), Failure> {
    let Some(path) = &places.mailboxes_db else {
        return Ok(());
    };
    let config = exporter_config(settings, places, path, Misfit::MoveAside);
    let list = match spawn_blocking(move || import::read(&config)).await {
        Ok(Ok(list)) => list,
        Ok(Err(cause)) => {
            info!(%cause, "mailboxes.db is not begun with");
            return Ok(());
        }
        Err(cause) => return Err(Failure::new(Status::System, anyhow!(cause))),
    };
    if list.entries.is_empty() {
        return Ok(());
    }
    let imported = import::into_empty(store, &list, &path.display().to_string()).await;
    let imported = imported.map_err(|cause| Failure::new(Status::Storage, anyhow!(cause)))?;
    info!(
        path = %path.display(),
        entries = imported.entries,
        passed_over = list.unused.len(),
        "the list begins with mailboxes.db; what differs comes from the master"
    );
    Ok(())
}

/// Whoever waits for the file knows that the list is complete, so exporting may begin.
fn exported(export: Export) -> slave::Exported {
    Arc::new(move |sequence: Sequence| {
        let export = export.clone();
        Box::pin(async move {
            export.begin();
            export.wait(sequence).await;
        })
    })
}

pub(crate) fn client_login(settings: &Settings, places: &Places) -> anyhow::Result<Login> {
    let client = &settings.client;
    let backend = client_backend(settings, places)?;
    let authentication_id = client.authname.clone().or_else(|| client.username.clone());
    // With libsasl2 a Kerberos ticket says who we are.
    if authentication_id.is_none() && client.certificate.is_none() && backend.is_none() {
        anyhow::bail!("nobody to log in as: set 'mupdate_authname' and 'mupdate_password'");
    }
    let credentials = Credentials {
        authentication_id: authentication_id.unwrap_or_default(),
        authorization_id: client
            .username
            .clone()
            .filter(|_| client.authname.is_some()),
        password: client
            .password
            .clone()
            .map(|password| Secret::new(password.into_bytes())),
    };
    let policy = ClientPolicy {
        external: client.certificate.is_some(),
        only: settings.client.mechanisms.clone(),
        ..ClientPolicy::password()
    };
    Ok(Login {
        credentials,
        policy,
        backend,
    })
}

pub(crate) fn client_tls(settings: &Settings) -> anyhow::Result<TlsClient> {
    let client = &settings.client;
    if client.verification == ServerVerification::No {
        warn!(
            "the master's certificate is not verified, as with Cyrus's slaves; see 'mupdate_tls_verify'"
        );
    }
    let files = client
        .certificate
        .as_ref()
        .map(|(certificate, key)| CertificateFiles::new(certificate, key));
    let authorities = AuthorityFiles {
        file: client.ca_file.clone(),
        directory: client.ca_dir.clone(),
    };
    let config = TlsClientConfig {
        verification: client.verification,
        authorities,
        files,
        ..TlsClientConfig::default()
    };
    Ok(TlsClient::load(&config)?)
}
