//! Which names of our list a dump has mentioned.

use std::collections::HashSet;

use proto::{Entry, MailboxName};
use store::Version;

/// The list as it was before a dump, against which its lines are checked off. Right for lines in any
/// order; fast for those in key order, as a dump comes from ours and from Cyrus since 3.6.
#[derive(Debug, Default)]
pub(crate) struct Census {
    listed: Vec<Listed>,
    /// Where the next line is expected.
    next: usize,
}

#[derive(Debug)]
struct Listed {
    name: MailboxName,
    entry: Entry,
    mentioned: bool,
    /// It may no longer be as it is here.
    changed: bool,
}

impl Census {
    /// Nothing of a version is mentioned yet. Walks the list.
    pub(crate) fn new(version: &Version) -> Self {
        let listed = version.iter().map(|(name, stored)| Listed {
            name: name.clone(),
            entry: stored.entry.clone(),
            mentioned: false,
            changed: false,
        });
        Self {
            listed: listed.collect(),
            next: 0,
        }
    }

    /// Checks a name off. True: it still is what is said here, so there is nothing to do.
    pub(crate) fn mention(&mut self, name: &MailboxName, entry: Option<&Entry>) -> bool {
        let Some(listed) = self.find(name) else {
            return false;
        };
        listed.mentioned = true;
        listed.changed |= entry != Some(&listed.entry);
        !listed.changed
    }

    /// The names that were never mentioned.
    pub(crate) fn into_missing(self) -> HashSet<MailboxName> {
        let missing = self.listed.into_iter().filter(|listed| !listed.mentioned);
        missing.map(|listed| listed.name).collect()
    }

    fn find(&mut self, name: &MailboxName) -> Option<&mut Listed> {
        let expected = self.listed.get(self.next);
        let place = if expected.is_some_and(|listed| listed.name == *name) {
            self.next
        } else {
            let found = self.listed.binary_search_by(|listed| listed.name.cmp(name));
            found.ok()?
        };
        self.next = place + 1;
        self.listed.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Location, ReservedBy};

    fn name(text: &str) -> MailboxName {
        MailboxName::try_from(text.as_bytes()).unwrap()
    }

    fn on(server: &str) -> Entry {
        Entry::Reserved {
            location: Location::try_from(server.as_bytes()).unwrap(),
            by: ReservedBy::Reserve,
        }
    }

    fn census(names: &[&str]) -> Census {
        let listed = names.iter().map(|text| Listed {
            name: name(text),
            entry: on("be1"),
            mentioned: false,
            changed: false,
        });
        Census {
            listed: listed.collect(),
            next: 0,
        }
    }

    #[test]
    fn any_order_and_number_of_lines_is_checked_off() {
        for lines in [["a", "b", "d"], ["d", "a", "b"], ["b", "d", "a"]] {
            let mut census = census(&["a", "b", "c", "d", "e"]);
            for text in lines.iter().chain(&lines) {
                assert!(census.mention(&name(text), Some(&on("be1"))), "{text}");
            }
            assert!(!census.mention(&name("x"), Some(&on("be1"))));
            let missing = census.into_missing();
            assert_eq!(missing, HashSet::from([name("c"), name("e")]));
        }
    }

    #[test]
    fn what_has_changed_once_is_not_vouched_for_again() {
        let mut census = census(&["a", "b"]);
        assert!(!census.mention(&name("a"), Some(&on("be2"))));
        assert!(!census.mention(&name("a"), Some(&on("be1"))));
        assert!(!census.mention(&name("b"), None));
        assert!(!census.mention(&name("b"), Some(&on("be1"))));
        assert!(census.into_missing().is_empty());
    }
}
