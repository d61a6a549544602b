//! What is to be said of certificates before anybody connects: what rustls refuses, and what peers
//! that verify will refuse.

use std::fs;
use std::path::{Path, PathBuf};

use transport::tls::AuthorityFiles;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA};
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

/// Shortest RSA key that rustls uses or verifies by, in bits.
const RSA_BITS_MIN: usize = 2048;
/// `ecdsa-with-SHA1`.
const ECDSA_WITH_SHA1: &str = "1.2.840.10045.4.1";
const PEM_LABEL: &str = "CERTIFICATE";

/// Notes on a chain that this host shows to others.
pub(super) fn of_own(file: &Path) -> Vec<String> {
    let blocks = blocks(file);
    let mut notes = Vec::new();
    for (position, block) in blocks.iter().enumerate() {
        let Ok(certificate) = block.parse_x509() else {
            continue;
        };
        let mut doubts = doubts(&certificate);
        if position == 0 && matches!(certificate.subject_alternative_name(), Ok(None)) {
            doubts.push(
                "has a common name but no subjectAltName: peers on rustls that verify names refuse it, Cyrus's do not"
                    .to_owned(),
            );
        }
        notes.extend(named(file, position, doubts));
    }
    notes
}

/// Notes on the authorities by which others are verified.
pub(super) fn of_authorities(authorities: &AuthorityFiles) -> Vec<String> {
    let listed = authorities.directory.iter().flat_map(fs::read_dir);
    let listed = listed.flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = listed.collect();
    files.sort();
    files.extend(authorities.file.clone());
    let mut notes = Vec::new();
    for file in &files {
        for (position, block) in blocks(file).iter().enumerate() {
            let weak = block
                .parse_x509()
                .ok()
                .and_then(|authority| weak_key(&authority))
                .map(|key| format!("{key}: whoever it vouches for is taken for a stranger"));
            notes.extend(named(file, position, weak.into_iter().collect()));
        }
    }
    notes
}

fn named(file: &Path, position: usize, doubts: Vec<String>) -> impl Iterator<Item = String> {
    let file = file.display().to_string();
    let place = if position == 0 {
        file
    } else {
        format!("{file}, certificate {}", position + 1)
    };
    doubts
        .into_iter()
        .map(move |doubt| format!("{place} {doubt}"))
}

/// All certificates of a PEM file.
fn blocks(file: &Path) -> Vec<Pem> {
    let octets = fs::read(file).unwrap_or_default();
    Pem::iter_from_buffer(&octets)
        .filter_map(Result::ok)
        .filter(|block| block.label == PEM_LABEL)
        .collect()
}

fn doubts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut doubts = Vec::new();
    doubts.extend(weak_key(certificate));
    let is_root = certificate.subject() == certificate.issuer();
    if let Some(hash) = weak_hash(certificate).filter(|_| !is_root) {
        doubts.push(format!(
            "is signed with {hash}: peers on rustls that verify refuse it, Cyrus's do not verify"
        ));
    }
    if certificate.version() != X509Version::V3 {
        doubts.push(format!(
            "is of X.509 version {}: peers on rustls that verify refuse it",
            certificate.version().0 + 1
        ));
    }
    let validity = certificate.validity();
    if !validity.is_valid() {
        doubts.push(format!(
            "is valid from {} to {}, and not now: peers that verify refuse it",
            validity.not_before, validity.not_after
        ));
    }
    doubts
}

fn weak_key(certificate: &X509Certificate<'_>) -> Option<String> {
    let bits = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size(),
        Ok(PublicKey::DSA(_)) => {
            return Some("has a DSA key, which rustls does not know".to_owned());
        }
        _ => return None,
    };
    (bits < RSA_BITS_MIN)
        .then(|| format!("has an RSA key of {bits} bits; rustls takes none below {RSA_BITS_MIN}"))
}

fn weak_hash(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = &certificate.signature_algorithm.algorithm;
    if *algorithm == OID_PKCS1_MD5WITHRSAENC {
        Some("MD5")
    } else if *algorithm == OID_PKCS1_SHA1WITHRSA || algorithm.to_id_string() == ECDSA_WITH_SHA1 {
        Some("SHA-1")
    } else {
        None
    }
}
