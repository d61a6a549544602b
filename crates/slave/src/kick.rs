//! The kick socket of a slave: how imapd and lmtpd on the same host ask that `mailboxes.db` be current.
//!
//! `<configdirectory>/socket/mupdate.target`, a stream socket of mode 0777. A proxy connects, sends nothing
//! and waits until it reads `ok` or the end (Cyrus: `kick_mupdate`). Each lookup of a mailbox that is
//! not there kicks, so there may be any number; they share one NOOP.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::Exported;
use crate::link::{Link, Patience};

/// What a kicker reads.
const ANSWER: &[u8] = b"ok";
/// Anybody on the host may kick, as with Cyrus.
const MODE: u32 = 0o777;
/// Kickers that wait at once; a further one is closed without an answer.
const KICKERS_MAX: usize = 4096;
/// How long a kicker may take to read two octets.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Wait after an accept that failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A bound kick socket; its file is removed when it is dropped.
#[derive(Debug)]
pub struct KickSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why the kick socket can't be bound.
#[derive(Debug, Error)]
#[error("kick socket {}: {cause}", path.display())]
pub struct KickError {
    /// Where it was to be.
    pub path: PathBuf,
    /// What the system said.
    pub cause: io::Error,
}

impl KickSocket {
    /// Binds the socket, in place of one that an earlier process left there. Its directory is made
    /// when it is missing. Needs a runtime.
    pub fn bind(path: &Path) -> Result<Self, KickError> {
        let failed = |cause| KickError {
            path: path.to_owned(),
            cause,
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        remove_stale(path).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answers kicks until `stop`. Returns once nobody waits any more.
    pub(crate) async fn run(self, answering: Answering, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(KICKERS_MAX));
        let waiting = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let kicker = match accepted {
                Ok((kicker, _)) => kicker,
                Err(cause) => {
                    warn!(%cause, "accept on the kick socket failed");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                debug!("too many kickers wait already");
                continue;
            };
            let (answering, stop) = (answering.clone(), stop.clone());
            waiting.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = answering.answer(kicker) => {}
                }
                drop(place);
            });
        }
        waiting.close();
        waiting.wait().await;
    }
}

impl Drop for KickSocket {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_file(&self.path) {
            debug!(%cause, path = %self.path.display(), "kick socket stays behind");
        }
    }
}

/// What a kick waits for.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) link: Arc<Link>,
    pub(crate) exported: Option<Exported>,
    /// Longest wait, when the link is up.
    pub(crate) wait_max: Duration,
}

impl Answering {
    /// `ok`, or nothing where the master could not be asked in time.
    async fn answer(self, mut kicker: UnixStream) {
        let current = timeout(self.wait_max, self.current()).await;
        if !matches!(current, Ok(true)) {
            debug!("kick closed without an answer");
            return;
        }
        let answered = timeout(ANSWER_TIMEOUT, kicker.write_all(ANSWER)).await;
        debug!(answered = matches!(answered, Ok(Ok(()))), "kick");
    }

    async fn current(&self) -> bool {
        let Ok(sequence) = self.link.ask(Patience::AtMost(self.wait_max)).await else {
            return false;
        };
        if let Some(exported) = &self.exported {
            exported(sequence).await;
        }
        true
    }
}

/// Removes what stands at `path`, if it is a socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "is there and is not a socket",
        )),
    }
}
