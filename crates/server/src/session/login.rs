//! AUTHENTICATE (RFC 3656 section 4.1): the exchange with the SASL mechanism.

use std::sync::Arc;

use proto::codec::{BadBase64, Tag, encode, encode_sasl_line};
use proto::session::SaslAnswer;
use store::Origin;
use tokio::time::sleep;
use tracing::{Span, info};
use transport::sasl::{AuthFailure, Exchange as Mechanism, FailureReason, SaslStep, SecurityLayer};

use super::{End, Session};
use crate::role::Asker;
use crate::status::SessionState;

/// What every failed log-in is told, whatever the reason (Cyrus 3.6 says "undefined error!").
const FAILED: &str = "authentication failure";

/// A log-in that is under way.
pub(super) struct Exchange {
    tag: Tag,
    mechanism: Mechanism,
}

impl Session {
    pub(super) async fn begin_login(
        &mut self,
        tag: Tag,
        mechanism: &[u8],
        initial: Option<Result<Vec<u8>, BadBase64>>,
    ) -> Result<(), End> {
        let started = self.shared.authenticator.start(mechanism, &self.security);
        let exchange = match started {
            Ok(mechanism) => Exchange { tag, mechanism },
            Err(failure) => return self.login_failed(&tag, &failure).await,
        };
        match initial {
            None => self.step_login(exchange, None).await,
            Some(Ok(data)) => self.step_login(exchange, Some(&data)).await,
            Some(Err(BadBase64)) => {
                self.login_failed(&exchange.tag, &FailureReason::Malformed.unnamed())
                    .await
            }
        }
    }

    pub(super) async fn continue_login(&mut self, answer: SaslAnswer) -> Result<(), End> {
        let Some(exchange) = self.exchange.take() else {
            return Err(End::Internal("answer without a log-in"));
        };
        match answer {
            SaslAnswer::Data(data) => self.step_login(exchange, Some(&data)).await,
            SaslAnswer::BadBase64 => {
                self.login_failed(&exchange.tag, &FailureReason::Malformed.unnamed())
                    .await
            }
            SaslAnswer::Cancelled => {
                self.protocol.authentication_ended();
                encode::no_bare(
                    self.wire.tail(),
                    &exchange.tag,
                    "Client canceled authentication",
                );
                Ok(())
            }
        }
    }

    async fn step_login(
        &mut self,
        mut exchange: Exchange,
        input: Option<&[u8]>,
    ) -> Result<(), End> {
        match exchange.mechanism.step(input).await {
            SaslStep::Challenge(challenge) => {
                encode_sasl_line(self.wire.tail(), &challenge);
                self.exchange = Some(exchange);
                self.protocol.expect_sasl_answer();
                Ok(())
            }
            SaslStep::Done { identity, layer } => {
                let transcripts = self.shared.config.transcripts.as_ref();
                let transcript = transcripts.and_then(|transcripts| transcripts.of(&identity));
                self.logged_in(&exchange.tag, identity.into());
                self.wire.flush().await?;
                if let Some(layer) = layer {
                    self.secure(layer).await?;
                }
                if let Some(transcript) = transcript {
                    self.wire.keep(transcript);
                }
                Ok(())
            }
            SaslStep::Failed(failure) => self.login_failed(&exchange.tag, &failure).await,
        }
    }

    fn logged_in(&mut self, tag: &Tag, identity: Arc<str>) {
        Span::current().record("user", &*identity);
        info!(tls = self.security.tls, "logged in");
        let origin = Origin {
            identity: Arc::clone(&identity),
            peer: self.registered.peer().to_string().into(),
        };
        self.asker = Some(Asker::new(origin));
        self.registered.set(SessionState::LoggedIn { identity });
        self.protocol.authenticated();
        encode::ok(self.wire.tail(), tag, "Authenticated");
    }

    /// From behind the line with OK, which has left, everything goes through the mechanism's security layer.
    async fn secure(&mut self, layer: Box<dyn SecurityLayer>) -> Result<(), End> {
        let received = self.protocol.take_buffer();
        self.wire
            .upgrade(async |stream| stream.secure(layer, &received))
            .await?;
        Ok(())
    }

    /// Pauses, then says NO; the connection stays open for a few more tries, as with Cyrus.
    async fn login_failed(&mut self, tag: &Tag, failure: &AuthFailure) -> Result<(), End> {
        self.failed_logins += 1;
        info!(reason = %failure.reason, identity = failure.identity, attempt = self.failed_logins, "log-in failed");
        self.protocol.authentication_ended();
        self.wire.flush().await?;
        tokio::select! {
            () = sleep(self.shared.config.failed_login_pause) => {}
            () = self.shared.stop.cancelled() => return Err(End::Stopping),
        }
        encode::no(self.wire.tail(), tag, FAILED);
        if self.failed_logins >= self.shared.config.failed_logins_max {
            return Err(End::FailedLogins);
        }
        Ok(())
    }
}
