//! SASL as the client: the best mechanism of a banner, and its messages.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use ring::pbkdf2;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechanisms::external::EXTERNAL;
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::{Iterations, Salt, SaltedPassword};
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512};
use rsasl::prelude::Mechanism as RsaslMechanism;
use rsasl::prelude::{Mechname, Registry, SASLClient, Session, SessionError, State as RsaslState};
use rsasl::property::{AuthId, AuthzId, Password};
use stringprep::saslprep;
use thiserror::Error;

use super::{MESSAGE_BYTES_MAX, Security, SecurityLayer, guard};
use crate::Secret;
use crate::scram::ScramHash;

static MECHANISMS: [RsaslMechanism; 5] = [PLAIN, SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512, EXTERNAL];

/// Best first. EXTERNAL leads because it is only tried when the caller asks for it.
const PREFERENCE: [&str; 5] = [
    "EXTERNAL",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "PLAIN",
];

/// Who we are.
#[derive(Clone)]
pub struct Credentials {
    /// `mupdate_authname`: whose password it is. Not needed for EXTERNAL.
    pub authentication_id: String,
    /// `mupdate_username`: whom to act for; `None` and empty: the same.
    pub authorization_id: Option<String>,
    /// The password; `None`: only EXTERNAL can be used.
    pub password: Option<Secret>,
}

impl Credentials {
    /// A name and a password.
    pub fn new(authentication_id: impl Into<String>, password: Secret) -> Self {
        Self {
            authentication_id: authentication_id.into(),
            authorization_id: None,
            password: Some(password),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("authentication_id", &self.authentication_id)
            .field("authorization_id", &self.authorization_id)
            .finish_non_exhaustive()
    }
}

/// Which mechanisms may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPolicy {
    /// PLAIN may be used: TLS is on, or the operator does not mind, as Cyrus clients do not.
    pub plaintext: bool,
    /// EXTERNAL may be used: the TLS handshake offered our certificate.
    pub external: bool,
    /// `force_sasl_client_mech` and the like: only these, if set.
    pub only: Option<Vec<String>>,
}

/// Why a log-in cannot go on at our end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientSaslError {
    /// The server lists nothing that we can and may use.
    #[error("no usable mechanism among those the server offers ({offered})")]
    NoMechanism {
        /// The server's list, as it stands in the banner.
        offered: String,
    },
    /// The credentials do not fit the mechanism, or the library refuses them.
    #[error("{mechanism} cannot be used with these credentials")]
    Credentials {
        /// The mechanism.
        mechanism: &'static str,
    },
    /// The server's message breaks the rules of the mechanism.
    #[error("malformed {mechanism} message from the server")]
    Malformed {
        /// The mechanism.
        mechanism: &'static str,
    },
    /// Fewer PBKDF2 iterations than the standard allows, or more than we spend.
    #[error("server asks for an unacceptable number of iterations")]
    Iterations,
    /// A challenge when none was due.
    #[error("unexpected challenge from the server")]
    UnexpectedChallenge,
    /// The server does not know the password itself: it is not the server.
    #[error("server did not prove that it knows the password")]
    ServerUnproven,
    /// The system's SASL library refuses.
    #[error("SASL library: {text}")]
    Library {
        /// What it says.
        text: String,
    },
}

/// A client's step that may have to wait.
pub type ClientFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, ClientSaslError>> + Send + 'a>>;

/// A set of mechanisms for a client, with the credentials that they use.
pub trait ClientBackend: fmt::Debug + Send + Sync {
    /// Begins with the best mechanism among those `offered`, which may be none. `host` is the server's
    /// name as it was configured.
    fn begin<'a>(
        &'a self,
        offered: &'a [String],
        host: &'a str,
        security: Security,
    ) -> ClientFuture<'a, Box<dyn ClientBackendExchange>>;
}

/// One log-in of a [`ClientBackend`].
pub trait ClientBackendExchange: Send {
    /// The mechanism in use.
    fn mechanism(&self) -> &str;

    /// The message that goes with AUTHENTICATE; `None`: the server speaks first. To be asked once.
    fn initial_response(&mut self) -> Result<Option<Vec<u8>>, ClientSaslError>;

    /// The answer to a challenge; empty after the server's last message.
    fn answer<'a>(&'a mut self, challenge: &'a [u8]) -> ClientFuture<'a, Vec<u8>>;

    /// After the server's OK: whether it may be believed, and what lies over the connection from behind
    /// the line that says so.
    fn finish(self: Box<Self>) -> Result<Option<Box<dyn SecurityLayer>>, ClientSaslError>;
}

impl ClientBackendExchange for ClientExchange {
    fn mechanism(&self) -> &str {
        self.mechanism
    }

    fn initial_response(&mut self) -> Result<Option<Vec<u8>>, ClientSaslError> {
        Self::initial_response(self).map(Some)
    }

    fn answer<'a>(&'a mut self, challenge: &'a [u8]) -> ClientFuture<'a, Vec<u8>> {
        Box::pin(async move { Self::answer(self, challenge) })
    }

    fn finish(self: Box<Self>) -> Result<Option<Box<dyn SecurityLayer>>, ClientSaslError> {
        self.confirm().map(|()| None)
    }
}

/// One log-in, without input or output: messages in, messages out, all of them raw octets.
///
/// Use: [`choose`](Self::choose); send [`mechanism`](Self::mechanism) with
/// [`initial_response`](Self::initial_response); for each challenge send
/// [`answer`](Self::answer); at the server's OK ask [`confirm`](Self::confirm).
pub struct ClientExchange {
    session: Session,
    mechanism: &'static str,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// SCRAM: the server's first message is due.
    ServerFirst,
    /// SCRAM: the server's final message is due.
    ServerFinal,
    /// Nothing more is due.
    Finished,
    /// An error ended it.
    Broken,
}

impl ClientExchange {
    /// The best mechanism among those `offered` (names in any case), ready to start.
    pub fn choose<'a>(
        offered: impl IntoIterator<Item = &'a str>,
        credentials: &Credentials,
        policy: &ClientPolicy,
    ) -> Result<Self, ClientSaslError> {
        let offered: Vec<&str> = offered.into_iter().collect();
        let mechanism = PREFERENCE
            .into_iter()
            .filter(|name| offered.iter().any(|one| one.eq_ignore_ascii_case(name)))
            .find(|name| policy.permits(name, credentials))
            .ok_or_else(|| ClientSaslError::NoMechanism {
                offered: offered.join(" "),
            })?;
        Self::start(mechanism, credentials)
    }

    fn start(mechanism: &'static str, credentials: &Credentials) -> Result<Self, ClientSaslError> {
        let unusable = || ClientSaslError::Credentials { mechanism };
        let name = Mechname::parse(mechanism.as_bytes()).map_err(|_| unusable())?;
        let config: Arc<SASLConfig> = SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(&MECHANISMS))
            .with_callback(Answers::new(mechanism, credentials))
            .map_err(|_| unusable())?;
        let session = SASLClient::new(config)
            .start_suggested(&[name])
            .map_err(|_| unusable())?;
        Ok(Self {
            session,
            mechanism,
            state: State::Start,
        })
    }

    /// The mechanism in use.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// The message that goes with AUTHENTICATE. Every mechanism here has one; that of EXTERNAL may
    /// be empty.
    pub fn initial_response(&mut self) -> Result<Vec<u8>, ClientSaslError> {
        if self.state != State::Start {
            return Err(ClientSaslError::UnexpectedChallenge);
        }
        self.state = State::Broken;
        let mut output = Vec::new();
        let state =
            self.session
                .step(None, &mut output)
                .map_err(|_| ClientSaslError::Credentials {
                    mechanism: self.mechanism,
                })?;
        self.state = if state == RsaslState::Running {
            State::ServerFirst
        } else {
            State::Finished
        };
        Ok(output)
    }

    /// The answer to a challenge; empty after the server's last message. Computes PBKDF2 once:
    /// some milliseconds.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientSaslError> {
        let malformed = ClientSaslError::Malformed {
            mechanism: self.mechanism,
        };
        let (error, next) = match self.state {
            State::ServerFirst => (malformed, State::ServerFinal),
            State::ServerFinal => (ClientSaslError::ServerUnproven, State::Finished),
            State::Start | State::Finished | State::Broken => {
                return Err(ClientSaslError::UnexpectedChallenge);
            }
        };
        self.state = State::Broken;
        if challenge.len() > MESSAGE_BYTES_MAX || !guard::is_attribute_list(challenge) {
            return Err(error);
        }
        if next == State::ServerFinal && !guard::has_fair_iterations(challenge) {
            return Err(ClientSaslError::Iterations);
        }
        let mut output = Vec::new();
        match self.session.step(Some(challenge), &mut output) {
            Ok(_) => {
                self.state = next;
                Ok(output)
            }
            Err(_) => Err(error),
        }
    }

    /// Whether the server's OK may be believed: with SCRAM the server must have proved that it
    /// knows the password, too.
    pub fn confirm(&self) -> Result<(), ClientSaslError> {
        if self.state == State::Finished {
            Ok(())
        } else {
            Err(ClientSaslError::ServerUnproven)
        }
    }
}

impl fmt::Debug for ClientExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientExchange")
            .field("mechanism", &self.mechanism)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl ClientPolicy {
    /// Every mechanism except EXTERNAL.
    pub fn password() -> Self {
        Self {
            plaintext: true,
            external: false,
            only: None,
        }
    }

    fn permits(&self, mechanism: &str, credentials: &Credentials) -> bool {
        let is_listed = self
            .only
            .as_ref()
            .is_none_or(|only| only.iter().any(|one| one.eq_ignore_ascii_case(mechanism)));
        is_listed
            && match mechanism {
                "EXTERNAL" => self.external,
                "PLAIN" => self.plaintext && credentials.password.is_some(),
                _ => credentials.password.is_some(),
            }
    }
}

/// What rsasl asks for.
struct Answers {
    authentication_id: String,
    authorization_id: Option<String>,
    password: Option<Secret>,
    hash: Option<ScramHash>,
}

impl Answers {
    fn new(mechanism: &str, credentials: &Credentials) -> Self {
        let hash = ScramHash::of_mechanism(mechanism);
        let password = credentials.password.as_ref().map(|password| {
            // RFC 5802 section 2.2; PLAIN leaves the preparation to the server (RFC 4616).
            str::from_utf8(password.expose())
                .ok()
                .filter(|_| hash.is_some())
                .and_then(|text| saslprep(text).ok())
                .map_or_else(|| password.clone(), |prepared| Secret::from(&*prepared))
        });
        Self {
            authentication_id: credentials.authentication_id.clone(),
            authorization_id: credentials
                .authorization_id
                .clone()
                .filter(|name| !name.is_empty()),
            password,
            hash,
        }
    }

    /// PBKDF2 by ring, several times as fast as rsasl's own.
    fn salted_password(&self, context: &Context<'_>) -> Option<Secret> {
        let salt = context.get_ref::<Salt>()?;
        let iterations = (*context.get_ref::<Iterations>()?).try_into().ok()?;
        let hash = self.hash?;
        let mut salted = vec![0; hash.key_bytes()];
        let password = self.password.as_ref()?.expose();
        pbkdf2::derive(hash.pbkdf2(), iterations, salt, password, &mut salted);
        Some(Secret::new(salted))
    }
}

impl SessionCallback for Answers {
    fn callback(
        &self,
        _session: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        if request.is::<SaltedPassword>() {
            if let Some(salted) = self.salted_password(context) {
                request.satisfy::<SaltedPassword>(salted.expose())?;
            }
            return Ok(());
        }
        request.satisfy::<AuthId>(&self.authentication_id)?;
        if let Some(name) = &self.authorization_id {
            request.satisfy::<AuthzId>(name)?;
        }
        if let Some(password) = &self.password {
            request.satisfy::<Password>(password.expose())?;
        }
        Ok(())
    }
}
