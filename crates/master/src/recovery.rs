//! Whether the master trusts its own list.
//!
//! A Cyrus slave deletes what a dump lacks, and a backend's `ctl_mboxlist -m` deletes *real mailboxes*
//! when FIND names another host. So a master whose store is missing, empty or older than it was
//! starts in recovery: backends may push their lists, nobody is told anything that could delete.
//! An operator ends it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::MailboxName;

/// The state of recovery, shared by everything that has to know.
#[derive(Debug, Default)]
pub struct Recovery {
    reason: Mutex<Option<String>>,
    /// Mailboxes that a backend was allowed to withdraw, with the server they were on. Between that
    /// and the writer's turn another backend may have claimed one; then it stays.
    withdrawals: Mutex<HashMap<MailboxName, Box<[u8]>>>,
}

impl Recovery {
    /// The list is trusted.
    pub fn off() -> Self {
        Self::default()
    }

    /// The list is not to be trusted from here on.
    pub fn begin(&self, reason: &str) {
        *self.lock() = Some(reason.to_owned());
    }

    /// An operator says that the list is complete. False when there was no recovery.
    pub fn end(&self) -> bool {
        self.lock_withdrawals().clear();
        self.lock().take().is_some()
    }

    /// A backend may withdraw this mailbox, if it is still on this server when its turn comes.
    pub(crate) fn allow_withdrawal(&self, mailbox: &MailboxName, server: &[u8]) {
        self.lock_withdrawals()
            .insert(mailbox.clone(), server.into());
    }

    /// Whether the mailbox may be withdrawn from the server it is on now; asked once.
    pub(crate) fn may_withdraw(&self, mailbox: &MailboxName, server: &[u8]) -> bool {
        let allowed = self.lock_withdrawals().remove(mailbox);
        allowed.is_some_and(|from| *from == *server)
    }

    /// Whether the master is in recovery.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Why it is.
    pub fn reason(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock_withdrawals(&self) -> MutexGuard<'_, HashMap<MailboxName, Box<[u8]>>> {
        self.withdrawals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
