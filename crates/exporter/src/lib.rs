//! Keeps a Cyrus `mailboxes.db` equal to the list of a store.
