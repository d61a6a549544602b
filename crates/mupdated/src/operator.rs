//! What operators may ask of a running master.

use std::sync::Arc;

use master::Recovery;
use server::{SessionState, SessionStatus, Sessions};
use store::marker::Keeper;
use store::{Health, Origin, Sequence, Store, Version};
use tracing::{info, warn};

use crate::control::{Conflict, Operator, Reply, Request, Session, Status};

/// Answers the control socket of a master.
pub(crate) struct MasterOperator {
    pub(crate) store: Store,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) recovery: Arc<Recovery>,
    pub(crate) sessions: Sessions,
}

impl Operator for MasterOperator {
    async fn handle(&self, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(self.status()),
            Request::EndRecovery => self.end_recovery().await,
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
            role: "master".to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: version.epoch().to_string(),
            sequence: version.sequence().0,
            mailboxes: version.count(),
            root: version.root().to_string(),
            writable: self.store.health() == Health::Writable,
            recovery: self.recovery.reason(),
            conflicts: conflicts(&version),
            sessions: self
                .sessions
                .list()
                .iter()
                .map(|session| show(session, version.sequence()))
                .collect(),
        }
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

fn show(session: &SessionStatus, head: Sequence) -> Session {
    let (user, state, behind) = match &session.state {
        SessionState::Greeted => (None, "greeted", None),
        SessionState::LoggedIn { identity } => (Some(identity), "logged in", None),
        SessionState::Dumping { identity } => (Some(identity), "dump", None),
        SessionState::Streaming { identity, position } => (
            Some(identity),
            "streaming",
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
