//! SCRAM verifiers (RFC 5802 section 3): what a server keeps instead of a password.

use std::fmt;
use std::num::NonZeroU32;

use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Iterations for new verifiers. The least that RFC 5802 and RFC 7677 allow: Cyrus clients compute
/// PBKDF2 anew for each log-in, and a backend logs in for each single edit.
pub const ITERATIONS_DEFAULT: u32 = 4096;

/// The fewest iterations accepted from a users file or a server.
pub const ITERATIONS_MIN: u32 = 4096;

/// The most iterations accepted from a users file or a server, so that neither can stop us for
/// long.
pub const ITERATIONS_MAX: u32 = 262_144;

/// Octets of a new salt.
pub const SALT_BYTES: usize = 16;

/// The hash functions of the SCRAM mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    /// All of them, weakest first.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The SASL mechanism that uses it.
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The hash of a mechanism, by its exact upper case name.
    pub fn of_mechanism(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.mechanism() == name)
    }

    /// Octets of `StoredKey` and `ServerKey`.
    pub fn key_bytes(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    pub(crate) fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// Salt, iterations, `StoredKey` and `ServerKey` of one user for one mechanism.
#[derive(Clone)]
pub struct Verifier {
    pub(crate) hash: ScramHash,
    pub(crate) iterations: NonZeroU32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Zeroizing<Vec<u8>>,
    pub(crate) server_key: Zeroizing<Vec<u8>>,
}

impl Verifier {
    /// Computes a verifier. Takes milliseconds (PBKDF2): not for a thread that serves others.
    pub fn derive(hash: ScramHash, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new(vec![0; hash.key_bytes()]);
        pbkdf2::derive(hash.pbkdf2(), iterations, salt, password, &mut salted);
        let key = hmac::Key::new(hash.hmac(), &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        Self {
            hash,
            iterations,
            salt: salt.to_vec(),
            stored_key: Zeroizing::new(
                digest::digest(hash.digest(), client_key.as_ref())
                    .as_ref()
                    .to_vec(),
            ),
            server_key: Zeroizing::new(hmac::sign(&key, b"Server Key").as_ref().to_vec()),
        }
    }

    /// Whether `password` is the one it was derived from. As slow as [`derive`](Self::derive),
    /// and as long for a wrong password as for the right one.
    pub fn matches(&self, password: &[u8]) -> bool {
        let other = Self::derive(self.hash, password, &self.salt, self.iterations);
        bool::from(self.stored_key.ct_eq(&other.stored_key))
    }

    /// Its hash function.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }

    /// Its iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The server signature over `message` (RFC 5802 section 3).
    fn server_signature(verifier: &Verifier, message: &str) -> String {
        let key = hmac::Key::new(verifier.hash.hmac(), &verifier.server_key);
        STANDARD.encode(hmac::sign(&key, message.as_bytes()))
    }

    /// Whether `proof` belongs to `StoredKey` over `message`.
    fn proof_fits(verifier: &Verifier, message: &str, proof: &str) -> bool {
        let key = hmac::Key::new(verifier.hash.hmac(), &verifier.stored_key);
        let signature = hmac::sign(&key, message.as_bytes());
        let client_key: Vec<u8> = STANDARD
            .decode(proof)
            .unwrap()
            .iter()
            .zip(signature.as_ref())
            .map(|(left, right)| left ^ right)
            .collect();
        digest::digest(verifier.hash.digest(), &client_key).as_ref()
            == verifier.stored_key.as_slice()
    }

    fn derived(hash: ScramHash, salt: &str) -> Verifier {
        let salt = STANDARD.decode(salt).unwrap();
        Verifier::derive(hash, b"pencil", &salt, NonZeroU32::new(4096).unwrap())
    }

    #[test]
    fn rfc_5802_example() {
        let verifier = derived(ScramHash::Sha1, "QSXCR+Q6sek8bf92");
        let message = "n=user,r=fyko+d2lbbFgONRv9qkxdawL,\
            r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,\
            c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
        assert_eq!(
            server_signature(&verifier, message),
            "rmF9pqV8S7suAoZWja4dJRkFsKQ="
        );
        assert!(proof_fits(
            &verifier,
            message,
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        ));
    }

    #[test]
    fn rfc_7677_example() {
        let verifier = derived(ScramHash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        assert_eq!(
            server_signature(&verifier, message),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert!(proof_fits(
            &verifier,
            message,
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        ));
    }

    #[test]
    fn only_the_password_matches() {
        for hash in ScramHash::ALL {
            let verifier = derived(hash, "QSXCR+Q6sek8bf92");
            assert!(verifier.matches(b"pencil"), "{hash:?}");
            assert!(!verifier.matches(b"pencil "), "{hash:?}");
            assert_eq!(verifier.stored_key.len(), hash.key_bytes());
        }
    }

    #[test]
    fn debug_hides_the_keys() {
        let shown = format!("{:?}", derived(ScramHash::Sha1, "QSXCR+Q6sek8bf92"));
        assert_eq!(shown, "Verifier { hash: Sha1, iterations: 4096, .. }");
    }
}
