//! What is left as it is, told once.

use std::collections::HashSet;

use proto::MailboxName;
use tracing::{debug, warn};

/// Names told of; further ones are only counted, at debug.
const TOLD_MAX: usize = 1000;

/// Records that the file and the directory disagree about, and that are left alone.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    told: HashSet<(Vec<u8>, &'static str)>,
}

impl Differences {
    /// Tells of a mailbox.
    pub(crate) fn tell(&mut self, name: &MailboxName, what: &'static str) {
        if self.is_new(name.key(), what) {
            warn!(mailbox = %name, what, "left a record of mailboxes.db as it is");
        } else {
            debug!(mailbox = %name, what, "left a record of mailboxes.db as it is");
        }
    }

    /// Tells of a key that is no mailbox's.
    pub(crate) fn tell_key(&mut self, key: &[u8], what: &'static str) {
        if self.is_new(key, what) {
            warn!(key = %key.escape_ascii(), what, "left a record of mailboxes.db as it is");
        }
    }

    /// Tells of two mailboxes with one key.
    pub(crate) fn tell_rivals(&mut self, second: &MailboxName, first: &MailboxName) {
        if self.is_new(second.key(), "rival") {
            warn!(mailbox = %second, kept = %first, "two mailboxes have one key in mailboxes.db, the first stays");
        }
    }

    fn is_new(&mut self, key: &[u8], what: &'static str) -> bool {
        self.told.len() < TOLD_MAX && self.told.insert((key.to_vec(), what))
    }
}
