//! Accepting connections, within bounds, until told to stop.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use store::Store;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};
use transport::Stream;
use transport::sasl::Authenticator;
use transport::tls::TlsServer;

use crate::ServerConfig;
use crate::crier::{Audience, crier};
use crate::planes::DumpPool;
use crate::repair::Latest;
use crate::role::Role;
use crate::session;
use crate::shelf::Shelf;
use crate::slaves::KnownSlaves;
use crate::status::Sessions;

/// What a connection gets that finds no place (Cyrus: the same words and one NUL too many).
const NO_PLACE: &[u8] = b"* BYE \"Server Unable\"\r\n";
/// How long a refused connection may take to read that.
const NO_PLACE_TIMEOUT: Duration = Duration::from_secs(1);
/// Refused connections that are being told so at once; a further one is just closed.
const REFUSALS_MAX: usize = 64;
/// Wait after an accept that failed (descriptors or memory ran out).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Everything a session needs. Shared by all sessions of a server.
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) store: Store,
    pub(crate) audience: Audience,
    pub(crate) role: Arc<dyn Role>,
    pub(crate) authenticator: Authenticator,
    pub(crate) tls: Option<TlsServer>,
    pub(crate) dump_pool: DumpPool,
    pub(crate) shelf: Shelf,
    pub(crate) repairs: Latest,
    pub(crate) slaves: KnownSlaves,
    pub(crate) sessions: Sessions,
    pub(crate) stop: CancellationToken,
    pub(crate) pinned_versions: AtomicUsize,
}

impl Shared {
    async fn lets_in(&self, verdict: Option<Verdict>) -> bool {
        let Some(verdict) = verdict else {
            return true;
        };
        let said = timeout(self.config.login_timeout, verdict);
        let admitted = matches!(self.stop.run_until_cancelled(said).await, Some(Ok(true)));
        if !admitted {
            info!("not let in by the host rules");
        }
        admitted
    }
}

/// A MUPDATE server: the parts it is made of.
pub struct Server {
    /// Settings.
    pub config: ServerConfig,
    /// The list.
    pub store: Store,
    /// Master or slave.
    pub role: Arc<dyn Role>,
    /// Who may log in, and how.
    pub authenticator: Authenticator,
    /// Certificate and key; without them STARTTLS is not offered.
    pub tls: Option<TlsServer>,
    /// Where lists are walked.
    pub dump_pool: DumpPool,
    /// What slaves have proven to hold.
    pub slaves: KnownSlaves,
    /// Who is connected.
    pub sessions: Sessions,
}

/// A bound address.
pub struct Listener {
    socket: TcpListener,
    door: Option<Arc<dyn Door>>,
    closed: CancellationToken,
}

/// Who stands between a listener and its sessions.
pub trait Door: Send + Sync + 'static {
    /// Whether this peer may come in, asked once for each accepted connection. One that may not is
    /// closed without a word. Must not block.
    fn admits(&self, peer: SocketAddr) -> bool;

    /// A further question about this connection that may take time to answer, asked behind
    /// [`Self::admits`]. It is not greeted before, and closed without a word where the answer is no.
    fn verdict(&self, _socket: &TcpStream) -> Option<Verdict> {
        None
    }
}

/// Whether a connection may come in, once that is known.
pub type Verdict = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Why an address can't be listened on.
#[derive(Debug, Error)]
#[error("listen on {address}: {cause}")]
pub struct BindError {
    /// The address as given.
    pub address: String,
    /// What the system said.
    pub cause: io::Error,
}

impl Listener {
    /// Binds every address that `address` (`HOST:PORT`) resolves to.
    pub async fn bind(address: &str) -> Result<Vec<Self>, BindError> {
        let failed = |cause| BindError {
            address: address.to_owned(),
            cause,
        };
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(address)
            .await
            .map_err(failed)?
            .collect();
        let mut bound = Vec::new();
        for address in addresses {
            let socket = TcpListener::bind(address).await.map_err(failed)?;
            bound.push(Self {
                socket,
                door: None,
                closed: CancellationToken::new(),
            });
        }
        if bound.is_empty() {
            return Err(failed(io::ErrorKind::AddrNotAvailable.into()));
        }
        Ok(bound)
    }

    /// A socket that somebody else has bound and that listens already. Nothing more is accepted from
    /// it once `closed` is cancelled. Needs a runtime.
    pub fn adopt(
        socket: std::net::TcpListener,
        door: Option<Arc<dyn Door>>,
        closed: CancellationToken,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        Ok(Self {
            socket,
            door,
            closed,
        })
    }

    /// The address, with the port the system chose where none was given.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Listener {
    fn admits(&self, peer: SocketAddr) -> bool {
        self.door.as_ref().is_none_or(|door| door.admits(peer))
    }

    fn verdict(&self, socket: &TcpStream) -> Option<Verdict> {
        self.door.as_ref()?.verdict(socket)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Serves connections until `stop`, then ends the sessions and returns when the last is gone. A
    /// slave in a dump is cut off without a word, since a BYE would make it delete what it has.
    pub async fn run(self, listeners: Vec<Listener>, stop: CancellationToken) {
        let (_none, more) = mpsc::channel(1);
        self.run_with(listeners, more, stop).await;
    }

    /// As [`Server::run`], with listeners that come later.
    pub async fn run_with(
        self,
        listeners: Vec<Listener>,
        mut more: mpsc::Receiver<Listener>,
        stop: CancellationToken,
    ) {
        let tasks = TaskTracker::new();
        let (audience, crier) = crier(self.store.watch());
        let telling = stop.clone().run_until_cancelled_owned(crier.run());
        tasks.spawn(telling);
        let shared = Arc::new(Shared {
            config: self.config,
            store: self.store,
            audience,
            role: self.role,
            authenticator: self.authenticator,
            tls: self.tls,
            dump_pool: self.dump_pool,
            shelf: Shelf::default(),
            repairs: Latest::default(),
            slaves: self.slaves,
            sessions: self.sessions,
            stop: stop.clone(),
            pinned_versions: AtomicUsize::new(0),
        });
        let refusals = Arc::new(AtomicUsize::new(0));
        let accept = |listener| {
            let acceptor = Acceptor {
                shared: Arc::clone(&shared),
                tasks: tasks.clone(),
                refusals: Arc::clone(&refusals),
            };
            tasks.spawn(acceptor.run(listener));
        };
        listeners.into_iter().for_each(accept);
        let stopped = stop.run_until_cancelled(async {
            while let Some(listener) = more.recv().await {
                accept(listener);
            }
        });
        if stopped.await.is_some() {
            stop.cancelled().await;
        }
        tasks.close();
        tasks.wait().await;
    }
}

struct Acceptor {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    refusals: Arc<AtomicUsize>,
}

impl Acceptor {
    async fn run(self, listener: Listener) {
        loop {
            let accepted = tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = listener.closed.cancelled() => return,
                accepted = listener.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) if listener.admits(peer) => {
                    let verdict = listener.verdict(&stream);
                    self.admit(stream, peer, verdict);
                }
                Ok((_, peer)) => debug!(%peer, "not let in"),
                Err(cause) => {
                    warn!(%cause, "accept failed");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, verdict: Option<Verdict>) {
        let full = self.shared.sessions.len() >= self.shared.config.connections_max;
        if full && !self.shared.sessions.evict_one() {
            debug!(%peer, "no place for another connection");
            self.refuse(stream);
            return;
        }
        let registered = self.shared.sessions.open(peer);
        let span = info_span!("session", number = registered.number(), %peer, user = tracing::field::Empty);
        let stream = Stream::from_tcp(stream);
        let shared = Arc::clone(&self.shared);
        let serve = async move {
            if shared.lets_in(verdict).await {
                session::run(shared, registered, stream).await;
            }
        };
        self.tasks.spawn(serve.instrument(span));
    }

    fn refuse(&self, mut stream: TcpStream) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX {
            self.refusals.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let refusals = Arc::clone(&self.refusals);
        self.tasks.spawn(async move {
            let told = timeout(NO_PLACE_TIMEOUT, stream.write_all(NO_PLACE)).await;
            refusals.fetch_sub(1, Ordering::Relaxed);
            debug!(told = matches!(told, Ok(Ok(()))), "connection refused");
        });
    }
}
