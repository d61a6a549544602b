//! One connection, from greeting to close.
//!
//! [`proto::session::ServerSession`] knows what is legal when; this module carries out what it asks
//! for, in order, and owns everything that waits.

mod comparing;
mod edits;
mod login;
mod queries;
mod resync;
mod streaming;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::codec::Tag;
use proto::codec::encode::{self, Banner, BannerRole};
use proto::session::{Request, ServerSession, SessionConfig, Step};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{debug, info, warn};
use transport::Stream;
use transport::sasl::Security;

use crate::listener::Shared;
use crate::output::{Progress, Wire};
use crate::role::Asker;
use crate::status::Registered;
use comparing::Compare;
use login::Exchange;

/// Output is sent once this much has gathered, even while more commands wait in the input.
const OUTPUT_BYTES: usize = 64 * 1024;
/// How long a peer may take to read our last words.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug, Error)]
pub(crate) enum End {
    #[error("logged out")]
    Logout,
    #[error("peer closed the connection")]
    Closed,
    #[error("broke the protocol's limits")]
    Protocol,
    #[error("did not log in in time")]
    NoLogin,
    #[error("idle for too long")]
    Idle,
    #[error("too many failed log-ins")]
    FailedLogins,
    #[error("gave its place to another connection")]
    Evicted,
    #[error("server stops")]
    Stopping,
    #[error("list is not open for streaming (recovery)")]
    NotOpen,
    #[error("fell behind the history of changes")]
    FellBehind,
    #[error("compare took too long")]
    CompareTooLong,
    #[error("list now follows another history")]
    OtherHistory,
    #[error("outcome of an edit is unknown after a failed fsync")]
    OutcomeUnknown,
    #[error("internal failure: {0}")]
    Internal(&'static str),
    #[error(transparent)]
    Tls(transport::tls::TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl End {
    /// What a peer that is not streaming is told before the connection is closed.
    fn farewell(&self) -> Option<&'static str> {
        match self {
            Self::NoLogin | Self::Idle => Some("idle for too long"),
            Self::FailedLogins => Some("too many failed logins"),
            Self::Evicted => Some("not logged in and the server is full"),
            Self::Stopping => Some("server is going down"),
            _ => None,
        }
    }
}

/// Serves one connection.
pub(crate) async fn run(shared: Arc<Shared>, registered: Registered, stream: Stream) {
    let mut session = Session::new(shared, registered, stream);
    let end = match session.serve().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    if let Some(text) = end.farewell().filter(|_| !session.streams) {
        encode::bye(session.wire.tail(), text);
    }
    match timeout(FAREWELL_TIMEOUT, session.wire.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => debug!(%cause, "connection was already gone"),
        Err(_) => debug!("peer does not read our last words"),
    }
    match &end {
        End::FellBehind | End::OutcomeUnknown | End::Internal(_) => {
            warn!(reason = %end, "session ends");
        }
        End::NotOpen => info!(reason = %end, "session ends"),
        _ => debug!(reason = %end, "session ends"),
    }
}

enum Never {}

struct Session {
    shared: Arc<Shared>,
    registered: Registered,
    wire: Wire,
    protocol: ServerSession,
    security: Security,
    asker: Option<Asker>,
    exchange: Option<Exchange>,
    failed_logins: u32,
    /// UPDATE or RESYNC has been asked for: from here on no BYE is ever sent.
    streams: bool,
    compare: Option<Compare>,
}

impl Session {
    fn new(shared: Arc<Shared>, registered: Registered, stream: Stream) -> Self {
        let config = SessionConfig {
            starttls_available: shared.tls.is_some(),
            compress_available: true,
            resync_available: true,
            read_only: shared.config.upstream.is_some(),
            strict: shared.config.strict,
            name_bytes_max: shared.config.name_bytes_max,
            ..SessionConfig::default()
        };
        Self {
            registered,
            wire: Wire::new(stream),
            protocol: ServerSession::new(config),
            security: Security::default(),
            asker: None,
            exchange: None,
            failed_logins: 0,
            streams: false,
            compare: None,
            shared,
        }
    }

    async fn serve(&mut self) -> Result<Never, End> {
        self.greet();
        loop {
            let step = self.protocol.next();
            self.carry_out(step).await?;
            if self.wire.unsent() >= OUTPUT_BYTES {
                self.wire.flush().await?;
            }
        }
    }

    async fn carry_out(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::NeedInput => {
                self.wire.flush().await?;
                self.fill().await
            }
            Step::Reply(bytes) => {
                self.wire.tail().extend_from_slice(&bytes);
                Ok(())
            }
            Step::Close(last_words) => {
                self.wire.tail().extend_from_slice(&last_words);
                Err(End::Protocol)
            }
            Step::Request(request) => self.fulfil(request).await,
        }
    }

    async fn fulfil(&mut self, request: Request) -> Result<(), End> {
        match request {
            Request::Authenticate {
                tag,
                mechanism,
                initial,
            } => self.begin_login(tag, &mechanism, initial).await,
            Request::SaslAnswer(answer) => self.continue_login(answer).await,
            Request::StartTls { tag } => self.start_tls(&tag).await,
            Request::Compress { tag, algorithm } => self.compress(&tag, &algorithm).await,
            Request::Logout { tag } => {
                encode::ok(self.wire.tail(), &tag, "bye-bye");
                Err(End::Logout)
            }
            Request::Noop { tag } => {
                let asked = self.shared.role.before_barrier();
                if let Some(wait) = asked.filter(|_| self.compare.is_none()) {
                    wait.await;
                }
                encode::ok(self.wire.tail(), &tag, "Noop done");
                Ok(())
            }
            Request::Edit { tag, edit } => self.edit(tag, edit).await,
            Request::Find { tag, name } => self.find(&tag, name.as_ref()),
            Request::List { tag, prefix } => self.list(&tag, &prefix).await,
            Request::Update { tag, hosts } => self.stream(tag, hosts).await,
            Request::Resync { tag, from, hosts } => self.resync(tag, from, hosts).await,
            Request::Compare {
                tag,
                buckets,
                question,
            } => self.answer_question(&tag, buckets, question).await,
        }
    }

    fn asker(&mut self) -> Result<&mut Asker, End> {
        self.asker
            .as_mut()
            .ok_or(End::Internal("command before log-in"))
    }

    fn greet(&mut self) {
        let mechanisms = self.shared.authenticator.mechanisms(&self.security);
        let config = &self.shared.config;
        let role = config
            .upstream
            .as_ref()
            .map_or(BannerRole::Master, |url| BannerRole::Slave { url });
        let banner = Banner {
            mechanisms: &mechanisms,
            starttls: self.shared.tls.is_some() && !self.security.tls,
            compress: !self.wire.is_compressed(),
            resync: true,
            servername: &config.servername,
            implementation: &config.implementation,
            version: &config.version,
            role,
        };
        encode::banner(self.wire.tail(), &banner);
    }

    /// Reads more, within the time this state of the session allows.
    async fn fill(&mut self) -> Result<(), End> {
        let (allowed, late) = match &self.asker {
            None => (
                self.shared
                    .config
                    .login_timeout
                    .saturating_sub(self.registered.age()),
                End::NoLogin,
            ),
            Some(_) => match &self.compare {
                None => (self.shared.config.idle_timeout, End::Idle),
                Some(compare) => (
                    compare.until().saturating_duration_since(Instant::now()),
                    End::CompareTooLong,
                ),
            },
        };
        let received = tokio::select! {
            received = timeout(allowed, self.wire.receive(self.protocol.buffer())) => received,
            () = self.shared.stop.cancelled() => return Err(End::Stopping),
            () = self.registered.evicted(), if self.asker.is_none() => return Err(End::Evicted),
        };
        match received {
            Err(_) => Err(late),
            Ok(Ok(Progress::Eof)) => {
                let last_words = self.protocol.eof();
                self.wire.tail().extend_from_slice(&last_words);
                Err(End::Closed)
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) => Err(cause.into()),
        }
    }

    async fn start_tls(&mut self, tag: &Tag) -> Result<(), End> {
        let Some(tls) = self.shared.tls.clone() else {
            return Err(End::Internal("STARTTLS without a certificate"));
        };
        encode::ok_bare(self.wire.tail(), tag, "Begin TLS negotiation now");
        self.wire.flush().await?;
        // What was pipelined behind STARTTLS came in clear: anybody may have put it there.
        self.protocol.tls_started();
        self.wire
            .upgrade(|stream| stream.accept_tls(&tls))
            .await
            .map_err(End::Tls)?;
        self.security = self.wire.security();
        self.greet();
        Ok(())
    }

    async fn compress(&mut self, tag: &Tag, algorithm: &[u8]) -> Result<(), End> {
        encode::ok_bare(self.wire.tail(), tag, [algorithm, b" active"].concat());
        self.wire.flush().await?;
        self.wire
            .upgrade(async |stream| Ok::<_, End>(stream.compress()))
            .await?;
        // A client waits for the OK; what came before it is not of this stream.
        if !self.protocol.take_buffer().is_empty() {
            return Err(End::Protocol);
        }
        self.protocol.compress_started();
        Ok(())
    }
}
