//! What a kick on a slave's host waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::Exported;
use crate::link::{Link, Patience};

/// What a kick waits for. All who kick share one NOOP.
#[derive(Clone)]
pub(crate) struct Kicks {
    pub(crate) link: Arc<Link>,
    pub(crate) exported: Option<Exported>,
    /// Longest wait, when the link is up.
    pub(crate) wait_max: Duration,
}

impl Kicks {
    /// Brings the list, and what is exported of it, up to date; false where the master could not be
    /// asked in time.
    pub(crate) async fn make_current(self) -> bool {
        matches!(timeout(self.wait_max, self.current()).await, Ok(true))
    }

    async fn current(&self) -> bool {
        let Ok(sequence) = self.link.ask(Patience::AtMost(self.wait_max)).await else {
            return false;
        };
        if let Some(exported) = &self.exported {
            exported(sequence).await;
        }
        true
    }
}
