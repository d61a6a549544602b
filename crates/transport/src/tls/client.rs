//! TLS as the client: how far a server's certificate is looked at, and our own.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::{
    AuthorityFiles, CertificateFiles, MinimumVersion, TlsConfigError, TlsError, pair, pem, provider,
};

/// How far the certificate of a server is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerVerification {
    /// Not at all, as the clients of Cyrus do: keeps listeners out, not impostors.
    #[default]
    No,
    /// It must come from the CA; its name does not matter.
    Ca,
    /// It must come from the CA and name the host. A common name alone is no name for rustls.
    Full,
}

/// What a TLS client needs to know.
#[derive(Debug, Clone, Default)]
pub struct TlsClientConfig {
    /// How far the server is verified.
    pub verification: ServerVerification,
    /// By which CA; needed unless the verification is [`ServerVerification::No`].
    pub authorities: AuthorityFiles,
    /// `tls_client_cert` and `tls_client_key`, shown if the server asks.
    pub files: Option<CertificateFiles>,
    /// The oldest version.
    pub minimum_version: MinimumVersion,
}

/// The settings of a TLS client, ready for any number of handshakes. Clones are cheap.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    has_certificate: bool,
}

impl TlsClient {
    /// Reads and checks the files.
    pub fn load(config: &TlsClientConfig) -> Result<Self, TlsConfigError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(config.minimum_version.versions())
            .map_err(TlsConfigError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(config)?);
        let mut settings = match &config.files {
            None => builder.with_no_client_auth(),
            Some(files) => builder.with_client_cert_resolver(pair::load(files)?),
        };
        settings.resumption = Resumption::disabled();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(settings)),
            has_certificate: config.files.is_some(),
        })
    }

    /// Whether there is a certificate to show, without which EXTERNAL makes no sense.
    pub fn has_certificate(&self) -> bool {
        self.has_certificate
    }

    pub(crate) fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
        ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName {
            name: name.to_owned(),
        })
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("has_certificate", &self.has_certificate)
            .finish_non_exhaustive()
    }
}

fn verifier(config: &TlsClientConfig) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
    if config.verification == ServerVerification::No {
        return Ok(Arc::new(Unverified));
    }
    let roots = Arc::new(pem::authorities(&config.authorities)?);
    let full = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| TlsConfigError::Verifier {
            reason: error.to_string(),
        })?;
    Ok(match config.verification {
        ServerVerification::Ca => Arc::new(AnyName(full)),
        ServerVerification::Full | ServerVerification::No => full,
    })
}

/// Takes every certificate.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by a key that nobody vouches for proves nothing, and certificates of version 1,
    // which old sites have, could not even be read for it.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Takes every certificate of the CA, whatever host it names. The name is the last thing that
/// the full verifier looks at, so a complaint about it means that all else is in order.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
