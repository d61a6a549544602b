//! Sockets that others have opened: who comes through them, and those that other processes hand over.

use std::sync::Arc;

use server::{Door, Listener, Verdict};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info};

use super::handover::{Given, Instance};
use super::host_rules::HostRules;
use super::status::StatusPipe;
use crate::inherited_fds::Inherited;
use crate::node::Entrance;

/// Sockets that may wait to be taken over.
const GIVEN_MAX: usize = 8;

/// What stands before each connection that comes through a socket of Cyrus's master.
struct CyrusDoor {
    status: Option<StatusPipe>,
    rules: Option<HostRules>,
}

impl Door for CyrusDoor {
    fn admits(&self, _peer: std::net::SocketAddr) -> bool {
        if let Some(status) = &self.status {
            status.connection();
        }
        true
    }

    fn verdict(&self, socket: &TcpStream) -> Option<Verdict> {
        Some(self.rules.as_ref()?.verdict(socket))
    }
}

/// The sockets that the process was started with, and the way in for those of others.
pub(crate) fn entrance(
    inherited: &Inherited,
    rules: Option<HostRules>,
) -> std::io::Result<(Entrance, mpsc::Sender<Listener>)> {
    let status = inherited.status.as_ref().map(|pipe| {
        let pipe = pipe.try_clone()?;
        StatusPipe::new(pipe, std::process::id())
    });
    let door: Arc<dyn Door> = Arc::new(CyrusDoor {
        status: status.transpose()?,
        rules,
    });
    let adopt = |listener: &std::net::TcpListener| {
        Listener::adopt(
            listener.try_clone()?,
            Some(Arc::clone(&door)),
            CancellationToken::new(),
        )
    };
    let listeners = inherited.listeners.iter().map(adopt);
    let (sender, more) = mpsc::channel(GIVEN_MAX);
    let listeners = listeners.collect::<std::io::Result<_>>()?;
    Ok((Entrance { listeners, more }, sender))
}

/// Takes sockets of other processes in until `stop`.
pub(crate) async fn take_in(
    instance: Arc<Instance>,
    role: &'static str,
    rules: Option<HostRules>,
    more: mpsc::Sender<Listener>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    while let Some(given) = stop.run_until_cancelled(instance.next()).await {
        let rules = rules.clone();
        tasks.spawn(take_one(given, role, rules, more.clone(), stop.clone()));
    }
    tasks.close();
    tasks.wait().await;
}

async fn take_one(
    mut given: Given,
    role: &'static str,
    rules: Option<HostRules>,
    more: mpsc::Sender<Listener>,
    stop: CancellationToken,
) {
    let pid = given.hello.pid;
    if given.hello.role != role {
        let refusal = format!("process {} is a {role} here", std::process::id());
        error!(
            pid,
            theirs = given.hello.role,
            ours = role,
            "another process with another role uses this data directory"
        );
        answered(given.answer(Some(&refusal)).await);
        return;
    }
    let closed = CancellationToken::new();
    let listener = match given_listener(&mut given, rules, closed.clone()) {
        Ok(listener) => listener,
        Err(cause) => {
            error!(%cause, pid, "socket of another process can't be used");
            answered(given.answer(Some(&cause.to_string())).await);
            return;
        }
    };
    let address = listener.local_addr().ok();
    if more.send(listener).await.is_err() {
        return;
    }
    answered(given.answer(None).await);
    info!(pid, ?address, "serving the socket of another process too");
    if stop.run_until_cancelled(given.giver_gone()).await.is_some() {
        info!(
            pid,
            ?address,
            "the other process has ended: its socket is closed"
        );
    }
    closed.cancel();
}

fn given_listener(
    given: &mut Given,
    rules: Option<HostRules>,
    closed: CancellationToken,
) -> std::io::Result<Listener> {
    let pid = given.hello.pid;
    let status = given.status.take().map(|pipe| StatusPipe::new(pipe, pid));
    let door = CyrusDoor {
        status: status.transpose()?,
        rules,
    };
    Listener::adopt(given.listener.try_clone()?, Some(Arc::new(door)), closed)
}

fn answered(told: std::io::Result<()>) {
    if let Err(cause) = told {
        debug!(%cause, "the other process is gone already");
    }
}
