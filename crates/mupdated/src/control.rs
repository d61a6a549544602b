//! The control socket: how `mupdatectl` talks to the server on its own host.
//!
//! `<data>/control`, a stream socket of mode 0600; one JSON request and one JSON reply a connection.
//! Whoever may write into the data directory may use it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Longest request, in octets.
const REQUEST_BYTES_MAX: u64 = 4096;
/// How long one exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What an operator asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How the server is.
    Status,
    /// The list is complete: end recovery.
    EndRecovery,
    /// A slave: what is held may be deleted.
    ConfirmDeletes,
    /// A slave: compare the list with the master's anew.
    Resync {
        /// Take the whole list instead of comparing digests.
        full: bool,
    },
}

/// What the server says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Answer to [`Request::Status`].
    Status(Box<Status>),
    /// Answer to [`Request::EndRecovery`]: whether there was one to end.
    RecoveryEnded(bool),
    /// Answer to [`Request::ConfirmDeletes`]: how many entries were deleted.
    DeletesConfirmed(usize),
    /// Answer to [`Request::Resync`]: how it went; `None`: it is still under way.
    Resynced(Option<Resync>),
    /// The request failed.
    Failed(String),
}

/// The state of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// `master` or `slave`.
    pub role: String,
    /// Process id.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// The history that `sequence` counts in.
    pub epoch: String,
    /// The last change.
    pub sequence: u64,
    /// Number of mailboxes.
    pub mailboxes: u64,
    /// Digest of the list.
    pub root: String,
    /// Whether the log can be written.
    pub writable: bool,
    /// What looking through everything that is stored has come to.
    #[serde(default)]
    pub scrub: Scrub,
    /// Why the master is in recovery, if it is.
    pub recovery: Option<String>,
    /// Locations that an ACTIVATE in recovery has contradicted.
    pub conflicts: Vec<Conflict>,
    /// A slave's link to its master.
    pub upstream: Option<Upstream>,
    /// RESYNCs answered by the changes since the slave's place, since the start.
    pub resyncs_log: u64,
    /// RESYNCs answered by a compare.
    pub resyncs_digest: u64,
    /// RESYNCs answered by the whole list.
    pub resyncs_full: u64,
    /// RESYNCs of slaves that were ahead of us.
    pub resyncs_behind: u64,
    /// How exporting to `mailboxes.db` goes, where there is one.
    pub export: Option<String>,
    /// Open sessions.
    pub sessions: Vec<Session>,
}

/// What looking through snapshots, log and list for damage has come to, since the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scrub {
    /// Passes that were finished.
    pub passes: u64,
    /// When the last one was finished, in Unix seconds.
    pub last: Option<u64>,
    /// What is damaged, the first hundred.
    pub findings: Vec<String>,
}

/// A slave's link to its master.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upstream {
    /// The master, as `host:port`.
    pub master: String,
    /// `down`, `connecting`, `dumping` or `live`.
    pub phase: String,
    /// Why there is no live link.
    pub trouble: Option<String>,
    /// Whether the list is complete and served.
    pub complete: bool,
    /// Entries that wait for an operator to be deleted.
    pub held: usize,
    /// The place in the master's history that the list has come to; `None`: the master tells none.
    pub place: Option<Place>,
    /// How the last link became live.
    pub resync: Option<Resync>,
    /// Points of the master's history at which the list was verified.
    pub points: u64,
    /// Points at which the list was not what it should have been.
    pub mismatches: u64,
}

/// A place in a history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// The history.
    pub epoch: String,
    /// Number of a change in it.
    pub sequence: u64,
}

/// How a link became live.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resync {
    /// `log`: the changes since; `digest`: what differed; `full`: everything; `dump`: everything, from a
    /// master that does not know RESYNC.
    pub way: String,
    /// Octets read and written for it.
    pub octets: u64,
    /// Changes of the list.
    pub changes: usize,
    /// From the request until the list was the master's, in milliseconds.
    pub elapsed_ms: u64,
}

/// A mailbox that two servers have claimed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conflict {
    /// The mailbox.
    pub mailbox: String,
    /// Where the list has it now.
    pub now: Option<String>,
    /// Where else it was said to be.
    pub older: Vec<String>,
}

/// One connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Address and port.
    pub peer: String,
    /// Seconds since it connected.
    pub age_s: u64,
    /// Who has logged in.
    pub user: Option<String>,
    /// `greeted`, `logged in`, `dump`, `streaming`; of RESYNC `compare`, `resync dump`, `resync`.
    pub state: String,
    /// A streaming session: how many changes are still to be sent to it.
    pub behind: Option<u64>,
}

/// Where the control socket of a data directory is.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control")
}

/// Whoever answers requests.
pub trait Operator: Send + Sync + 'static {
    /// Carries one request out.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;
}

/// A bound control socket.
pub struct ControlSocket(UnixListener);

impl ControlSocket {
    /// Binds it. The data directory's lock is ours, so a socket that is there is a leftover.
    pub fn bind(data_dir: &Path) -> anyhow::Result<Self> {
        let path = socket_path(data_dir);
        let context = || format!("control socket {}", path.display());
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(cause).with_context(context);
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(context)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(context)?;
        Ok(Self(listener))
    }

    /// Answers operators, one after the other, until `stop`.
    pub async fn run(self, operator: impl Operator, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.0.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    match timeout(EXCHANGE_TIMEOUT, exchange(stream, &operator)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(cause)) => debug!(%cause, "control connection failed"),
                        Err(_) => debug!("control connection was too slow"),
                    }
                }
                Err(cause) => {
                    warn!(%cause, "accept on the control socket failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

async fn exchange(stream: UnixStream, operator: &impl Operator) -> anyhow::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    AsyncBufReader::new(reading.take(REQUEST_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => operator.handle(request).await,
        Err(cause) => Reply::Failed(format!("request not understood: {cause}")),
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    writing.write_all(&answer).await?;
    Ok(())
}

/// Asks the server that uses this data directory.
pub fn ask(data_dir: &Path, request: Request) -> anyhow::Result<Reply> {
    let path = socket_path(data_dir);
    let mut stream = BlockingStream::connect(&path).with_context(|| {
        format!(
            "connect to {} (is the server running on this host?)",
            path.display()
        )
    })?;
    stream.set_read_timeout(Some(EXCHANGE_TIMEOUT))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .context("read the server's reply")?;
    match serde_json::from_str(&answer).context("reply not understood")? {
        Reply::Failed(reason) => bail!(reason),
        reply => Ok(reply),
    }
}
