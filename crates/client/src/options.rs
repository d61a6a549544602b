//! How to connect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto::codec::ResponseLimits;
use transport::Secret;
use transport::sasl::{ClientBackend, ClientPolicy, Credentials};
use transport::tls::TlsClient;

/// Everything about a connection but where it goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who we are.
    pub login: Login,
    /// Whether to use STARTTLS.
    pub tls: Tls,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much a server may send in one response.
    pub limits: ResponseLimits,
}

impl Options {
    /// Without TLS and with the default limits.
    pub fn new(login: Login, timeouts: Timeouts) -> Self {
        Self {
            login,
            tls: Tls::Never,
            timeouts,
            limits: ResponseLimits::default(),
        }
    }
}

/// Who we are, and how that may be proved.
#[derive(Debug, Clone)]
pub struct Login {
    /// Names and password.
    pub credentials: Credentials,
    /// Which mechanisms may be used. EXTERNAL is only tried under TLS, whatever this says.
    pub policy: ClientPolicy,
    /// Other mechanisms than those of `transport`; then the credentials and the policy here say nothing.
    pub backend: Option<Arc<dyn ClientBackend>>,
}

impl Login {
    /// A name and a password, by any mechanism that needs one.
    pub fn password(name: impl Into<String>, password: Secret) -> Self {
        Self {
            credentials: Credentials::new(name, password),
            policy: ClientPolicy::password(),
            backend: None,
        }
    }
}

/// Whether to use STARTTLS.
#[derive(Clone)]
pub enum Tls {
    /// In clear, whatever the server offers.
    Never,
    /// If the server offers it.
    IfOffered(TlsClient),
    /// Always; a server that does not offer it is an error.
    Required(TlsClient),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::IfOffered(_) => "IfOffered",
            Self::Required(_) => "Required",
        })
    }
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the TCP connection.
    pub connect: Duration,
    /// For each of banner, TLS handshake and log-in.
    pub login: Duration,
    /// For each response to a command; [`Updates::next`](crate::Updates::next) waits without bound.
    pub answer: Duration,
}

impl Timeouts {
    /// The same for all of them.
    pub fn each(duration: Duration) -> Self {
        Self {
            connect: duration,
            login: duration,
            answer: duration,
        }
    }
}
