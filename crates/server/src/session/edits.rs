//! RESERVE, ACTIVATE, DEACTIVATE and DELETE (RFC 3656 sections 4.2, 4.3, 4.4, 4.9).

use std::sync::Arc;

use proto::codec::{Tag, encode};
use proto::session::{Request, Step};
use proto::{Edit, EditKind, Refusal};
use store::{Answer, Batch, EditError, Origin};
use tracing::{debug, info};

use super::{End, Session};

/// Edits that one session hands to the writer at once.
const BATCH_EDITS_MAX: usize = 256;

/// A wish's tag, and why it was refused if it was.
type Place = (Tag, Option<Refusal>);

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
        let (answers, admitted) = self.admit(wishes)?;
        let outcomes = self.commit(admitted).await?;
        let mut outcomes = outcomes.into_iter();
        for (tag, refused) in answers {
            let refusal = if refused.is_some() {
                refused
            } else {
                let outcome = outcomes
                    .next()
                    .ok_or(End::Internal("edit without an answer"))?;
                outcome.err()
            };
            self.answer_edit(&tag, refusal.as_ref());
        }
        Ok(())
    }

    /// Asks the role about each wish: the edits that may go to the writer, and the refusals of the
    /// others, each in its place.
    fn admit(
        &mut self,
        wishes: Vec<(Tag, Result<Edit, Refusal>)>,
    ) -> Result<(Vec<Place>, Vec<Edit>), End> {
        let version = self.shared.store.current();
        let role = Arc::clone(&self.shared.role);
        let asker = self.asker()?;
        let mut places = Vec::with_capacity(wishes.len());
        let mut admitted = Vec::with_capacity(wishes.len());
        for (tag, wish) in wishes {
            let admission = wish.and_then(|edit| {
                let current = version.find(&edit.mailbox);
                role.admit(asker, &edit, current.map(|found| found.entry.location()))?;
                Ok(edit)
            });
            let refused = admission.map(|edit| admitted.push(edit)).err();
            places.push((tag, refused));
        }
        Ok((places, admitted))
    }

    /// Has the writer carry out the edits, and waits until an OK may be said.
    async fn commit(&mut self, edits: Vec<Edit>) -> Result<Vec<Answer>, End> {
        if edits.is_empty() {
            return Ok(Vec::new());
        }
        let origin = self.asker()?.origin.clone();
        let audited = self.shared.config.audits.then(|| edits.clone());
        let batch = Batch {
            origin: origin.clone(),
            edits,
        };
        let answers = self.shared.store.edit(batch).await;
        let answers = answers.map_err(|error| match error {
            EditError::OutcomeUnknown => End::OutcomeUnknown,
            _ => End::Stopping,
        })?;
        for (edit, answer) in audited.iter().flatten().zip(&answers) {
            if answer.as_ref().is_ok_and(|committed| committed.changed) {
                audit(edit, &origin);
            }
        }
        let done = answers
            .iter()
            .flatten()
            .filter(|committed| committed.changed);
        let last = done.map(|committed| committed.sequence).max();
        if let Some(wait) = last.and_then(|sequence| self.shared.role.before_ok(sequence)) {
            wait.await;
        }
        Ok(answers)
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

/// One line a change, of the form that Cyrus's own lines of `auditlog` have.
fn audit(edit: &Edit, origin: &Origin) {
    let (what, location, acl) = match &edit.kind {
        EditKind::Activate { location, acl } => ("activate", Some(location), Some(acl)),
        EditKind::Reserve { location } => ("reserve", Some(location), None),
        EditKind::Deactivate { location } => ("deactivate", Some(location), None),
        EditKind::Delete => ("delete", None, None),
    };
    let location = location.map(ToString::to_string).unwrap_or_default();
    let acl = acl
        .map(|acl| acl.as_bytes().escape_ascii().to_string())
        .unwrap_or_default();
    info!(
        "auditlog: {what} sessionid=<{}> userid=<{}> mailbox=<{}> location=<{location}> acl=<{acl}>",
        origin.peer, origin.identity, edit.mailbox
    );
}
