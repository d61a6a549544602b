//! TLS as the server: our certificate, and what a client's certificate is worth.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    AuthorityFiles, CertificateFiles, MinimumVersion, TlsConfigError, pair, pem, provider,
};

/// Longest common name taken as an identity, in octets.
const IDENTITY_BYTES_MAX: usize = 256;

/// Whether clients are asked for a certificate (`tls_client_certs` of `imapd.conf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// Not asked for.
    Off,
    /// Asked for if there is a CA. Without one, or with one that does not verify, a client is
    /// served all the same, only without an identity for EXTERNAL; so does Cyrus.
    #[default]
    Optional,
    /// Without a certificate that verifies, no handshake.
    Required,
}

/// What a TLS server needs to know.
#[derive(Debug, Clone)]
pub struct TlsServerConfig {
    /// `tls_server_cert` and `tls_server_key`.
    pub files: CertificateFiles,
    /// `tls_client_ca_file` and `tls_client_ca_dir`.
    pub client_authorities: AuthorityFiles,
    /// `tls_client_certs`.
    pub client_certificates: ClientCertificates,
    /// `tls_versions`.
    pub minimum_version: MinimumVersion,
}

impl TlsServerConfig {
    /// A server that asks no client for a certificate.
    pub fn new(files: CertificateFiles) -> Self {
        Self {
            files,
            client_authorities: AuthorityFiles::default(),
            client_certificates: ClientCertificates::default(),
            minimum_version: MinimumVersion::default(),
        }
    }
}

/// The settings of a TLS server, ready for any number of handshakes. Clones are cheap.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl TlsServer {
    /// Reads and checks the files.
    ///
    /// No session is ever resumed: a resumed one would carry an identity that nobody verified
    /// against today's CA files, and Cyrus clients start each connection afresh anyway.
    pub fn load(config: &TlsServerConfig) -> Result<Self, TlsConfigError> {
        let own = pair::load(&config.files)?;
        let verifier = client_verifier(config)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(config.minimum_version.versions())
            .map_err(TlsConfigError::Settings)?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(strict) if config.client_certificates == ClientCertificates::Required => {
                builder.with_client_cert_verifier(Arc::clone(strict))
            }
            Some(strict) => {
                builder.with_client_cert_verifier(Arc::new(Lenient(Arc::clone(strict))))
            }
        };
        let mut settings = builder.with_cert_resolver(own);
        settings.session_storage = Arc::new(NoServerSessionStorage {});
        settings.send_tls13_tickets = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(settings)),
            verifier,
        })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// The common name of the client's certificate if that verifies. The handshake has proved by
    /// then that the client holds its key.
    pub(crate) fn client_identity(&self, connection: &ServerConnection) -> Option<String> {
        let verifier = self.verifier.as_ref()?;
        let (end_entity, intermediates) = connection.peer_certificates()?.split_first()?;
        verifier
            .verify_client_cert(end_entity, intermediates, UnixTime::now())
            .inspect_err(|error| debug!(cause = %error, "client certificate does not verify"))
            .ok()?;
        common_name(end_entity)
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("asks_for_certificates", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}

fn client_verifier(
    config: &TlsServerConfig,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsConfigError> {
    let required = match config.client_certificates {
        ClientCertificates::Off => return Ok(None),
        ClientCertificates::Optional if config.client_authorities.is_empty() => return Ok(None),
        ClientCertificates::Optional => false,
        ClientCertificates::Required => true,
    };
    let roots = Arc::new(pem::authorities(&config.client_authorities)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map(Some)
        .map_err(|error| TlsConfigError::Verifier {
            reason: error.to_string(),
        })
}

/// The first common name of a certificate's subject, if it can be an identity: UTF-8, not empty,
/// not too long, without control characters.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    let is_fit =
        !name.is_empty() && name.len() <= IDENTITY_BYTES_MAX && !name.chars().any(char::is_control);
    is_fit.then(|| name.to_owned())
}

/// Lets a client pass whose certificate does not verify; the identity is judged afterwards. The
/// proof that the client holds its certificate's key stays as strict as it is.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if is_unreadable(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if is_unreadable(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whether rustls can't read the certificate at all, as one of X.509 version 1. It verifies by no
/// authority then, so nobody gets an identity from it, and what its key has signed does not matter.
fn is_unreadable(certificate: &CertificateDer<'_>) -> bool {
    ParsedCertificate::try_from(certificate).is_err()
}
