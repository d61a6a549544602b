//! SCRAM (RFC 5802, RFC 7677) by a client that computes the salted password once and keeps it, as RFC 5802 section 5.1
//! allows. A bench logs in thousands of times on the processors of the server it measures; without this most of what it
//! measured would be its own PBKDF2, which in a murder is the backends' work.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2, rand::SecureRandom as _, rand::SystemRandom};
use transport::Secret;
use transport::sasl::{
    ClientBackend, ClientBackendExchange, ClientFuture, ClientSaslError, Security, SecurityLayer,
};

/// Log-ins of one account by one SCRAM mechanism.
pub struct CachedScram {
    algorithms: &'static Algorithms,
    user: String,
    password: Secret,
    salted: Mutex<Option<Salted>>,
}

struct Algorithms {
    mechanism: &'static str,
    pbkdf2: pbkdf2::Algorithm,
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
}

/// What a salt and a number of iterations make of the password.
#[derive(Clone)]
struct Salted {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    key: hmac::Key,
}

impl CachedScram {
    /// For a mechanism by its name, if it is one of those.
    pub fn of(mechanism: &str, user: &str, password: &Secret) -> Option<Arc<dyn ClientBackend>> {
        let algorithms = ALGORITHMS
            .iter()
            .find(|one| one.mechanism.eq_ignore_ascii_case(mechanism))?;
        Some(Arc::new(Shared(Arc::new(Self {
            algorithms,
            user: user.replace('=', "=3D").replace(',', "=2C"),
            password: password.clone(),
            salted: Mutex::new(None),
        }))))
    }

    fn salted(&self, salt: &[u8], iterations: NonZeroU32) -> hmac::Key {
        let mut kept = self.salted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept
            .as_ref()
            .filter(|kept| kept.salt == salt && kept.iterations == iterations)
        {
            return found.key.clone();
        }
        let mut octets = vec![0; self.algorithms.digest.output_len()];
        pbkdf2::derive(
            self.algorithms.pbkdf2,
            iterations,
            salt,
            self.password.expose(),
            &mut octets,
        );
        let key = hmac::Key::new(self.algorithms.hmac, &octets);
        *kept = Some(Salted {
            salt: salt.to_vec(),
            iterations,
            key: key.clone(),
        });
        key
    }
}

#[derive(Clone)]
struct Shared(Arc<CachedScram>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CachedScram")
            .field(&self.0.algorithms.mechanism)
            .finish()
    }
}

impl ClientBackend for Shared {
    fn begin<'a>(
        &'a self,
        offered: &'a [String],
        _host: &'a str,
        _security: Security,
    ) -> ClientFuture<'a, Box<dyn ClientBackendExchange>> {
        Box::pin(async move {
            let mechanism = self.0.algorithms.mechanism;
            if !offered
                .iter()
                .any(|one| one.eq_ignore_ascii_case(mechanism))
            {
                return Err(ClientSaslError::NoMechanism {
                    offered: offered.join(" "),
                });
            }
            let exchange: Box<dyn ClientBackendExchange> = Box::new(Exchange {
                scram: self.0.clone(),
                state: State::Start,
            });
            Ok(exchange)
        })
    }
}

struct Exchange {
    scram: Arc<CachedScram>,
    state: State,
}

enum State {
    Start,
    /// What we have said, without the header.
    First(String),
    /// What the server must prove.
    Final(String),
    Proven,
}

impl Exchange {
    fn malformed(&self) -> ClientSaslError {
        ClientSaslError::Malformed {
            mechanism: self.scram.algorithms.mechanism,
        }
    }

    fn proof(&mut self, bare: &str, challenge: &str) -> Option<String> {
        let nonce = attribute(challenge, "r=")?;
        let salt = STANDARD.decode(attribute(challenge, "s=")?).ok()?;
        let iterations: NonZeroU32 = attribute(challenge, "i=")?.parse().ok()?;
        if iterations.get() > ITERATIONS_MAX || !nonce.starts_with(attribute(bare, "r=")?) {
            return None;
        }
        let algorithms = self.scram.algorithms;
        let salted = self.scram.salted(&salt, iterations);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored = digest::digest(algorithms.digest, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{bare},{challenge},{without_proof}");
        let sign =
            |key: &[u8]| hmac::sign(&hmac::Key::new(algorithms.hmac, key), message.as_bytes());
        let signature = sign(stored.as_ref());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let expected = STANDARD.encode(sign(server_key.as_ref()));
        self.state = State::Final(format!("v={expected}"));
        Some(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }
}

impl ClientBackendExchange for Exchange {
    fn mechanism(&self) -> &str {
        self.scram.algorithms.mechanism
    }

    fn initial_response(&mut self) -> Result<Option<Vec<u8>>, ClientSaslError> {
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| self.malformed())?;
        let bare = format!("n={},r={}", self.scram.user, STANDARD.encode(nonce));
        let message = format!("n,,{bare}").into_bytes();
        self.state = State::First(bare);
        Ok(Some(message))
    }

    fn answer<'a>(&'a mut self, challenge: &'a [u8]) -> ClientFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let text = str::from_utf8(challenge).map_err(|_| self.malformed())?;
            match std::mem::replace(&mut self.state, State::Start) {
                State::First(bare) => {
                    let answer = self.proof(&bare, text).ok_or_else(|| self.malformed())?;
                    Ok(answer.into_bytes())
                }
                State::Final(expected) if expected == text => {
                    self.state = State::Proven;
                    Ok(Vec::new())
                }
                State::Final(_) => Err(ClientSaslError::ServerUnproven),
                State::Start | State::Proven => Err(ClientSaslError::UnexpectedChallenge),
            }
        })
    }

    fn finish(self: Box<Self>) -> Result<Option<Box<dyn SecurityLayer>>, ClientSaslError> {
        match self.state {
            State::Proven => Ok(None),
            _ => Err(ClientSaslError::ServerUnproven),
        }
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}

static ALGORITHMS: [Algorithms; 2] = [
    Algorithms {
        mechanism: "SCRAM-SHA-256",
        pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
        hmac: hmac::HMAC_SHA256,
        digest: &digest::SHA256,
    },
    Algorithms {
        mechanism: "SCRAM-SHA-1",
        pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
        hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
    },
];

const NONCE_BYTES: usize = 18;
/// More than any server of sound mind asks for.
const ITERATIONS_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 section 3.
    #[tokio::test]
    async fn the_example_of_the_rfc() {
        let scram = CachedScram {
            algorithms: &ALGORITHMS[0],
            user: "user".into(),
            password: Secret::from("pencil"),
            salted: Mutex::new(None),
        };
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned();
        let mut exchange = Exchange {
            scram: Arc::new(scram),
            state: State::First(bare),
        };
        let first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = exchange.answer(first).await.unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        let last = exchange
            .answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
            .await
            .unwrap();
        assert!(last.is_empty());
        assert!(Box::new(exchange).finish().is_ok());
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_the_password_is_found_out() {
        let backend = CachedScram::of("scram-sha-1", "a,b=c", &Secret::from("x")).unwrap();
        let offered = ["SCRAM-SHA-1".to_owned()];
        let mut exchange = backend
            .begin(&offered, "host", Security::default())
            .await
            .unwrap();
        let first = String::from_utf8(exchange.initial_response().unwrap().unwrap()).unwrap();
        let nonce = first.strip_prefix("n,,n=a=2Cb=3Dc,r=").unwrap();
        let challenge = format!("r={nonce}more,s=AAAA,i=4096");
        exchange.answer(challenge.as_bytes()).await.unwrap();
        let error = exchange.answer(b"v=AAAA").await.unwrap_err();
        assert!(matches!(error, ClientSaslError::ServerUnproven));
        assert!(exchange.finish().is_err());
    }
}
