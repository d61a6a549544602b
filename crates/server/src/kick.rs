//! The kick socket: how imapd and lmtpd on the same host ask that the list be current.
//!
//! `<configdirectory>/socket/mupdate.target`, a stream socket of mode 0777. A proxy connects, sends nothing
//! and waits until it reads `ok` or the end (Cyrus: `kick_mupdate`). Each lookup of a mailbox that is
//! not there kicks, so there may be any number. What makes the list current is the role's business.

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

    /// Answers kicks until `stop`, and returns once nobody waits any more. `make_current` is called for
    /// each kick, and says whether the list is current.
    pub async fn run<W>(self, make_current: impl Fn() -> W, stop: CancellationToken)
    where
        W: Future<Output = bool> + Send + 'static,
    {
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
            let (current, stop) = (make_current(), stop.clone());
            waiting.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = answer(kicker, current) => {}
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

/// Answers `ok` where the list was made current, else nothing.
async fn answer(mut kicker: UnixStream, current: impl Future<Output = bool>) {
    if !current.await {
        debug!("kick closed without an answer");
        return;
    }
    let answered = timeout(ANSWER_TIMEOUT, kicker.write_all(ANSWER)).await;
    debug!(answered = matches!(answered, Ok(Ok(()))), "kick");
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

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::AsyncReadExt;

    async fn kick(path: &Path) -> Vec<u8> {
        let mut answer = Vec::new();
        UnixStream::connect(path)
            .await
            .unwrap()
            .read_to_end(&mut answer)
            .await
            .unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_ok_and_closes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket/mupdate.target");
        // As an earlier process that was killed leaves it.
        std::mem::forget(KickSocket::bind(&path).unwrap());
        let socket = KickSocket::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o777
        );
        let stop = CancellationToken::new();
        let running = tokio::spawn(socket.run(|| std::future::ready(true), stop.clone()));
        for _ in 0..12 {
            assert_eq!(kick(&path).await, b"ok");
        }
        stop.cancel();
        running.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn says_nothing_where_the_list_is_not_current() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mupdate.target");
        let stop = CancellationToken::new();
        let socket = KickSocket::bind(&path).unwrap();
        let running = tokio::spawn(socket.run(|| std::future::ready(false), stop.clone()));
        assert_eq!(kick(&path).await, b"");
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn never_removes_what_is_not_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mupdate.target");
        fs::write(&path, "precious").unwrap();
        assert!(KickSocket::bind(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
