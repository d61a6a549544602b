//! What makes a group, or a segment, of its own.

use std::sync::Arc;

use proto::{MailboxName, Refusal};
use tracing::warn;

use crate::digest::Digester;
use crate::draft::{Draft, Judge};
use crate::error::EditError;
use crate::ids::Token;
use crate::log::record::Stamp;
use crate::rules::Batch;
use crate::store::Health;
use crate::writer::{Reply, Writer};
use crate::{Followed, Following, Lineage, Mismatch, Origin, Version};

/// What makes a group, or a segment, of its own, so that it is done as a whole or not at all.
pub(crate) enum Alone {
    /// A fork.
    NewEpoch {
        reply: Reply<Result<Arc<Version>, Refusal>>,
    },
    /// Lines of a master that tells its history.
    Follow {
        batch: Batch,
        reached: Option<Following>,
        reply: Reply<Result<Followed, Mismatch>>,
    },
    /// Lines of such a master that list what there is. Answered with the number of changes.
    FollowListing { batch: Batch, reply: Reply<usize> },
    /// The end of following one.
    Unfollow { origin: Origin, reply: Reply<()> },
    /// The directory is the store's own from here on.
    RenewToken { reply: Reply<()> },
    /// A list that is empty is about to have so many entries.
    Expect { entries: u64, reply: Reply<()> },
    /// Another key for the digests.
    Adopt { key: [u8; 32], reply: Reply<()> },
    /// Entries that wait for an operator's word to go.
    Hold {
        origin: Origin,
        names: Vec<MailboxName>,
        reply: Reply<()>,
    },
    /// That word, for at most so many of them. Answered with the number of those left.
    Settle {
        origin: Origin,
        keep: bool,
        names_max: usize,
        reply: Reply<usize>,
    },
}

impl Writer {
    pub(super) fn carry_out(&mut self, alone: Alone) {
        // Nobody waits any more when a session has ended; what was done stands.
        match alone {
            Alone::NewEpoch { reply } => {
                let lineage = self.version.lineage.forked(self.version.sequence);
                let rolled = self.continue_as(lineage);
                let answer = rolled.map(|()| Arc::clone(&self.version));
                drop(reply.send(Ok(answer.map_err(|_| Refusal::Storage))));
            }
            Alone::Follow {
                batch,
                reached,
                reply,
            } => drop(reply.send(self.follow(batch, reached.as_ref()))),
            Alone::FollowListing { batch, reply } => {
                let changes = self.follow_listing(batch);
                reply.send(changes).ok();
            }
            Alone::Unfollow { origin, reply } => {
                let done = self.alone(origin, |draft, _, stamp| draft.unfollow(stamp));
                reply.send(done).ok();
            }
            Alone::RenewToken { reply } => {
                let renewed = self.renew_token();
                reply.send(renewed).ok();
            }
            Alone::Expect { entries, reply } => {
                let mut version = Version::clone(&self.version);
                version.expect(entries);
                self.show(version);
                reply.send(Ok(())).ok();
            }
            Alone::Adopt { key, reply } => {
                let adopted = self.adopt(key);
                reply.send(adopted).ok();
            }
            Alone::Hold {
                origin,
                names,
                reply,
            } => {
                let done = self.alone(origin, |draft, judge, stamp| {
                    for name in &names {
                        draft.hold(judge, stamp, name);
                    }
                });
                reply.send(done).ok();
            }
            Alone::Settle {
                origin,
                keep,
                names_max,
                reply,
            } => drop(reply.send(self.settle(origin, keep, names_max))),
        }
    }

    fn settle(&mut self, origin: Origin, keep: bool, names_max: usize) -> Result<usize, EditError> {
        let names: Vec<MailboxName> = self.version.held_names().take(names_max).cloned().collect();
        self.alone(origin, |draft, judge, stamp| {
            for name in &names {
                draft.settle(judge, stamp, name, keep);
            }
        })?;
        Ok(self.version.held())
    }

    fn follow(
        &mut self,
        batch: Batch,
        reached: Option<&Following>,
    ) -> Result<Result<Followed, Mismatch>, EditError> {
        let (mut draft, stamp) = self.begin(batch.origin)?;
        let bytes = self.config.group_bytes;
        for edit in batch.edits {
            draft.follow(&mut self.judge, &stamp, edit);
            draft.seal_at(bytes);
        }
        if let Some(reached) = reached {
            let found = draft.version.sum();
            if let Some(expected) = reached.expected.filter(|expected| *expected != found) {
                return Ok(Err(Mismatch { found, expected }));
            }
            draft.reach(&stamp, reached);
        }
        let len = self.commit(draft)?;
        self.after_group(len);
        Ok(Ok(Followed {
            sequence: self.version.sequence,
            exact: self.version.is_exact(),
        }))
    }

    fn follow_listing(&mut self, batch: Batch) -> Result<usize, EditError> {
        let (mut draft, stamp) = self.begin(batch.origin)?;
        let bytes = self.config.group_bytes;
        let mut changes = 0;
        for edit in batch.edits {
            changes += usize::from(draft.follow_listing(&mut self.judge, &stamp, edit));
            draft.seal_at(bytes);
        }
        let len = self.commit(draft)?;
        self.after_group(len);
        Ok(changes)
    }

    fn adopt(&mut self, key: [u8; 32]) -> Result<(), EditError> {
        if *self.version.lineage.key() == key {
            return Ok(());
        }
        let lineage = self.version.lineage.with_key(key);
        self.continue_as(lineage)
    }

    fn renew_token(&mut self) -> Result<(), EditError> {
        let token = Token::random();
        self.continue_as(self.version.lineage.with_token(token))?;
        // Should this fail, the store passes for a copy at the next start, too.
        self.log.write_token(token).map_err(|cause| {
            warn!(%cause, "token of the store can't be written");
            EditError::Refused
        })
    }

    fn begin(&self, origin: Origin) -> Result<(Draft, Stamp), EditError> {
        if self.shared.health() == Health::Failed {
            return Err(EditError::Refused);
        }
        let time = (self.config.clock)();
        Ok((Draft::new(&self.version), Stamp { time, origin }))
    }

    fn alone(
        &mut self,
        origin: Origin,
        decide: impl FnOnce(&mut Draft, &mut Judge, &Stamp),
    ) -> Result<(), EditError> {
        let (mut draft, stamp) = self.begin(origin)?;
        decide(&mut draft, &mut self.judge, &stamp);
        let len = self.commit(draft)?;
        self.after_group(len);
        Ok(())
    }

    /// Goes on in a new segment, under another lineage.
    fn continue_as(&mut self, lineage: Lineage) -> Result<(), EditError> {
        if self.shared.health() == Health::Failed {
            return Err(EditError::Refused);
        }
        let mut version = self.version.under(&Arc::new(lineage));
        match self.log.roll(&version) {
            Ok(end) => {
                version.log = end;
                self.judge.digester = Digester::new(&version.lineage);
                self.publish(version);
                Ok(())
            }
            Err(cause) => {
                warn!(%cause, "log segment of another lineage can't be created");
                Err(EditError::Refused)
            }
        }
    }
}
