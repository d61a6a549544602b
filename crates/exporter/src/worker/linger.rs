//! Reservations come into the file a little later than all else.
//!
//! imapd (3.6) kicks, and looks again, where it finds no record of a mailbox; where it finds a reservation it
//! answers "Invalid mailbox name" at once. A CREATE on a backend is a reservation and, some milliseconds
//! later, an active mailbox: exported as they come, a client that uses the frontend right after
//! the CREATE would nearly always meet the reservation. So they wait for what follows them, but not
//! when somebody waits for the file.

use std::time::{Duration, Instant};

use proto::{EntryRef, MailboxName};

use super::Worker;

/// Longest wait; Cyrus's own slaves hear of changes every five seconds.
const LINGER: Duration = Duration::from_secs(1);

impl Worker {
    /// Whether these changes should wait, since one of them is a reservation that may not last.
    pub(super) fn lingers<'a>(&mut self, names: impl IntoIterator<Item = &'a MailboxName>) -> bool {
        // The handle has a receiver too.
        let awaited = self.config.awaited || self.told.reached.receiver_count() > 1;
        if awaited || self.stop.is_cancelled() || !*self.told.ready.borrow() {
            return false;
        }
        let version = self.store.current();
        let mut listed = names.into_iter().filter_map(|name| version.find(name));
        listed.any(|listed| matches!(listed.entry, EntryRef::Reserved { .. }))
            && self.lingering.get_or_insert_with(Instant::now).elapsed() < LINGER
    }
}
