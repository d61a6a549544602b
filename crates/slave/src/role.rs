//! What a slave's sessions may do and see.

use std::sync::Arc;

use proto::{Edit, LocationRef, Refusal};
use server::{Asker, Role, Wait};

use crate::link::{Link, Patience};

/// The slave's side of a session. That a slave takes no edits is the session's business
/// (`ServerConfig::upstream`); here it only makes sure.
#[derive(Debug, Clone)]
pub struct SlaveRole {
    link: Arc<Link>,
    patience: Patience,
}

impl SlaveRole {
    pub(crate) fn new(link: Arc<Link>, patience: Patience) -> Self {
        Self { link, patience }
    }
}

impl Role for SlaveRole {
    /// A list that is not complete would make whoever takes it delete the rest.
    fn may_stream(&self) -> bool {
        self.link.state().complete
    }

    fn admit(&self, _: &Asker, _: &Edit, _: Option<LocationRef<'_>>) -> Result<(), Refusal> {
        Err(Refusal::ReadOnly)
    }

    fn shows(&self, _: &Asker, _: LocationRef<'_>) -> bool {
        true
    }

    /// A NOOP reaches through to the master, so that it is a barrier for what the master has
    /// committed, too; with the link down it is answered from what is here.
    fn before_barrier(&self) -> Option<Wait> {
        let (link, patience) = (Arc::clone(&self.link), self.patience);
        Some(Box::pin(async move {
            if link.ask(patience).await.is_err() {
                tracing::debug!("NOOP answered without the master");
            }
        }))
    }
}
