//! SASL (RFC 4422), both sides, as raw octets; base64, line ends and the word AUTHENTICATE are the
//! caller's.
//!
//! A server asks an [`Authenticator`] what to list in its banner, starts an [`Exchange`] and feeds
//! it the client's messages until it is done. Behind it stands a [`Backend`]: the one here does
//! PLAIN, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512 and EXTERNAL against our own users file, PLAIN
//! against saslauthd too; a system's SASL library can stand there as well.

mod client;
mod guard;
mod native;
mod pool;
mod saslauthd;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

pub use self::client::{
    ClientBackend, ClientBackendExchange, ClientExchange, ClientFuture, ClientPolicy,
    ClientSaslError, Credentials,
};
pub use self::native::{AuthConfig, PasswordCheck};
pub use self::saslauthd::Saslauthd;
use crate::Stream;

/// Longest message of an exchange in either direction, in octets. Cyrus takes answer lines of
/// 21848 octets of base64.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What a connection is worth before any mechanism has run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS is on.
    pub tls: bool,
    /// Strength of TLS in bits, as SASL counts layers; 0 without.
    pub tls_bits: u32,
    /// Common name of the client's verified certificate.
    pub external: Option<String>,
}

impl Security {
    /// The present state of a stream.
    pub fn of(stream: &Stream) -> Self {
        Self {
            tls: stream.is_tls(),
            tls_bits: stream.tls_bits(),
            external: stream.client_identity(),
        }
    }
}

/// What to do next in a server's exchange.
#[derive(Debug)]
pub enum SaslStep {
    /// Send this, perhaps empty, and come back with the client's answer.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Done {
        /// Its authentication identity, one of the admins.
        identity: String,
        /// What lies over the connection from here, both ways: from behind the line that says OK.
        layer: Option<Box<dyn SecurityLayer>>,
    },
    /// The exchange is over. Whatever the reason, the client is told the same.
    Failed(AuthFailure),
}

/// What a mechanism puts over a connection after its log-in (RFC 4422 section 3.7): integrity, or
/// integrity and encryption.
pub trait SecurityLayer: fmt::Debug + Send + Sync {
    /// Octets that [`seal`](Self::seal) takes at once, at least 1.
    fn plain_bytes_max(&self) -> usize;

    /// Appends to `wire` what is to be sent for `plain`.
    fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> io::Result<()>;

    /// Takes the next octets that came, and appends to `plain` what is complete by them. After an
    /// error nothing that comes can be trusted.
    fn open(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> io::Result<()>;
}

/// A log-in that failed, for the log alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct AuthFailure {
    /// Why.
    pub reason: FailureReason,
    /// Whom the client said to be, as far as it got.
    pub identity: Option<String>,
}

/// The system gives no random octets, so no log-in can be made safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gives no random octets")]
pub struct NoRandomness;

/// Why a log-in failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FailureReason {
    /// No such mechanism here at all.
    #[error("unknown mechanism")]
    UnknownMechanism,
    /// A mechanism that this connection was not offered, as PLAIN in clear.
    #[error("mechanism not offered on this connection")]
    MechanismNotOffered,
    /// A message that does not follow the mechanism's grammar, or is too long.
    #[error("malformed message")]
    Malformed,
    /// Nobody of that name in the users file.
    #[error("unknown user")]
    UnknownUser,
    /// The user has no verifier for this mechanism.
    #[error("user has no verifier for this mechanism")]
    NoVerifier,
    /// The password is not the one.
    #[error("wrong password")]
    WrongPassword,
    /// All is right, but the user is not one of `admins`.
    #[error("only admins may authenticate")]
    NotAdmin,
    /// Too many passwords are being verified at this moment.
    #[error("too many log-ins at once")]
    Busy,
    /// What would have to verify the password, saslauthd for one, does not answer as it should.
    #[error("the password cannot be verified now")]
    Unavailable,
    /// A message after the end, or a last answer that is not empty.
    #[error("message out of turn")]
    OutOfTurn,
    /// Something broke on our side.
    #[error("internal error")]
    Internal,
}

impl FailureReason {
    /// A failure without a name.
    pub fn unnamed(self) -> AuthFailure {
        AuthFailure {
            reason: self,
            identity: None,
        }
    }

    /// A failure of somebody.
    pub fn of(self, identity: impl Into<String>) -> AuthFailure {
        AuthFailure {
            reason: self,
            identity: Some(identity.into()),
        }
    }
}

/// A step that may have to wait.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = SaslStep> + Send + 'a>>;

/// A set of mechanisms and what they check passwords against.
pub trait Backend: Send + Sync {
    /// The mechanisms for a connection of that security, in the order of the banner.
    fn mechanisms(&self, security: &Security) -> Vec<String>;

    /// Begins an exchange. `mechanism` is in upper case.
    fn start(
        &self,
        mechanism: &str,
        security: &Security,
    ) -> Result<Box<dyn BackendExchange>, AuthFailure>;
}

/// One exchange of a [`Backend`].
pub trait BackendExchange: Send {
    /// See [`Exchange::step`].
    fn step<'a>(&'a mut self, input: Option<&'a [u8]>) -> StepFuture<'a>;
}

/// Who may log in and how. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Authenticator {
    backend: Arc<dyn Backend>,
}

impl Authenticator {
    /// The mechanisms built in here, against a users file.
    pub fn new(config: AuthConfig) -> Result<Self, NoRandomness> {
        Self::with_password_checks(config, vec![PasswordCheck::UsersFile])
    }

    /// The mechanisms built in here; PLAIN succeeds when one of the checks, in their order, does. SCRAM
    /// and EXTERNAL know the users file only.
    pub fn with_password_checks(
        config: AuthConfig,
        checks: Vec<PasswordCheck>,
    ) -> Result<Self, NoRandomness> {
        let native = native::Native::new(config, checks)?;
        Ok(Self::with_backend(Arc::new(native)))
    }

    /// Any other mechanisms.
    pub fn with_backend(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    /// The mechanisms to list in the banner of a connection, in order.
    pub fn mechanisms(&self, security: &Security) -> Vec<String> {
        self.backend.mechanisms(security)
    }

    /// Begins an exchange; the mechanism's name in any case.
    pub fn start(&self, mechanism: &[u8], security: &Security) -> Result<Exchange, AuthFailure> {
        let name = str::from_utf8(mechanism)
            .map_err(|_| FailureReason::UnknownMechanism.unnamed())?
            .to_ascii_uppercase();
        let inner = self.backend.start(&name, security)?;
        Ok(Exchange {
            inner,
            mechanism: name,
        })
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

/// One log-in, from AUTHENTICATE to its outcome. To cancel it, drop it.
pub struct Exchange {
    inner: Box<dyn BackendExchange>,
    mechanism: String,
}

impl Exchange {
    /// The mechanism, in upper case.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }

    /// Takes the client's next message, decoded. The first may be `None`: no initial response came
    /// with the command. The last challenge of SCRAM is to be answered by an empty message.
    ///
    /// May wait for a thread that computes PBKDF2. If the future is dropped, the exchange is over.
    pub async fn step(&mut self, input: Option<&[u8]>) -> SaslStep {
        if input.is_some_and(|message| message.len() > MESSAGE_BYTES_MAX) {
            return SaslStep::Failed(FailureReason::Malformed.unnamed());
        }
        self.inner.step(input).await
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}
