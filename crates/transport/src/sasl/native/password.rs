//! Is this the password? Slowly the first time, in microseconds after that.

use std::num::NonZeroU32;
use std::sync::Arc;

use tracing::warn;
use zeroize::Zeroizing;

use super::super::FailureReason;
use super::super::Saslauthd;
use super::super::pool::PoolError;
use super::{PasswordCheck, Shared};
use crate::Secret;
use crate::scram::{ITERATIONS_DEFAULT, SALT_BYTES, ScramHash, Verifier};
use crate::users::{User, Users};

/// Which verifier checks a clear password: the one that is quickest on today's processors among
/// those that are not SHA-1, then what there is.
const PLAIN_PREFERENCE: [ScramHash; 3] = [ScramHash::Sha256, ScramHash::Sha512, ScramHash::Sha1];

impl Shared {
    /// Verifies a clear password in each of the ways there are, until one succeeds; else the last one's
    /// reason.
    pub(super) async fn check(
        &self,
        users: &Arc<Users>,
        name: &str,
        password: &Secret,
    ) -> Result<(), FailureReason> {
        let mut outcome = Err(FailureReason::NoVerifier);
        for check in &self.checks {
            outcome = match check {
                PasswordCheck::UsersFile => self.verify(users, name, password.clone()).await,
                PasswordCheck::Saslauthd(saslauthd) => ask(saslauthd, name, password).await,
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Verifies a clear password. A user who does not exist costs the same PBKDF2 as one who does.
    pub(super) async fn verify(
        &self,
        users: &Arc<Users>,
        name: &str,
        password: Secret,
    ) -> Result<(), FailureReason> {
        let mac = self.mac(name, &password);
        let user = users.user(name);
        // The comparison of two BLAKE3 hashes takes constant time.
        if user.and_then(User::remembered) == Some(mac) {
            return Ok(());
        }
        let known = user.and_then(|user| {
            PLAIN_PREFERENCE
                .into_iter()
                .find_map(|hash| user.verifier(hash))
        });
        let verifier = known.map_or_else(
            || decoy(&self.decoy_key(users), users, ScramHash::Sha256, name),
            Clone::clone,
        );
        let is_right = self
            .pool
            .run(move || verifier.matches(password.expose()))
            .await
            .map_err(|error| match error {
                PoolError::Full => FailureReason::Busy,
                PoolError::Lost => FailureReason::Internal,
            })?;
        match user {
            None => Err(FailureReason::UnknownUser),
            Some(_) if !is_right => Err(FailureReason::WrongPassword),
            Some(user) => {
                user.remember(mac);
                Ok(())
            }
        }
    }

    /// What is remembered of a verified password; without this process's key it is worth nothing.
    fn mac(&self, name: &str, password: &Secret) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(b"password");
        // A NUL is in neither, so nothing can move from one to the other.
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
        hasher.update(password.expose());
        hasher.finalize()
    }

    /// The key of the decoys: the file's, so that a salt does not change with a restart or from
    /// host to host, else this process's.
    pub(super) fn decoy_key(&self, users: &Users) -> Zeroizing<[u8; 32]> {
        users
            .salt_key
            .as_ref()
            .and_then(|key| key.expose().try_into().ok())
            .map_or_else(|| self.key.clone(), Zeroizing::new)
    }
}

async fn ask(saslauthd: &Saslauthd, name: &str, password: &Secret) -> Result<(), FailureReason> {
    match saslauthd.verify(name, password).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(FailureReason::WrongPassword),
        Err(cause) => {
            warn!(%cause, "saslauthd does not answer as it should");
            Err(FailureReason::Unavailable)
        }
    }
}

/// A verifier that looks like a real one, always the same for the same name, and that no password
/// matches.
pub(super) fn decoy(key: &[u8; 32], users: &Users, hash: ScramHash, name: &str) -> Verifier {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(b"decoy");
    hasher.update(hash.mechanism().as_bytes());
    hasher.update(b"\0");
    hasher.update(name.as_bytes());
    let mut octets = hasher.finalize_xof();
    let mut take = |count| {
        let mut taken = vec![0; count];
        octets.fill(&mut taken);
        taken
    };
    let fallback = NonZeroU32::new(ITERATIONS_DEFAULT).unwrap_or(NonZeroU32::MIN);
    Verifier {
        hash,
        iterations: users.usual_iterations(hash).unwrap_or(fallback),
        salt: take(SALT_BYTES),
        stored_key: Zeroizing::new(take(hash.key_bytes())),
        server_key: Zeroizing::new(take(hash.key_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::pool::HashPool;
    use super::super::{AuthConfig, Native};
    use super::*;
    use crate::users::{UsersFile, set_password};

    #[tokio::test]
    async fn a_remembered_password_needs_no_thread() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        set_password(&path, "ann", b"secret").unwrap();
        let file = UsersFile::load_checking(&path, Duration::ZERO).unwrap();
        let config = AuthConfig {
            users: Arc::new(file),
            mechanisms: None,
            allow_plaintext: true,
            admins: Vec::new(),
        };
        let native = Native::new(config, Vec::new()).unwrap();
        let mut shared = Arc::into_inner(native.shared).unwrap();
        let users = shared.users().await;
        let right = || Secret::from("secret");
        assert_eq!(shared.verify(&users, "ann", right()).await, Ok(()));
        shared.pool = HashPool::closed();
        assert_eq!(shared.verify(&users, "ann", right()).await, Ok(()));
        let refused = [("ann", "Secret"), ("bob", "secret"), ("", "annsecret")];
        for (name, password) in refused {
            let verdict = shared.verify(&users, name, Secret::from(password)).await;
            assert_eq!(verdict, Err(FailureReason::Busy), "{name} {password}");
        }
        // Another version of the file remembers nothing.
        set_password(&path, "bob", b"secret").unwrap();
        let users = shared.users().await;
        let verdict = shared.verify(&users, "ann", right()).await;
        assert_eq!(verdict, Err(FailureReason::Busy));
    }
}
