//! TLS 1.2 and 1.3 by rustls with ring: settings of both sides, loaded from PEM files.

mod client;
mod pair;
mod pem;
mod server;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use thiserror::Error;

pub use self::client::{ServerVerification, TlsClient, TlsClientConfig};
pub use self::server::{ClientCertificates, TlsServer, TlsServerConfig};

/// How long a handshake may take.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

static TLS13_ONLY: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// The oldest version of TLS that is spoken. rustls knows none before 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinimumVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

impl MinimumVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => &TLS13_ONLY,
        }
    }
}

/// Why a connection did not get its TLS layer. The connection is gone.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer broke off, or the two sides share no version, cipher or trust.
    #[error("TLS handshake: {0}")]
    Handshake(#[source] io::Error),
    /// The peer went silent.
    #[error("TLS handshake took more than {} s", HANDSHAKE_TIME_MAX.as_secs())]
    HandshakeTimeout,
    /// TLS under an active DEFLATE layer.
    #[error("TLS cannot start after compression")]
    AfterCompression,
    /// TLS in TLS.
    #[error("TLS is on already")]
    AlreadyOn,
    /// Neither a host name nor an address.
    #[error("{name:?} is not a host name for TLS")]
    ServerName {
        /// The name as given.
        name: String,
    },
}

/// Why the TLS settings of one side cannot be used, with the file to look at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A file is too long to be what it is said to be.
    #[error("{path} is longer than {max} octets", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit, in octets.
        max: u64,
    },
    /// A file is not PEM.
    #[error("{path} is not valid PEM: {reason}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No `BEGIN CERTIFICATE` in a file, or in any file of a directory.
    #[error("{path} holds no certificate", path = path.display())]
    NoCertificate {
        /// The file or directory.
        path: PathBuf,
    },
    /// No private key, or only an encrypted one.
    #[error("{path} holds no private key that is not encrypted", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A CA certificate that rustls does not take (as an old X.509 version 1).
    #[error("{path} holds a CA certificate that cannot be used: {cause}", path = path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        #[source]
        cause: rustls::Error,
    },
    /// Certificate and key do not belong together, or are of a kind rustls does not know.
    #[error(
        "certificate {certificate} and key {key} cannot be used: {cause}",
        certificate = certificate.display(),
        key = key.display()
    )]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        #[source]
        cause: rustls::Error,
    },
    /// Certificates are to be verified, but there is no CA to verify them by.
    #[error("verification of certificates needs a CA file or a CA directory")]
    NoAuthority,
    /// The verifier refuses its certificates.
    #[error("certificates cannot be verified: {reason}")]
    Verifier {
        /// What rustls says.
        reason: String,
    },
    /// The library refuses the combination of versions and ciphers.
    #[error("TLS settings cannot be used: {0}")]
    Settings(#[source] rustls::Error),
}

/// A certificate chain and its key, by file. Both may be the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM: the private key, not encrypted.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// The pair of two paths.
    pub fn new(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        Self {
            certificate: certificate.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
        }
    }
}

/// Certificate authorities, by file and by directory; both count if both are set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthorityFiles {
    /// PEM: one or more CA certificates.
    pub file: Option<PathBuf>,
    /// Every PEM file in it that holds certificates; names need not be hashes as OpenSSL wants.
    pub directory: Option<PathBuf>,
}

impl AuthorityFiles {
    /// Whether no CA is configured at all.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.directory.is_none()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
