//! Certificates, keys and authorities out of PEM files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::debug;
use zeroize::Zeroizing;

use super::{AuthorityFiles, TlsConfigError};

/// Longest PEM file; the bundles of whole operating systems take a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Most files looked at in a CA directory.
const DIRECTORY_FILES_MAX: usize = 4096;

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsConfigError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsConfigError::NoKey {
            path: path.to_owned(),
        },
        other => invalid(path, &other),
    })
}

/// The authorities of a file and a directory, at least one.
pub(super) fn authorities(files: &AuthorityFiles) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.file {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|cause| TlsConfigError::Authority {
                    path: path.clone(),
                    cause,
                })?;
        }
    }
    if let Some(directory) = &files.directory {
        add_directory(&mut roots, directory)?;
    }
    if roots.is_empty() {
        return Err(TlsConfigError::NoAuthority);
    }
    Ok(roots)
}

/// Adds what a directory holds. Such directories hold other things too (revocation lists, notes),
/// so a file that is no certificate is passed over; a directory without any is a mistake.
fn add_directory(roots: &mut RootCertStore, directory: &Path) -> Result<(), TlsConfigError> {
    let before = roots.len();
    for path in listing(directory)? {
        match certificates(&path) {
            Ok(found) => {
                let (added, ignored) = roots.add_parsable_certificates(found);
                debug!(path = %path.display(), added, ignored, "CA certificates");
            }
            Err(error) => debug!(path = %path.display(), cause = %error, "not a CA certificate"),
        }
    }
    if roots.len() == before {
        return Err(TlsConfigError::NoCertificate {
            path: directory.to_owned(),
        });
    }
    Ok(())
}

/// The files of a directory in order of name, each once although OpenSSL's hash links name it too.
fn listing(directory: &Path) -> Result<Vec<PathBuf>, TlsConfigError> {
    let failed = |cause| TlsConfigError::Read {
        path: directory.to_owned(),
        cause,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)
        .map_err(failed)?
        .take(DIRECTORY_FILES_MAX)
    {
        match fs::canonicalize(entry.map_err(failed)?.path()) {
            Ok(path) if path.is_file() => paths.push(path),
            Ok(_) => {}
            Err(error) => debug!(cause = %error, "dangling link in a CA directory"),
        }
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsConfigError> {
    let failed = |cause| TlsConfigError::Read {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(TlsConfigError::TooLong {
            path: path.to_owned(),
            max: FILE_BYTES_MAX,
        });
    }
    Ok(text)
}

fn invalid(path: &Path, error: &pem::Error) -> TlsConfigError {
    TlsConfigError::Pem {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
