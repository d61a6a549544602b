//! RESERVE, ACTIVATE, DEACTIVATE and DELETE (RFC 3656 sections 4.2, 4.3, 4.4, 4.9).

use proto::codec::{Tag, encode};
use proto::session::{Request, Step};
use proto::{Edit, Refusal};
use store::{Batch, EditError};
use tracing::debug;

use super::{End, Session};

/// Edits that one session hands to the writer at once.
const BATCH_EDITS_MAX: usize = 256;

impl Session {
    /// Carries out this edit and those pipelined right behind it as one batch, so that a peer that
    /// pipelines pays for one fsync, not for one each.
    pub(super) async fn edit(&mut self, tag: Tag, edit: Result<Edit, Refusal>) -> Result<(), End> {
        let mut wishes = vec![(tag, edit)];
        let mut after = None;
        while wishes.len() < BATCH_EDITS_MAX {
            match self.protocol.next() {
                Step::Request(Request::Edit { tag, edit }) => wishes.push((tag, edit)),
                other => {
                    after = Some(other);
                    break;
                }
            }
        }
        self.edit_all(wishes).await?;
        match after {
            Some(step) => Box::pin(self.carry_out(step)).await,
            None => Ok(()),
        }
    }

    async fn edit_all(&mut self, wishes: Vec<(Tag, Result<Edit, Refusal>)>) -> Result<(), End> {
        let version = self.shared.store.current();
        let role = std::sync::Arc::clone(&self.shared.role);
        let asker = self.asker()?;
        let mut answers: Vec<(Tag, Option<Refusal>)> = Vec::with_capacity(wishes.len());
        let mut admitted = Vec::with_capacity(wishes.len());
        for (tag, wish) in wishes {
            let admission = wish.and_then(|edit| {
                role.admit(asker, &edit, version.get(&edit.mailbox))?;
                Ok(edit)
            });
            match admission {
                Ok(edit) => {
                    admitted.push(edit);
                    answers.push((tag, None));
                }
                Err(refusal) => answers.push((tag, Some(refusal))),
            }
        }
        let outcomes = if admitted.is_empty() {
            Vec::new()
        } else {
            let batch = Batch {
                origin: asker.origin.clone(),
                edits: admitted,
            };
            self.shared
                .store
                .edit(batch)
                .await
                .map_err(|error| match error {
                    EditError::OutcomeUnknown => End::OutcomeUnknown,
                    _ => End::Stopping,
                })?
        };
        let mut outcomes = outcomes.into_iter();
        for (tag, refused) in answers {
            let refusal = match refused {
                Some(refusal) => Some(refusal),
                None => outcomes
                    .next()
                    .ok_or(End::Internal("edit without an answer"))?
                    .err(),
            };
            self.answer_edit(&tag, refusal.as_ref());
        }
        Ok(())
    }

    fn answer_edit(&mut self, tag: &Tag, refusal: Option<&Refusal>) {
        match refusal {
            None => encode::ok(self.wire.tail(), tag, "done"),
            Some(refusal) => {
                debug!(%refusal, "edit refused");
                encode::no(self.wire.tail(), tag, &refusal.to_string());
            }
        }
    }
}
