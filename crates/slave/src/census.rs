//! Which names of our list a dump has mentioned.

use std::collections::HashSet;
use std::sync::Arc;

use proto::{Entry, MailboxName};
use store::Version;

/// The list as it was before a dump, against which its lines are checked off. Right for lines in any
/// order; small and fast for those in key order, as a dump comes from ours and from Cyrus since 3.6.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// `None`: nothing is listed, as before a first sync.
    version: Option<Arc<Version>>,
    /// The last name in key order that was mentioned.
    farthest: Option<MailboxName>,
    /// Names before it that were not.
    skipped: HashSet<MailboxName>,
    /// Names that may no longer be as they are in the version.
    changed: HashSet<MailboxName>,
}

impl Census {
    /// Nothing of a version is mentioned yet.
    pub(crate) fn new(version: Arc<Version>) -> Self {
        Self {
            version: (!version.is_empty()).then_some(version),
            ..Self::default()
        }
    }

    /// Checks a name off. True: it still is what is said here, so there is nothing to do.
    pub(crate) fn mention(&mut self, name: &MailboxName, entry: Option<&Entry>) -> bool {
        let Some(version) = &self.version else {
            return false;
        };
        let listed = if self.farthest.as_ref() >= Some(name) {
            self.skipped.remove(name);
            version.find(name)
        } else {
            let rest = version.after(self.farthest.as_ref());
            let mut rest = rest.skip_while(|listed| {
                let is_skipped = listed.mailbox < name.lend();
                if is_skipped {
                    self.skipped.insert(listed.mailbox.to_name());
                }
                is_skipped
            });
            let listed = rest.next();
            self.farthest = Some(name.clone());
            listed.filter(|listed| listed.mailbox == name.lend())
        };
        let Some(listed) = listed else {
            return false;
        };
        if entry.map(Entry::lend) == Some(listed.entry) {
            self.changed.is_empty() || !self.changed.contains(name)
        } else {
            self.changed.insert(name.clone());
            false
        }
    }

    /// The names that were never mentioned.
    pub(crate) fn into_missing(self) -> HashSet<MailboxName> {
        let mut missing = self.skipped;
        if let Some(version) = &self.version {
            let rest = version.after(self.farthest.as_ref());
            missing.extend(rest.map(|listed| listed.mailbox.to_name()));
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Edit, EditKind, Location};
    use store::{AsTold, Batch, OsFileSystem, Store, StoreConfig};

    fn name(text: &str) -> MailboxName {
        MailboxName::try_from(text.as_bytes()).unwrap()
    }

    fn location(server: &str) -> Location {
        Location::try_from(server.as_bytes()).unwrap()
    }

    fn on(server: &str) -> Entry {
        Entry::Reserved {
            location: location(server),
            by: proto::ReservedBy::Reserve,
        }
    }

    /// That of a list with these names, all reserved by be1.
    async fn census(names: &[&str]) -> Census {
        let dir = tempfile::tempdir().unwrap();
        let rules = Box::new(AsTold);
        let opened = Store::open(OsFileSystem, dir.path(), StoreConfig::default(), rules);
        let (store, _) = opened.unwrap();
        let reserve = |text: &&str| Edit {
            mailbox: name(text),
            kind: EditKind::Reserve {
                location: location("be1"),
            },
        };
        let batch = Batch {
            origin: crate::replica::origin("test", "test"),
            edits: names.iter().map(reserve).collect(),
        };
        store.edit(batch).await.unwrap();
        let census = Census::new(store.current());
        store.shutdown().await;
        census
    }

    #[tokio::test]
    async fn any_order_and_number_of_lines_is_checked_off() {
        for lines in [["a", "b", "d"], ["d", "a", "b"], ["b", "d", "a"]] {
            let mut census = census(&["a", "b", "c", "d", "e"]).await;
            for text in lines.iter().chain(&lines) {
                assert!(census.mention(&name(text), Some(&on("be1"))), "{text}");
            }
            assert!(!census.mention(&name("aa"), Some(&on("be1"))));
            let missing = census.into_missing();
            assert_eq!(missing, HashSet::from([name("c"), name("e")]));
        }
    }

    #[tokio::test]
    async fn what_has_changed_once_is_not_vouched_for_again() {
        let mut census = census(&["a", "b"]).await;
        assert!(!census.mention(&name("a"), Some(&on("be2"))));
        assert!(!census.mention(&name("a"), Some(&on("be1"))));
        assert!(!census.mention(&name("b"), None));
        assert!(!census.mention(&name("b"), Some(&on("be1"))));
        assert!(census.into_missing().is_empty());
    }

    #[tokio::test]
    async fn a_name_that_was_not_listed_passes_over_those_before_it() {
        let mut census = census(&["a", "b"]).await;
        assert!(!census.mention(&name("x"), Some(&on("be1"))));
        assert!(census.mention(&name("b"), Some(&on("be1"))));
        assert_eq!(census.into_missing(), HashSet::from([name("a")]));
    }
}
