//! A master, put together.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use exporter::import::{self, Gone};
use exporter::{Misfit, State as ExportState};
use master::{MasterRole, MasterRules, Murder, Policy, Recovery};
use proto::MailboxName;
use server::KickSocket;
use store::marker::{Keeper, Marker};
use store::{Origin, OsFileSystem, Sequence, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::export::{BeforeOk, Export};
use super::parts::{
    STORE_NAME, Sockets, exporter_config, make_data_dir, open_store, server_config,
};
use super::{Entrance, Node, Places, Serving};
use crate::config::{ExportMode, MurderKind, Settings};
use crate::failure::{Failure, Status};
use crate::operator::MasterOperator;

/// Name of the marker in `configdirectory`.
const MARKER_NAME: &str = "mupdate.state";

/// Name of the file in the data directory with all that `mailboxes.db` lacked at a start.
const MISSING_NAME: &str = "missing-from-mailboxes.db";
/// So many of these stand in the log, too.
const NAMED_MAX: usize = 1000;

pub(super) async fn start(
    settings: &Settings,
    places: &Places,
    entrance: Entrance,
) -> Result<Node, Failure> {
    let murder = murder(settings)?;
    make_data_dir(&places.data_dir)?;
    let serving = Serving::prepare(settings, places)?;
    let recovery = Arc::new(Recovery::off());
    let policy = Policy {
        murder,
        strict: settings.strict,
    };
    let (store, copied) = open_store(
        &places.data_dir,
        settings,
        MasterRules::new(policy, Arc::clone(&recovery)),
    )?;
    let keeper = keep_marker(settings, places, &store, &recovery).await?;
    if copied {
        leave_history(&store).await?;
    }
    let export = prepare_export(settings, places, &store, &recovery).await?;

    let sockets = Sockets::open(places, entrance).await?;
    let kick = places
        .kick_socket
        .as_deref()
        .map(KickSocket::bind)
        .transpose();
    let kick = kick.map_err(|cause| Failure::new(Status::System, cause))?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let before_ok = export.as_ref().map(|export| BeforeOk {
        export: export.clone(),
        at_most: settings.export.wait,
        alarmed: Arc::default(),
    });
    if let Some(kick) = kick {
        let (store, waits) = (store.clone(), before_ok.clone());
        let before_answer = move || {
            let (sequence, waits) = (store.current().sequence(), waits.clone());
            async move {
                if let Some(waits) = waits {
                    waits.wait(sequence).await;
                }
                true
            }
        };
        tasks.spawn(kick.run(before_answer, stop.clone()));
    }
    serving.keep_slaves(&tasks, &stop);
    let operator = MasterOperator {
        store: store.clone(),
        keeper: Arc::clone(&keeper),
        recovery: Arc::clone(&recovery),
        sessions: serving.sessions.clone(),
        export: export.clone(),
    };
    tasks.spawn(sockets.control.run(operator, stop.clone()));
    let waits = before_ok.filter(|_| settings.export.mode == Some(ExportMode::BeforeOk));
    let role = MasterRole::new(murder, recovery, waits.map(role_hook));
    let server = serving.server(server_config(settings), &store, Arc::new(role));
    Ok(Node {
        addresses: sockets.addresses,
        serving: tokio::spawn(server.run_with(sockets.listeners, sockets.more, stop.clone())),
        slaves: serving.slaves,
        keeper: Some(keeper),
        follower: None,
        store,
        tasks,
        stop,
        export,
    })
}

fn role_hook(waits: BeforeOk) -> master::BeforeOk {
    Box::new(move |sequence: Sequence| Box::pin(waits.clone().wait(sequence)))
}

fn murder(settings: &Settings) -> Result<Murder, Failure> {
    match settings.murder {
        MurderKind::Standard => Ok(Murder::Standard),
        MurderKind::Replicated => Ok(Murder::Replicated),
        MurderKind::Unified => {
            let cause = anyhow!("cannot run mupdate master on a unified server");
            Err(Failure::new(Status::Usage, cause))
        }
    }
}

/// Compares the store with the marker that remembers it, and keeps the marker from here on. A store
/// that was a slave's begins a history of its own, and in recovery: it may lack the latest changes.
async fn keep_marker(
    settings: &Settings,
    places: &Places,
    store: &Store,
    recovery: &Recovery,
) -> Result<Arc<Keeper>, Failure> {
    let storage = |cause: anyhow::Error| Failure::new(Status::Storage, cause);
    let path = settings.config_directory.join(MARKER_NAME);
    let before = Marker::read(&OsFileSystem, &path);
    let promoted = slave::is_slave_store(&places.data_dir);
    let reason = Marker::assess(&before, &store.current()).map(|reason| reason.to_string());
    let promotion = promoted.then(|| "the store is a slave's: this is a promotion".to_owned());
    if let Some(reason) = promotion.or(reason) {
        recovery.begin(&reason);
        warn!(
            reason,
            "master is in recovery: it takes backends' lists and streams to nobody; when they have run 'ctl_mboxlist -m', end it with 'mupdatectl recovery end'"
        );
    }
    let keeper = Keeper::start(
        OsFileSystem,
        path.clone(),
        store,
        before.ok().flatten(),
        recovery.is_on(),
    );
    let keeper = keeper
        .with_context(|| format!("state file {}", path.display()))
        .map_err(storage)?;
    if promoted {
        // Nobody corrects the list any more, so nothing of it waits to be deleted.
        let held = store.keep_held(Origin {
            identity: "promotion".into(),
            peer: "start".into(),
        });
        held.await.map_err(|cause| storage(cause.into()))?;
        let epoch = store
            .new_epoch()
            .await
            .map_err(|cause| storage(cause.into()))?;
        epoch
            .map_err(|refusal| storage(anyhow!("a new epoch for the promoted store: {refusal}")))?;
        slave::forget_slave(&places.data_dir).map_err(|cause| storage(cause.into()))?;
    }
    Ok(Arc::new(keeper))
}

/// Others may continue the history of a store that was copied or brought back, so this one goes on
/// under a new epoch.
async fn leave_history(store: &Store) -> Result<(), Failure> {
    let storage = |cause: anyhow::Error| Failure::new(Status::Storage, cause);
    let left = store.current().epoch();
    let forked = store.new_epoch().await.map_err(|c| storage(c.into()))?;
    let version = forked
        .map_err(|refusal| storage(anyhow!("a new epoch for the copied store: {refusal}")))?;
    let renewed = store.renew_token().await;
    renewed.map_err(|cause| storage(cause.into()))?;
    warn!(
        left = %left,
        epoch = %version.epoch(),
        sequence = %version.sequence(),
        "the store has been copied or brought back: it goes on in a new epoch"
    );
    Ok(())
}

/// Takes over what `mailboxes.db` knows and the store does not, and makes ready to keep the file.
async fn prepare_export(
    settings: &Settings,
    places: &Places,
    store: &Store,
    recovery: &Recovery,
) -> Result<Option<Export>, Failure> {
    let Some(path) = &places.mailboxes_db else {
        return Ok(None);
    };
    let config = exporter_config(settings, places, path, Misfit::Refuse);
    let exports = settings
        .export
        .mode
        .is_some_and(|mode| mode != ExportMode::Off);
    if recovery.is_on() {
        info!("mailboxes.db is neither read nor written in recovery");
    } else if store.current().is_empty() {
        import_whole(store, &config, path).await?;
    } else if exports {
        import_later(store, &config, places, path).await?;
    }
    if !exports {
        return Ok(None);
    }
    let export = Export::new(store.clone(), config);
    if !recovery.is_on() {
        export.begin();
    }
    Ok(Some(export))
}

fn refused(path: &Path, cause: impl Into<anyhow::Error>) -> Failure {
    let context = format!("list in {} can't be taken over", path.display());
    Failure::new(Status::Storage, cause.into().context(context))
}

async fn import_whole(
    store: &Store,
    config: &exporter::ExporterConfig,
    path: &Path,
) -> Result<(), Failure> {
    let list = import::read(config).map_err(|cause| refused(path, cause))?;
    name_unused(&list);
    if list.entries.is_empty() {
        return Ok(());
    }
    let peer = path.display().to_string();
    let imported = import::into_empty(store, &list, &peer)
        .await
        .map_err(|cause| refused(path, cause))?;
    report(path, &imported);
    Ok(())
}

/// Somebody else, Cyrus's master say, may have written the file since our last export.
async fn import_later(
    store: &Store,
    config: &exporter::ExporterConfig,
    places: &Places,
    path: &Path,
) -> Result<(), Failure> {
    let last_export = ExportState::load(&config.state_file).unwrap_or_else(|cause| {
        warn!(%cause, "last export not known");
        None
    });
    let Some(last_export) = last_export else {
        info!(path = %path.display(), "never exported before: the store stands");
        return Ok(());
    };
    let list = import::read(config).map_err(|cause| refused(path, cause))?;
    let times = import::ChangeTimes::read(
        &OsFileSystem,
        &places.data_dir.join(STORE_NAME),
        last_export.sequence,
    )
    .map_err(|cause| refused(path, cause))?;
    let peer = path.display().to_string();
    let exported = last_export.exported;
    let imported = import::later(store, &list, Some(exported), &times, &peer).await;
    report(path, &imported.map_err(|cause| refused(path, cause))?);
    match import::gone(store, &list, exported, &times, &peer).await {
        Ok(Gone::Removed(0)) => {}
        Ok(Gone::Removed(entries)) => info!(path = %path.display(), entries, "removals taken over"),
        Ok(Gone::Held(names)) => name_missing(path, &places.data_dir, &names),
        Err(cause) => return Err(refused(path, cause)),
    }
    Ok(())
}

/// Entries that stand although the file lacks them: the first in the log, all in a file.
fn name_missing(path: &Path, data_dir: &Path, names: &[MailboxName]) {
    for mailbox in names.iter().take(NAMED_MAX) {
        warn!(%mailbox, "not in mailboxes.db, but not believed to be removed: it stays, and is written there again");
    }
    let all = data_dir.join(MISSING_NAME);
    let lines: Vec<String> = names.iter().map(ToString::to_string).collect();
    let written = std::fs::write(&all, lines.join("\n") + "\n");
    warn!(
        path = %path.display(),
        entries = names.len(),
        names = %all.display(),
        named = written.is_ok(),
        "entries of the list are missing from this file; the store stands"
    );
}

fn name_unused(list: &import::FileList) {
    for unused in &list.unused {
        warn!(key = %unused.key.escape_ascii(), why = %unused.why, "record of mailboxes.db not taken over");
    }
}

fn report(path: &Path, imported: &import::Imported) {
    for (mailbox, refusal) in &imported.refused {
        warn!(%mailbox, %refusal, "record of mailboxes.db not taken over");
    }
    info!(path = %path.display(), entries = imported.entries, older = imported.older, "mailboxes.db taken over");
}
