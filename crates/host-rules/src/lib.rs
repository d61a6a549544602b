//! Host rules (`hosts.allow`, `hosts.deny`) through the system's libwrap, as Cyrus's programs ask them where
//! they are linked with it, as Debian's are.
//!
//! libwrap is not made for several threads, may wait for name servers, and may run commands that a rule names.
//! So a thread of its own asks it, one connection after the other, with a bounded queue before it; nobody
//! waits but the connection that the question is about. This crate is the only binding of libwrap.

mod library;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use library::Library;

/// Connections that may wait for their answer; a further one is turned away.
const WAITING_MAX: usize = 1024;

/// The rules for one service. Cheap to clone; the thread ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct HostRules {
    questions: SyncSender<Question>,
}

/// Where the rules are, if not in `/etc`.
#[derive(Debug, Clone)]
pub struct Tables {
    /// In the place of `/etc/hosts.allow`.
    pub allow: PathBuf,
    /// In the place of `/etc/hosts.deny`.
    pub deny: PathBuf,
}

/// Why rules can't be followed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostRulesError {
    /// libwrap has one set of files and one thread in a process.
    #[error("host rules are followed already in this process")]
    Twice,
    /// C ends a text at a NUL.
    #[error("a NUL in {what}")]
    Nul {
        /// Which text.
        what: &'static str,
    },
    /// The system refuses a thread.
    #[error("thread for host rules: {0}")]
    Thread(#[from] std::io::Error),
}

struct Question {
    socket: OwnedFd,
    answer: oneshot::Sender<bool>,
}

impl HostRules {
    /// Follows the rules for `service`, once in a process. Files are read anew for each connection.
    pub fn start(service: &str, tables: Option<Tables>) -> Result<Self, HostRulesError> {
        let nul = |what| move |_| HostRulesError::Nul { what };
        let name = CString::new(service).map_err(nul("the name of the service"))?;
        let library = Library::take(name, tables)?;
        let (questions, queue) = sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("host-rules".into())
            .spawn(move || answer_all(&library, &queue))?;
        Ok(Self { questions })
    }

    /// Whether the peer of a connected socket may come in. Ends with `false` where nobody can say.
    pub fn admits(&self, socket: &impl AsFd) -> impl Future<Output = bool> + Send + 'static {
        let answer = self.ask(socket);
        async move {
            match answer {
                Some(answer) => answer.await.unwrap_or(false),
                None => false,
            }
        }
    }

    fn ask(&self, socket: &impl AsFd) -> Option<oneshot::Receiver<bool>> {
        let socket = socket.as_fd().try_clone_to_owned();
        let socket = socket
            .inspect_err(|cause| warn!(%cause, "host rules can't be asked"))
            .ok()?;
        let (answer, received) = oneshot::channel();
        match self.questions.try_send(Question { socket, answer }) {
            Ok(()) => Some(received),
            Err(TrySendError::Full(_)) => {
                debug!("too many connections wait for host rules");
                None
            }
            Err(TrySendError::Disconnected(_)) => {
                warn!("thread for host rules has ended");
                None
            }
        }
    }
}

fn answer_all(library: &Library, queue: &Receiver<Question>) {
    while let Ok(Question { socket, answer }) = queue.recv() {
        // A peer that has gone meanwhile needs no look-up.
        if answer.is_closed() {
            continue;
        }
        let admitted = library.admits(&socket);
        if answer.send(admitted).is_err() {
            debug!("nobody waits for this answer any more");
        }
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}
