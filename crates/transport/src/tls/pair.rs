//! A certificate with its key, for either side.

use std::sync::Arc;

use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateFiles, TlsConfigError, pem, provider};

/// Reads both files, and sees to it that they belong together.
///
/// rustls alone would refuse certificates of X.509 version 1 as its own, which `openssl x509 -req`
/// makes by default and old sites have. Nothing is lost by showing one: whoever verifies it decides.
pub(super) fn load(files: &CertificateFiles) -> Result<Arc<SingleCertAndKey>, TlsConfigError> {
    let chain = pem::certificates(&files.certificate)?;
    let key = pem::private_key(&files.key)?;
    let refused = |cause: Error| TlsConfigError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        cause,
    };
    let key = provider().key_provider.load_private_key(key);
    let certified = CertifiedKey::new(chain, key.map_err(refused)?);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InvalidCertificate(_)) if has_key(&certified, certified.key.as_ref()) => {}
        Err(cause) => return Err(refused(cause)),
    }
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// Whether the first certificate, whatever its version, is of this key.
fn has_key(certified: &CertifiedKey, key: &dyn SigningKey) -> bool {
    let certificate = certified.cert.first();
    let parsed = certificate.and_then(|octets| X509Certificate::from_der(octets).ok());
    parsed
        .zip(key.public_key())
        .is_some_and(|((_, certificate), key)| certificate.public_key().raw == key.as_ref())
}
