//! What rsasl asks while an exchange runs: a verifier, and what to make of the outcome.

use std::sync::{Arc, OnceLock};

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::prelude::{SessionError, Validation};
use rsasl::property::{AuthId, Password};
use rsasl::validate::{Validate, ValidationError};
use stringprep::saslprep;
use zeroize::Zeroizing;

use super::super::guard::unescape;
use super::password::decoy;
use crate::Secret;
use crate::scram::{ScramHash, Verifier};
use crate::users::Users;

/// What PLAIN hands over: a claim still to be verified. For the other mechanisms the claim is
/// there if the proof was right, and says nothing more.
pub(super) struct Claim {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// Ties [`Claim`] to rsasl's sessions.
pub(super) struct Claimed;

impl Validation for Claimed {
    type Value = Claim;
}

/// Whom SCRAM asked for.
pub(super) struct Asked {
    pub(super) user: String,
    pub(super) is_known: bool,
    pub(super) has_verifier: bool,
}

/// Answers for one exchange, from one version of the users.
pub(super) struct Lookup {
    pub(super) users: Arc<Users>,
    /// For users who do not exist.
    pub(super) decoy_key: Zeroizing<[u8; 32]>,
    pub(super) hash: Option<ScramHash>,
    pub(super) asked: Arc<OnceLock<Asked>>,
}

impl Lookup {
    /// The verifier of a user; a decoy if there is none, so that the exchange takes its course and
    /// ends like one with a wrong password.
    fn verifier(&self, hash: ScramHash, escaped: &str) -> Verifier {
        let name = unescape(escaped).unwrap_or_else(|| escaped.to_owned());
        let name = saslprep(&name).map_or_else(|_| name.clone(), String::from);
        let user = self.users.user(&name);
        let verifier = user.and_then(|user| user.verifier(hash));
        let asked = Asked {
            is_known: user.is_some(),
            has_verifier: verifier.is_some(),
            user: name.clone(),
        };
        // rsasl asks once for each exchange; were it to ask again, the first question counts.
        self.asked.get_or_init(|| asked);
        verifier.map_or_else(
            || decoy(&self.decoy_key, &self.users, hash, &name),
            Clone::clone,
        )
    }
}

impl SessionCallback for Lookup {
    fn callback(
        &self,
        _session: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let (Some(hash), Some(user)) = (self.hash, context.get_ref::<AuthId>()) else {
            return Ok(());
        };
        if request.is::<ScramStoredPassword<'static>>() {
            let verifier = self.verifier(hash, user);
            request.satisfy::<ScramStoredPassword<'static>>(&ScramStoredPassword::new(
                verifier.iterations(),
                &verifier.salt,
                &verifier.stored_key,
                &verifier.server_key,
            ))?;
        }
        Ok(())
    }

    fn validate(
        &self,
        _session: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        validate.finalize::<Claimed>(Claim {
            user: context.get_ref::<AuthId>().unwrap_or_default().to_owned(),
            password: Secret::new(context.get_ref::<Password>().unwrap_or_default().to_vec()),
        });
        Ok(())
    }
}
