//! One exchange with the built-in mechanisms.
//!
//! ```text
//!          None: empty challenge            SCRAM: proof right, final message as a challenge
//!   Start ──────────────────────► Asked ─┐                ┌──────────► Proven ── empty ──► done
//!     └────────── message ───────────────┴──► Running ────┤
//!                                                         └── PLAIN, EXTERNAL ──► done or failed
//! ```

use std::mem;
use std::sync::{Arc, OnceLock};

use rsasl::config::SASLConfig;
use rsasl::mechanisms::external::EXTERNAL;
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512};
use rsasl::prelude::Mechanism as RsaslMechanism;
use rsasl::prelude::{Mechname, Registry, SASLServer, Session, State as RsaslState};

use super::super::{AuthFailure, BackendExchange, FailureReason, SaslStep, StepFuture, guard};
use super::lookup::{Asked, Claimed, Lookup};
use super::{Mechanism, Shared};
use crate::users::Users;

static MECHANISMS: [RsaslMechanism; 5] = [PLAIN, SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512, EXTERNAL];

/// An exchange and how far it got.
pub(super) struct NativeExchange {
    shared: Arc<Shared>,
    mechanism: Mechanism,
    external: Option<String>,
    state: State,
}

enum State {
    /// Nothing has come yet.
    Start,
    /// An empty challenge is out, the first message is due.
    Asked,
    /// SCRAM: the server's first message is out.
    Running(Box<Running>),
    /// SCRAM: the server's final message is out, an empty answer is due.
    Proven(String),
    /// Done, failed or dropped half-way.
    Ended,
}

struct Running {
    session: Session<Claimed>,
    users: Arc<Users>,
    asked: Arc<OnceLock<Asked>>,
}

impl BackendExchange for NativeExchange {
    fn step<'a>(&'a mut self, input: Option<&'a [u8]>) -> StepFuture<'a> {
        Box::pin(async move { self.advance(input).await.unwrap_or_else(SaslStep::Failed) })
    }
}

impl NativeExchange {
    pub(super) fn new(shared: Arc<Shared>, mechanism: Mechanism, external: Option<String>) -> Self {
        Self {
            shared,
            mechanism,
            external,
            state: State::Start,
        }
    }

    async fn advance(&mut self, input: Option<&[u8]>) -> Result<SaslStep, AuthFailure> {
        let state = mem::replace(&mut self.state, State::Ended);
        match (state, input) {
            (State::Start, None) => {
                self.state = State::Asked;
                Ok(SaslStep::Challenge(Vec::new()))
            }
            (State::Start | State::Asked, Some(message)) => {
                if matches!(self.mechanism, Mechanism::Scram(_)) && !guard::is_client_first(message)
                {
                    return Err(FailureReason::Malformed.unnamed());
                }
                let running = self.begin().await?;
                self.feed(running, message).await
            }
            (State::Running(running), Some(message)) => {
                if !guard::is_attribute_list(message) {
                    return Err(FailureReason::Malformed.unnamed());
                }
                self.feed(running, message).await
            }
            (State::Proven(identity), Some([])) => Ok(done(identity)),
            (State::Proven(identity), _) => Err(FailureReason::OutOfTurn.of(identity)),
            (State::Asked | State::Running(_) | State::Ended, _) => {
                Err(FailureReason::OutOfTurn.unnamed())
            }
        }
    }

    /// Sets rsasl up, with the users as they are now.
    async fn begin(&self) -> Result<Box<Running>, AuthFailure> {
        let users = self.shared.users().await;
        let asked = Arc::new(OnceLock::new());
        let lookup = Lookup {
            users: Arc::clone(&users),
            decoy_key: self.shared.decoy_key(&users),
            hash: match self.mechanism {
                Mechanism::Scram(hash) => Some(hash),
                Mechanism::Plain | Mechanism::External => None,
            },
            asked: Arc::clone(&asked),
        };
        let internal = || FailureReason::Internal.unnamed();
        let name = Mechname::parse(self.mechanism.name().as_bytes()).map_err(|_| internal())?;
        let config = SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(&MECHANISMS))
            .with_callback(lookup)
            .map_err(|_| internal())?;
        let session = SASLServer::<Claimed>::new(config)
            .start_suggested(name)
            .map_err(|_| internal())?;
        Ok(Box::new(Running {
            session,
            users,
            asked,
        }))
    }

    /// Gives a message to rsasl and judges what comes of it.
    async fn feed(
        &mut self,
        mut running: Box<Running>,
        message: &[u8],
    ) -> Result<SaslStep, AuthFailure> {
        let mut output = Vec::new();
        let state = running
            .session
            .step(Some(message), &mut output)
            .map_err(|_| running.failure(FailureReason::Malformed))?;
        if state == RsaslState::Running {
            self.state = State::Running(running);
            return Ok(SaslStep::Challenge(output));
        }
        match self.mechanism {
            Mechanism::Scram(_) => {
                let identity = self.shared.admit(running.proven()?)?;
                self.state = State::Proven(identity);
                Ok(SaslStep::Challenge(output))
            }
            Mechanism::Plain => self.check_plain(running).await,
            Mechanism::External => {
                let identity = self
                    .external
                    .take()
                    .ok_or_else(|| FailureReason::MechanismNotOffered.unnamed())?;
                let identity = self.shared.admit(identity)?;
                Ok(done(identity))
            }
        }
    }

    async fn check_plain(&self, mut running: Box<Running>) -> Result<SaslStep, AuthFailure> {
        let claim = running
            .session
            .validation()
            .ok_or_else(|| FailureReason::Malformed.unnamed())?;
        self.shared
            .check(&running.users, &claim.user, &claim.password)
            .await
            .map_err(|reason| reason.of(claim.user.as_str()))?;
        let identity = self.shared.admit(claim.user)?;
        Ok(done(identity))
    }
}

/// None of the mechanisms here has a security layer.
fn done(identity: String) -> SaslStep {
    SaslStep::Done {
        identity,
        layer: None,
    }
}

impl Running {
    /// The user of a finished SCRAM exchange if the proof was right.
    fn proven(&mut self) -> Result<String, AuthFailure> {
        match (self.session.validation(), self.asked.get()) {
            (Some(_), Some(asked)) if asked.has_verifier => Ok(asked.user.clone()),
            (_, Some(asked)) if !asked.is_known => Err(self.failure(FailureReason::UnknownUser)),
            (_, Some(asked)) if !asked.has_verifier => Err(self.failure(FailureReason::NoVerifier)),
            (_, _) => Err(self.failure(FailureReason::WrongPassword)),
        }
    }

    fn failure(&self, reason: FailureReason) -> AuthFailure {
        AuthFailure {
            reason,
            identity: self.asked.get().map(|asked| asked.user.clone()),
        }
    }
}
