//! The mechanisms built in here: PLAIN, SCRAM and EXTERNAL on rsasl, passwords from our users
//! file.

mod exchange;
mod lookup;
mod password;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use self::exchange::NativeExchange;
use super::pool::HashPool;
use super::{
    AuthFailure, Backend, BackendExchange, FailureReason, NoRandomness, Saslauthd, Security,
};
use crate::scram::ScramHash;
use crate::users::{Users, UsersFile};

/// Who may log in and how.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Where the verifiers are.
    pub users: Arc<UsersFile>,
    /// `sasl_mech_list`: the only mechanisms to offer, in this order; names we do not know are
    /// passed over. `None`: SCRAM, strongest first, then PLAIN.
    pub mechanisms: Option<Vec<String>>,
    /// `allowplaintext`: PLAIN without TLS, too.
    pub allow_plaintext: bool,
    /// `admins`: the only ones who succeed.
    pub admins: Vec<String>,
}

/// One way to verify a password that PLAIN brings (`sasl_pwcheck_method`).
#[derive(Debug, Clone)]
pub enum PasswordCheck {
    /// `auxprop`: by a verifier of the users file.
    UsersFile,
    /// `saslauthd`: by that daemon.
    Saslauthd(Saslauthd),
}

/// A mechanism that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Scram(ScramHash),
    External,
}

impl Mechanism {
    /// Without `sasl_mech_list`. EXTERNAL is not here: Cyrus offers it only when it is named.
    const DEFAULT: [Self; 4] = [
        Self::Scram(ScramHash::Sha512),
        Self::Scram(ScramHash::Sha256),
        Self::Scram(ScramHash::Sha1),
        Self::Plain,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(hash) => hash.mechanism(),
            Self::External => "EXTERNAL",
        }
    }

    /// By its name in upper case.
    fn named(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "EXTERNAL" => Some(Self::External),
            _ => ScramHash::of_mechanism(name).map(Self::Scram),
        }
    }
}

/// The backend of this crate.
pub(super) struct Native {
    shared: Arc<Shared>,
}

/// What all exchanges share.
struct Shared {
    users: Arc<UsersFile>,
    mechanisms: Vec<Mechanism>,
    allow_plaintext: bool,
    admins: HashSet<String>,
    checks: Vec<PasswordCheck>,
    pool: HashPool,
    /// Of this process alone: key of the remembered passwords, and of the salts for users that do
    /// not exist if the users file has no key for them.
    key: Zeroizing<[u8; 32]>,
}

impl Native {
    pub(super) fn new(
        config: AuthConfig,
        checks: Vec<PasswordCheck>,
    ) -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(key.as_mut_slice())
            .map_err(|_| NoRandomness)?;
        Ok(Self {
            shared: Arc::new(Shared {
                users: config.users,
                mechanisms: wanted(config.mechanisms.as_deref()),
                allow_plaintext: config.allow_plaintext,
                admins: config.admins.into_iter().collect(),
                checks,
                pool: HashPool::new(),
                key,
            }),
        })
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native")
            .field("mechanisms", &self.shared.mechanisms)
            .finish_non_exhaustive()
    }
}

/// The mechanisms of a list, each once, in its order.
fn wanted(list: Option<&[String]>) -> Vec<Mechanism> {
    let Some(list) = list else {
        return Mechanism::DEFAULT.to_vec();
    };
    let mut wanted = Vec::new();
    for mechanism in list
        .iter()
        .filter_map(|name| Mechanism::named(&name.to_ascii_uppercase()))
    {
        if !wanted.contains(&mechanism) {
            wanted.push(mechanism);
        }
    }
    wanted
}

impl Backend for Native {
    fn mechanisms(&self, security: &Security) -> Vec<String> {
        self.shared
            .mechanisms
            .iter()
            .filter(|mechanism| self.shared.is_offered(**mechanism, security))
            .map(|mechanism| mechanism.name().to_owned())
            .collect()
    }

    fn start(
        &self,
        mechanism: &str,
        security: &Security,
    ) -> Result<Box<dyn BackendExchange>, AuthFailure> {
        let mechanism =
            Mechanism::named(mechanism).ok_or_else(|| FailureReason::UnknownMechanism.unnamed())?;
        if !self.shared.mechanisms.contains(&mechanism)
            || !self.shared.is_offered(mechanism, security)
        {
            return Err(FailureReason::MechanismNotOffered.unnamed());
        }
        Ok(Box::new(NativeExchange::new(
            Arc::clone(&self.shared),
            mechanism,
            security.external.clone(),
        )))
    }
}

impl Shared {
    fn is_offered(&self, mechanism: Mechanism, security: &Security) -> bool {
        match mechanism {
            Mechanism::Plain => security.tls || self.allow_plaintext,
            Mechanism::Scram(_) => true,
            Mechanism::External => security.tls && security.external.is_some(),
        }
    }

    /// The users, after a look at the file if it is time for one.
    async fn users(&self) -> Arc<Users> {
        if self.users.is_due() {
            let file = Arc::clone(&self.users);
            // Should the thread be lost, the users are those of the last look.
            drop(spawn_blocking(move || file.refresh()).await);
        }
        self.users.current()
    }

    /// The last question: an admin?
    fn admit(&self, identity: String) -> Result<String, AuthFailure> {
        if self.admins.contains(&identity) {
            Ok(identity)
        } else {
            Err(FailureReason::NotAdmin.of(identity))
        }
    }
}
