//! The client's half of SCRAM (RFC 5802), with a fixed nonce, as the recorded transcripts have it.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use pbkdf2::pbkdf2_hmac_array;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// A hash function that SCRAM is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

/// What the client says last, and what the server must answer to it.
#[derive(Debug)]
pub struct Proof {
    /// The client-final-message.
    pub client_final: String,
    /// The server-final-message, `v=…`.
    pub server_final: String,
}

/// Computes the proof for a password from the first messages; `client_first` is without its `n,,`.
///
/// # Errors
///
/// When the server's message is not of the form `r=…,s=…,i=…` or does not carry on the client's nonce.
pub fn prove(hash: Hash, password: &str, client_first: &str, server_first: &str) -> Result<Proof> {
    let field = |text: &str, key: &str| -> Result<String> {
        let found = text
            .split(',')
            .find_map(|part| part.strip_prefix(key))
            .map(str::to_owned);
        found.with_context(|| format!("no {key} in {text}"))
    };
    let nonce = field(server_first, "r=")?;
    ensure!(
        nonce.starts_with(&field(client_first, "r=")?),
        "the server changed the nonce: {server_first}"
    );
    let salt = STANDARD.decode(field(server_first, "s=")?)?;
    let rounds = field(server_first, "i=")?.parse()?;
    let salted = hash.stretch(password, &salt, rounds);
    let bare = format!("c=biws,r={nonce}");
    let message = format!("{client_first},{server_first},{bare}");
    let client_key = hash.mac(&salted, b"Client Key")?;
    let signature = hash.mac(&hash.digest(&client_key), message.as_bytes())?;
    let proof: Vec<u8> = client_key
        .iter()
        .zip(&signature)
        .map(|(key, mask)| key ^ mask)
        .collect();
    let server_key = hash.mac(&salted, b"Server Key")?;
    Ok(Proof {
        client_final: format!("{bare},p={}", STANDARD.encode(proof)),
        server_final: format!(
            "v={}",
            STANDARD.encode(hash.mac(&server_key, message.as_bytes())?)
        ),
    })
}

impl Hash {
    fn stretch(self, password: &str, salt: &[u8], rounds: u32) -> Vec<u8> {
        match self {
            Self::Sha1 => pbkdf2_hmac_array::<Sha1, 20>(password.as_bytes(), salt, rounds).to_vec(),
            Self::Sha256 => {
                pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, rounds).to_vec()
            }
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
        }
    }

    fn mac(self, key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Sha1 => Hmac::<Sha1>::new_from_slice(key)?
                .chain_update(data)
                .finalize()
                .into_bytes()
                .to_vec(),
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key)?
                .chain_update(data)
                .finalize()
                .into_bytes()
                .to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn agrees_with_the_rfc() {
        let proof = prove(
            Hash::Sha256,
            "pencil",
            "n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        )
        .unwrap();
        assert!(
            proof
                .client_final
                .ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        );
        assert_eq!(
            proof.server_final,
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }
}
