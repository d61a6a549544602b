//! What a slave asks of its store, and what ends its being one.

use proto::MailboxName;
use tokio::sync::oneshot;

use crate::error::EditError;
use crate::rules::Batch;
use crate::store::Store;
use crate::writer::{Alone, Command};
use crate::{Followed, Following, Mismatch, Origin};

/// Entries whose holding begins or ends in one group.
const HELD_AT_ONCE: usize = 8192;

impl Store {
    /// As [`Store::edit`], for what a master has said that tells its history; no rules are asked. Each
    /// edit is written down as a change even where it changes nothing, since a list below may have to
    /// be told; who reads a dump leaves such out. `reached` says that every change up to there has
    /// been carried out with this call or before; without it the place stays.
    ///
    /// With `expected` all of the call is done only if the list, without held entries, then adds up
    /// to it. What was done is published at once, and after a crash a part of the edits may be there
    /// but not the place.
    pub async fn follow(
        &self,
        batch: Batch,
        reached: Option<Following>,
    ) -> Result<Result<Followed, Mismatch>, EditError> {
        self.ask_alone(|reply| Alone::Follow {
            batch,
            reached,
            reply,
        })
        .await
    }

    /// As [`Store::follow`] without a place, for lines that list what there is: an entry that is so
    /// already, and not held, is left alone. Returns the number of changes.
    pub async fn follow_listing(&self, batch: Batch) -> Result<usize, EditError> {
        self.ask_alone(|reply| Alone::FollowListing { batch, reply })
            .await
    }

    /// The list, if it is empty, is about to have so many entries: room is made for their digests. Nothing depends on that
    /// number.
    pub async fn expect(&self, entries: u64) -> Result<(), EditError> {
        self.ask_alone(|reply| Alone::Expect { entries, reply })
            .await
    }

    /// The store is at home in its directory from here on ([`crate::Finding::Copied`]). To be called
    /// when its history has been left for a new epoch, or is not its own anyway.
    pub async fn renew_token(&self) -> Result<(), EditError> {
        self.ask_alone(|reply| Alone::RenewToken { reply }).await
    }

    /// From now on the list follows nobody's history but its own: its master tells none.
    pub async fn unfollow(&self, origin: Origin) -> Result<(), EditError> {
        self.ask_alone(|reply| Alone::Unfollow { origin, reply })
            .await
    }

    /// Computes all digests anew under the key of the master that is followed, and keeps it. Whoever
    /// was told digests under the key before must start anew.
    pub async fn adopt(&self, key: [u8; 32]) -> Result<(), EditError> {
        self.ask_alone(|reply| Alone::Adopt { key, reply }).await
    }

    /// Makes the entries of these names held ([`crate::Stored::held`]). Whatever is said of a name
    /// later ends that.
    pub async fn hold(&self, origin: Origin, names: &[MailboxName]) -> Result<(), EditError> {
        for names in names.chunks(HELD_AT_ONCE) {
            let (origin, names) = (origin.clone(), names.to_vec());
            self.ask_alone(|reply| Alone::Hold {
                origin,
                names,
                reply,
            })
            .await?;
        }
        Ok(())
    }

    /// An operator says that the held entries may go.
    pub async fn confirm(&self, origin: Origin) -> Result<(), EditError> {
        self.settle(origin, false).await
    }

    /// Makes the held entries entries like any other: a list that nobody corrects any more.
    pub async fn keep_held(&self, origin: Origin) -> Result<(), EditError> {
        self.settle(origin, true).await
    }

    async fn settle(&self, origin: Origin, keep: bool) -> Result<(), EditError> {
        loop {
            let origin = origin.clone();
            let left = self.ask_alone(|reply| Alone::Settle {
                origin,
                keep,
                names_max: HELD_AT_ONCE,
                reply,
            });
            if left.await? == 0 {
                return Ok(());
            }
        }
    }

    pub(super) async fn ask_alone<T>(
        &self,
        alone: impl FnOnce(oneshot::Sender<Result<T, EditError>>) -> Alone,
    ) -> Result<T, EditError> {
        self.ask(|reply| Command::Alone(alone(reply))).await
    }
}
