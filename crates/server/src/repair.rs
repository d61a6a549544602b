//! Names that a Cyrus slave loses while it merges a dump, and that must be sent again.
//!
//! The merge (`mupdate_synchronize` in Cyrus, all series) walks the slave's own list and the dump
//! side by side in key order, but compares names as octets. Where the two orders disagree it takes
//! live mailboxes for deleted ones. A live name x is *endangered* if the slave may hold a name l
//! that the dump lacks, with `key(l) < key(x)` and `l > x` octet-wise. With p a common prefix:
//!
//! | l goes on with | x goes on with | because the key has |
//! |---|---|---|
//! | `.` (0x2E) | 0x20-0x2D | 0x1F for `.` |
//! | `^` (0x5E) | 0x2F-0x5D | 0x2E for `^` |
//! | `!` (0x21), ending a domain | 0x20 | 0x1D for `!` |
//!
//! So for each l the endangered names are a few ranges of the key order.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use proto::MailboxName;
use store::{Epoch, Listed, Octets, Sequence, Version};

/// Octets that stand for `!`, `.` and `^` in a key.
const KEY_DOMAIN: u8 = 0x1D;
const KEY_HIERARCHY: u8 = 0x1F;
const KEY_CARET: u8 = b'.';

/// What a slave may still hold although the list lacks it.
#[derive(Debug)]
pub(crate) enum Lacking {
    /// These names, deleted since the slave was last known to be in step.
    Names(Vec<MailboxName>),
    /// Nobody knows; these are the deleted names that history still has, at least those with
    /// [`endangering_octets`].
    Unknown(Vec<MailboxName>),
}

/// The endangered names of the last version that they were looked for in on behalf of slaves of which
/// nothing was known: slaves that come back together ask together. Clones are handles to the same.
#[derive(Clone, Default)]
pub(crate) struct Latest(Arc<Mutex<Option<(Epoch, Sequence, Names)>>>);

/// Names in key order; a clone shares them.
pub(crate) type Names = Arc<[MailboxName]>;

impl Latest {
    /// What is known for a version, or what `look` finds.
    pub(crate) fn of(&self, version: &Version, look: impl FnOnce() -> Names) -> Names {
        let latest = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (epoch, sequence) = (version.epoch(), version.sequence());
        if let Some((of, at, names)) = &*latest()
            && (*of, *at) == (epoch, sequence)
        {
            return Arc::clone(names);
        }
        let names = look();
        *latest() = Some((epoch, sequence, Arc::clone(&names)));
        names
    }
}

/// The endangered names of `version`, in key order.
pub(crate) fn endangered(version: &Version, lacking: &Lacking) -> Names {
    match lacking {
        Lacking::Names(deleted) => {
            let mut prefixes = Prefixes::default();
            let gone = deleted.iter().filter(|name| version.find(*name).is_none());
            gone.for_each(|name| prefixes.add(name));
            let found = prefixes
                .ranges()
                .flat_map(|range| names_in(version, &range));
            found.collect::<BTreeSet<_>>().into_iter().collect()
        }
        Lacking::Unknown(deleted) => {
            let mut prefixes = Prefixes::default();
            let mut found = BTreeSet::new();
            for name in deleted {
                prefixes.add_carets(name.key());
            }
            // Hardly any name has such an octet, and the list is long.
            let suspects = version.walk_with(Octets::between(0x20..=KEY_CARET));
            for Listed { mailbox, .. } in suspects {
                prefixes.add_carets(mailbox.key());
                if has_low_octet(mailbox.key()) {
                    found.insert(mailbox.to_name());
                }
            }
            let ranges = prefixes.ranges();
            found.extend(ranges.flat_map(|range| names_in(version, &range)));
            found.into_iter().collect()
        }
    }
}

/// Octets without one of which the deletion of a name endangers no names on a list that nothing is
/// known of, beyond those that are endangered anyway.
pub(crate) fn endangering_octets() -> Octets {
    Octets::between(KEY_CARET..=KEY_CARET)
}

/// Whether any sibling below the dot could have been deleted before this name.
fn has_low_octet(key: &[u8]) -> bool {
    key.iter().any(|octet| (0x20..KEY_CARET).contains(octet))
}

/// Prefixes of lacking names, by what follows the prefix.
#[derive(Debug, Default)]
struct Prefixes {
    dots: BTreeSet<Vec<u8>>,
    carets: BTreeSet<Vec<u8>>,
    domains: BTreeSet<Vec<u8>>,
}

impl Prefixes {
    fn add(&mut self, name: &MailboxName) {
        for (at, &octet) in name.key().iter().enumerate() {
            let prefix = || name.key().get(..at).unwrap_or_default().to_vec();
            match octet {
                KEY_HIERARCHY => self.dots.insert(prefix()),
                KEY_DOMAIN => self.domains.insert(prefix()),
                _ => false,
            };
        }
        self.add_carets(name.key());
    }

    fn add_carets(&mut self, key: &[u8]) {
        let domain_end = key
            .iter()
            .position(|&octet| octet == KEY_DOMAIN)
            .unwrap_or(0);
        for (at, &octet) in key.iter().enumerate().skip(domain_end) {
            if octet == KEY_CARET {
                self.carets
                    .insert(key.get(..at).unwrap_or_default().to_vec());
            }
        }
    }

    fn ranges(&self) -> impl Iterator<Item = Range<Vec<u8>>> + '_ {
        let below_dot = self.dots.iter().map(|prefix| span(prefix, 0x20, 0x2E));
        let below_caret = self.carets.iter().map(|prefix| span(prefix, 0x2F, 0x5E));
        let below_bang = self.domains.iter().map(|prefix| span(prefix, 0x20, 0x21));
        below_dot.chain(below_caret).chain(below_bang)
    }
}

fn span(prefix: &[u8], first: u8, end: u8) -> Range<Vec<u8>> {
    [prefix, &[first]].concat()..[prefix, &[end]].concat()
}

fn names_in(version: &Version, keys: &Range<Vec<u8>>) -> Vec<MailboxName> {
    version
        .between(&*keys.start..&*keys.end)
        .map(|listed| listed.mailbox.to_name())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cmp::Ordering;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use proto::{Edit, EditKind, Location};
    use store::{AsTold, Batch, Origin, OsFileSystem, Store, StoreConfig};

    /// A list with these names.
    fn version(names: &BTreeSet<MailboxName>) -> Arc<Version> {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(
            OsFileSystem,
            dir.path(),
            StoreConfig::default(),
            Box::new(AsTold),
        )
        .unwrap();
        let location = Location::try_from(b"h!p".as_slice()).unwrap();
        let reserve = |mailbox: &MailboxName| Edit {
            mailbox: mailbox.clone(),
            kind: EditKind::Reserve {
                location: location.clone(),
            },
        };
        let origin = Origin {
            identity: "test".into(),
            peer: "test".into(),
        };
        let batch = Batch {
            origin,
            edits: names.iter().map(reserve).collect(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(store.edit(batch)).unwrap();
        let version = store.current();
        runtime.block_on(store.shutdown());
        version
    }

    /// What a Cyrus slave holds after a dump (`mupdate_synchronize`): both lists in key order, compared
    /// as octets.
    fn merge(slave: &BTreeSet<MailboxName>, dump: &BTreeSet<MailboxName>) -> BTreeSet<MailboxName> {
        let mut held = slave.clone();
        let (mut local, mut remote) = (slave.iter().peekable(), dump.iter().peekable());
        loop {
            let order = match (local.peek(), remote.peek()) {
                (None, None) => return held,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(here), Some(there)) => here.to_vec().cmp(&there.to_vec()),
            };
            match order {
                Ordering::Equal => {
                    local.next();
                    remote.next();
                }
                Ordering::Less => {
                    held.remove(local.next().unwrap());
                }
                Ordering::Greater => {
                    held.insert(remote.next().unwrap().clone());
                }
            }
        }
    }

    fn set(names: &[&str]) -> BTreeSet<MailboxName> {
        names
            .iter()
            .map(|name| MailboxName::try_from(name.as_bytes()).unwrap())
            .collect()
    }

    #[test]
    fn the_known_cases_lose_mailboxes_and_are_repaired() {
        let cases: [(&[&str], &[&str]); 4] = [
            (
                &["user.a", "user.a.b", "user.a b", "user.a-b"],
                &["user.a", "user.a b", "user.a-b"],
            ),
            (
                &["user.john^doe", "user.john2", "user.johnA"],
                &["user.john2", "user.johnA"],
            ),
            (&["user.amy.x.y", "user.amy-lisa.z"], &["user.amy-lisa.z"]),
            (&["foo!user.x", "foo bar"], &["foo bar"]),
        ];
        for (before, after) in cases {
            let (slave, list) = (set(before), set(after));
            let mut merged = merge(&slave, &list);
            assert_ne!(merged, list, "{before:?}: this case proves nothing");
            let gone = slave.difference(&list).cloned().collect();
            merged.extend(
                endangered(&version(&list), &Lacking::Names(gone))
                    .iter()
                    .cloned(),
            );
            assert_eq!(merged, list, "{before:?}");
        }
    }

    #[test]
    fn nothing_is_repeated_where_nothing_was_deleted() {
        let list = version(&set(&["user.a", "user.a.b", "user.a-b", "user.a^b"]));
        let found = endangered(&list, &Lacking::Names(Vec::new()));
        assert!(found.is_empty(), "{found:?}");
    }

    /// Names that are full of the octets the two orders disagree about.
    fn names() -> impl Strategy<Value = BTreeSet<MailboxName>> {
        let component = vec(prop::sample::select(b" -/29AZ^_a".as_slice()), 1..3);
        let name =
            (prop::option::of("d|da|d-x|d x"), vec(component, 1..4)).prop_map(|(domain, parts)| {
                let domain =
                    domain.map_or_else(Vec::new, |domain| format!("{domain}!").into_bytes());
                [domain, parts.join(&b'.')].concat()
            });
        let valid = name.prop_filter_map("not a name", |octets| {
            MailboxName::try_from(octets.as_slice()).ok()
        });
        btree_set(valid, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn a_merge_with_known_deletions_ends_right(common in names(), gone in names(), new in names()) {
            let slave: BTreeSet<_> = common.union(&gone).cloned().collect();
            let list: BTreeSet<_> = common.difference(&gone).chain(new.difference(&gone)).cloned().collect();
            let mut merged = merge(&slave, &list);
            let lacking = Lacking::Names(slave.difference(&list).cloned().collect());
            merged.extend(endangered(&version(&list), &lacking).iter().cloned());
            prop_assert_eq!(merged, list);
        }

        #[test]
        fn a_merge_with_an_unknown_slave_ends_right(slave in names(), list in names()) {
            let mut merged = merge(&slave, &list);
            let carets = slave.difference(&list).filter(|name| name.key().contains(&KEY_CARET));
            let lacking = Lacking::Unknown(carets.cloned().collect());
            merged.extend(endangered(&version(&list), &lacking).iter().cloned());
            prop_assert_eq!(merged, list);
        }
    }
}
