//! What operators may ask of a running node.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use master::Recovery;
use server::{SessionState, SessionStatus, Sessions, StreamMode};
use slave::{Phase, Resynced, Slave, Way};
use store::marker::Keeper;
use store::{Health, Origin, ScrubReport, Sequence, Store, Version};
use tracing::{info, warn};

use crate::control::{
    Conflict, Operator, Place, Reply, Request, Resync, Scrub, Session, Status, Upstream,
};
use crate::node::Export;

/// How long a resync is waited for; the control socket waits a little longer.
const RESYNC_WAIT: Duration = Duration::from_secs(20);

/// Answers the control socket of a master.
pub(crate) struct MasterOperator {
    pub(crate) store: Store,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) recovery: Arc<Recovery>,
    pub(crate) sessions: Sessions,
    pub(crate) export: Option<Export>,
}

impl Operator for MasterOperator {
    async fn handle(&self, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::EndRecovery => self.end_recovery().await,
            Request::ConfirmDeletes => Reply::Failed("a master holds nothing back".to_owned()),
            Request::Resync { .. } => Reply::Failed("a master follows nobody".to_owned()),
        }
    }
}

impl MasterOperator {
    /// The list counts as complete: a new epoch begins, since slaves may remember the one that was
    /// lost, conflicts are settled, and slaves may come.
    async fn end_recovery(&self) -> Reply {
        if !self.recovery.is_on() {
            return Reply::RecoveryEnded(false);
        }
        let origin = Origin {
            identity: "operator".into(),
            peer: "control socket".into(),
        };
        let settled = async {
            self.store
                .forget_conflicts(origin)
                .await
                .map_err(|cause| cause.to_string())?
                .map_err(|no| no.to_string())?;
            self.store
                .new_epoch()
                .await
                .map_err(|cause| cause.to_string())?
                .map_err(|no| no.to_string())
        };
        match settled.await {
            Ok(version) => {
                self.recovery.end();
                self.keeper.set_recovery(false);
                if let Some(export) = &self.export {
                    export.begin();
                }
                info!(mailboxes = version.len(), epoch = %version.epoch(), "recovery ended by an operator");
                Reply::RecoveryEnded(true)
            }
            Err(cause) => {
                warn!(cause, "recovery could not be ended");
                Reply::Failed(format!("recovery could not be ended: {cause}"))
            }
        }
    }

    fn status(&self) -> Status {
        let version = self.store.current();
        Status {
            recovery: self.recovery.reason(),
            conflicts: conflicts(&version),
            ..common_status("master", &self.store, &self.sessions, self.export.as_ref())
        }
    }
}

/// Answers the control socket of a slave.
pub(crate) struct SlaveOperator {
    pub(crate) store: Store,
    pub(crate) follower: Slave,
    pub(crate) sessions: Sessions,
    pub(crate) export: Option<Export>,
}

impl Operator for SlaveOperator {
    async fn handle(&self, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::EndRecovery => Reply::Failed("a slave is never in recovery".to_owned()),
            Request::ConfirmDeletes => match self.follower.confirm_deletes().await {
                Ok(count) => Reply::DeletesConfirmed(count),
                Err(cause) => Reply::Failed(cause.to_string()),
            },
            Request::Resync { full } => match self.follower.resync(full, RESYNC_WAIT).await {
                Ok(resynced) => Reply::Resynced(resynced.map(resync)),
                Err(cause) => Reply::Failed(cause.to_string()),
            },
        }
    }
}

impl SlaveOperator {
    fn status(&self) -> Status {
        let link = self.follower.status();
        let phase = match link.phase {
            Phase::Down => "down",
            Phase::Connecting => "connecting",
            Phase::Dumping => "dumping",
            Phase::Live => "live",
        };
        let upstream = Upstream {
            master: link.upstream,
            phase: phase.to_owned(),
            trouble: link.trouble,
            complete: link.complete,
            held: link.held,
            place: link.place.map(place),
            resync: link.resync.map(resync),
            points: link.points,
            mismatches: link.mismatches,
        };
        Status {
            upstream: Some(upstream),
            ..common_status("slave", &self.store, &self.sessions, self.export.as_ref())
        }
    }
}

fn place(place: store::Place) -> Place {
    Place {
        epoch: place.epoch.to_string(),
        sequence: place.sequence.0,
    }
}

fn resync(resynced: Resynced) -> Resync {
    let way = match resynced.way {
        Way::Log => "log",
        Way::Digest => "digest",
        Way::Full => "full",
        Way::Dump => "dump",
    };
    Resync {
        way: way.to_owned(),
        octets: resynced.octets,
        changes: resynced.changes,
        elapsed_ms: resynced.elapsed_ms,
    }
}

fn common_status(
    role: &str,
    store: &Store,
    sessions: &Sessions,
    export: Option<&Export>,
) -> Status {
    let version = store.current();
    let head = version.sequence();
    Status {
        role: role.to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: version.epoch().to_string(),
        sequence: head.0,
        mailboxes: u64::try_from(version.len()).unwrap_or(u64::MAX),
        root: version.root().to_string(),
        writable: store.health() == Health::Writable,
        scrub: scrub(&store.scrub_report()),
        recovery: None,
        conflicts: Vec::new(),
        upstream: None,
        resyncs_log: sessions.resyncs().log,
        resyncs_digest: sessions.resyncs().digest,
        resyncs_full: sessions.resyncs().full,
        resyncs_behind: sessions.resyncs().behind,
        export: export.map(show_export),
        sessions: sessions
            .list()
            .iter()
            .map(|session| show(session, head))
            .collect(),
    }
}

fn scrub(report: &ScrubReport) -> Scrub {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
    Scrub {
        passes: report.passes,
        last: report.last.and_then(seconds).map(|since| since.as_secs()),
        findings: report.findings.iter().map(ToString::to_string).collect(),
    }
}

fn show_export(export: &Export) -> String {
    match export.health() {
        None => "not yet: the list is not complete".to_owned(),
        Some(exporter::Health::Good) => "good".to_owned(),
        Some(exporter::Health::LockHeld { pid, stopped }) => {
            let pid = pid.map_or_else(
                || "another process".to_owned(),
                |pid| format!("process {pid}"),
            );
            let stopped = if stopped { ", which is stopped" } else { "" };
            format!("WAITS for the lock of mailboxes.db held by {pid}{stopped}")
        }
        Some(exporter::Health::Failing { why }) => format!("FAILS: {why}"),
    }
}

fn conflicts(version: &Version) -> Vec<Conflict> {
    let conflict = |(mailbox, older): (&proto::MailboxName, &[store::Stored])| Conflict {
        mailbox: mailbox.to_string(),
        now: version
            .get(mailbox)
            .map(|stored| stored.entry.location().to_string()),
        older: older
            .iter()
            .map(|stored| stored.entry.location().to_string())
            .collect(),
    };
    version.conflicts().map(conflict).collect()
}

fn dump_word(mode: StreamMode) -> &'static str {
    match mode {
        StreamMode::Update => "dump",
        StreamMode::Resync => "resync dump",
    }
}

fn stream_word(mode: StreamMode) -> &'static str {
    match mode {
        StreamMode::Update => "streaming",
        StreamMode::Resync => "resync",
    }
}

fn show(session: &SessionStatus, head: Sequence) -> Session {
    let (user, state, behind) = match &session.state {
        SessionState::Greeted => (None, "greeted", None),
        SessionState::LoggedIn { identity } => (Some(identity), "logged in", None),
        SessionState::Dumping { identity, mode } => (Some(identity), dump_word(*mode), None),
        SessionState::Comparing { identity } => (Some(identity), "compare", None),
        SessionState::Streaming {
            identity,
            mode,
            position,
        } => (
            Some(identity),
            stream_word(*mode),
            Some(head.0.saturating_sub(position.0)),
        ),
        _ => (None, "unknown", None),
    };
    Session {
        peer: session.peer.to_string(),
        age_s: session.age_s,
        user: user.map(ToString::to_string),
        state: state.to_owned(),
        behind,
    }
}
