//! All entries, by name: a tree whose versions share their nodes.
//!
//! A B+ tree that is copied where it is changed: a list that was cloned keeps its nodes, and the other
//! one gets copies of those on the way to what it changes. What is different from an ordinary map of
//! names to entries is the leaf: up to 64 entries as octets behind each other, without a pointer among
//! them. So to copy one is to copy some kilobytes, where a map would count one more user of each name,
//! location and ACL, all of them elsewhere in memory; a search ends in memory that lies together; a
//! walk reads memory in order; and an entry takes little more than its octets. Names, locations and
//! ACLs are therefore lent ([`Listed`]) rather than shared.

mod branch;
mod keys;
mod leaf;
mod texts;
mod walk;

use std::ops::{Bound, Range};
use std::sync::Arc;

use proto::{EntryRef, MailboxName, NameRef};

use crate::{Sequence, Stored};
use branch::{Branch, CHILDREN_MAX, Low};
pub(crate) use leaf::Leaf;
pub use walk::Matching;
pub(crate) use walk::Walk;

/// An entry as it stands in a list, with its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Whose entry it is.
    pub mailbox: NameRef<'a>,
    /// What the directory knows of the mailbox.
    pub entry: EntryRef<'a>,
    /// Its last change.
    pub changed: Sequence,
    /// [`Stored::held`]
    pub held: bool,
}

impl<'a> Listed<'a> {
    pub(crate) fn new(mailbox: &'a MailboxName, stored: &'a Stored) -> Self {
        Self {
            mailbox: mailbox.lend(),
            entry: stored.entry.lend(),
            changed: stored.changed,
            held: stored.held,
        }
    }

    /// An entry of its own.
    pub fn to_stored(self) -> Stored {
        Stored {
            entry: self.entry.to_entry(),
            changed: self.changed,
            held: self.held,
        }
    }

    /// Name and entry of their own.
    pub fn to_owned(self) -> (MailboxName, Stored) {
        (self.mailbox.to_name(), self.to_stored())
    }
}

/// Entries by the key of their mailbox. A clone shares everything.
#[derive(Clone)]
pub(crate) struct List {
    root: Arc<Branch>,
    len: usize,
}

impl List {
    pub(crate) fn new() -> Self {
        Self {
            root: Arc::new(Branch::empty()),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Listed<'_>> {
        let leaf = self.root.leaf_of(key)?;
        leaf.get(leaf.search(key).ok()?)
    }

    pub(crate) fn iter(&self) -> Walk<'_> {
        self.starting(Bound::Unbounded)
    }

    /// From a key, or the one behind it, to the end.
    pub(crate) fn starting(&self, start: Bound<&[u8]>) -> Walk<'_> {
        Walk::new(&self.root, start, None)
    }

    pub(crate) fn between(&self, keys: Range<&[u8]>) -> Walk<'_> {
        Walk::new(&self.root, Bound::Included(keys.start), Some(keys.end))
    }

    /// Sets an entry. What `look` makes of the one before is returned.
    pub(crate) fn set<T>(
        &mut self,
        new: &Listed<'_>,
        look: impl FnOnce(Option<Listed<'_>>) -> T,
    ) -> T {
        let mut is_new = false;
        let look = |old: Option<Listed<'_>>| {
            is_new = old.is_none();
            look(old)
        };
        let (seen, split) = Arc::make_mut(&mut self.root).set(new, look);
        if let Some(split) = split {
            self.root = Arc::new(Branch::grow(Arc::clone(&self.root), split));
        }
        self.len += usize::from(is_new);
        seen
    }

    /// Removes an entry. What `look` makes of it is returned.
    pub(crate) fn remove<T>(
        &mut self,
        key: &[u8],
        look: impl FnOnce(Option<Listed<'_>>) -> T,
    ) -> T {
        if self.get(key).is_none() {
            return look(None);
        }
        let seen = Arc::make_mut(&mut self.root).remove(key, look);
        while let Some(only) = self.root.only_branch() {
            self.root = Arc::clone(only);
        }
        self.len -= 1;
        seen
    }
}

/// Of leaves with entries, in the order of their keys.
impl FromIterator<Leaf> for List {
    fn from_iter<T: IntoIterator<Item = Leaf>>(leaves: T) -> Self {
        let mut len = 0;
        let mut nodes: Vec<Low<Leaf>> = Vec::new();
        for leaf in leaves.into_iter().filter(|leaf| leaf.len() > 0) {
            len += leaf.len();
            nodes.push((leaf.first_key().to_vec(), Arc::new(leaf)));
        }
        if nodes.is_empty() {
            return Self::new();
        }
        let mut level = over(nodes, Branch::over_leaves);
        while level.len() > 1 {
            level = over(level, Branch::over_branches);
        }
        let root = level.pop().map(|(_, root)| root);
        Self {
            root: root.unwrap_or_else(|| Arc::new(Branch::empty())),
            len,
        }
    }
}

/// Branches over nodes that stand behind each other.
fn over<N>(nodes: Vec<Low<N>>, branch: fn(Vec<Low<N>>) -> Branch) -> Vec<Low<Branch>> {
    let mut nodes = nodes.into_iter().peekable();
    let mut above = Vec::new();
    while let Some((low, _)) = nodes.peek() {
        let low = low.clone();
        let children = nodes.by_ref().take(CHILDREN_MAX).collect();
        above.push((low, Arc::new(branch(children))));
    }
    above
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

/// Makes room for some more elements, and a few beside: a node is copied more often than it grows, so
/// twice as much as it needs would mostly stay empty.
fn room<T>(elements: &mut Vec<T>, more: usize) {
    if elements.capacity() - elements.len() < more {
        elements.reserve_exact(more + elements.len() / 8);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proto::{Acl, Entry, Location, LocationRef, ReservedBy};

    use crate::Octets;

    fn name(number: u32) -> MailboxName {
        let text = format!("user.u{}.f{number}", number % 97);
        MailboxName::try_from(text.as_bytes()).unwrap()
    }

    fn stored(number: u32, changed: u64) -> Stored {
        let location = format!("be{}.example.org!p", number % 5);
        let location = Location::try_from(location.as_bytes()).unwrap();
        let acl = format!("u{}\tlrs\t", number % 7).repeat(usize::try_from(number % 3).unwrap());
        let entry = if number.is_multiple_of(11) {
            let by = ReservedBy::Deactivate;
            Entry::Reserved { location, by }
        } else {
            let acl = Acl::try_from(acl.as_bytes()).unwrap();
            Entry::Active { location, acl }
        };
        Stored {
            entry,
            changed: Sequence(changed),
            held: number.is_multiple_of(13),
        }
    }

    fn set(list: &mut List, name: &MailboxName, new: &Stored) -> Option<Stored> {
        list.set(&Listed::new(name, new), |old| old.map(Listed::to_stored))
    }

    fn remove(list: &mut List, name: &MailboxName) -> Option<Stored> {
        list.remove(name.key(), |old| old.map(Listed::to_stored))
    }

    type Model = BTreeMap<MailboxName, Stored>;

    fn assert_same(list: &List, model: &Model) {
        assert_eq!(list.len(), model.len());
        let mut walked = list.iter();
        for (name, stored) in model {
            let listed = walked.next().unwrap();
            assert_eq!(listed.to_owned(), (name.clone(), stored.clone()));
            assert_eq!(list.get(name.key()), Some(listed));
        }
        assert!(walked.next().is_none());
    }

    /// Numbers that come in order, in runs, or in none.
    fn numbers() -> impl Strategy<Value = Vec<u32>> {
        prop_oneof![
            (0..9000_u32).prop_map(|len| (0..len).collect()),
            (0..9000_u32).prop_map(|len| (0..len).rev().collect()),
            vec(0..6000_u32, 0..5000),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_map_and_older_lists_stay_what_they_were(
            added in numbers(),
            removed in numbers(),
            ends in (0..6000_u32, 0..6000_u32),
        ) {
            let (mut list, mut model) = (List::new(), Model::new());
            for (at, &number) in added.iter().enumerate() {
                let (name, new) = (name(number), stored(number, at.try_into().unwrap()));
                prop_assert_eq!(set(&mut list, &name, &new), model.insert(name, new));
            }
            assert_same(&list, &model);
            let (older_list, older_model) = (list.clone(), model.clone());
            for (at, &number) in removed.iter().enumerate() {
                let name = name(number);
                if number.is_multiple_of(4) {
                    let new = stored(number + 1, at.try_into().unwrap());
                    prop_assert_eq!(set(&mut list, &name, &new), model.insert(name, new));
                } else {
                    prop_assert_eq!(remove(&mut list, &name), model.remove(&name));
                }
            }
            assert_same(&list, &model);
            assert_same(&older_list, &older_model);
            let (low, high) = (name(ends.0.min(ends.1)), name(ends.0.max(ends.1)));
            let (low, high) = (low.clone().min(high.clone()), low.max(high));
            let keys = |walk: Walk<'_>| walk.map(|listed| listed.mailbox.to_name()).collect::<Vec<_>>();
            let between: Vec<MailboxName> = model.range(&low..&high).map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(keys(list.between(low.key()..high.key())), between);
            let behind = (Bound::Excluded(&low), Bound::Unbounded);
            let behind: Vec<MailboxName> = model.range(behind).map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(keys(list.starting(Bound::Excluded(low.key()))), behind);
            let wanted = |location: LocationRef<'_>| location.server() == b"be3.example.org";
            let on_host = list.starting(Bound::Excluded(low.key())).matching(wanted);
            let expected = model.range((Bound::Excluded(&low), Bound::Unbounded));
            let expected = expected.filter(|(_, stored)| wanted(stored.entry.location().lend()));
            prop_assert!(on_host.map(Listed::to_owned).eq(expected.map(|(name, new)| (name.clone(), new.clone()))));
            let has = |name: &MailboxName| name.key().contains(&b'7');
            let found = list.iter().with(Octets::between(b'7'..=b'7'));
            let found = found.map(|listed| listed.mailbox.to_name()).filter(has);
            prop_assert!(found.eq(model.keys().filter(|name| has(name)).cloned()));
        }
    }

    #[test]
    fn a_list_of_leaves_is_that_of_their_entries() {
        for len in [0, 1, 64, 65, 64 * 48, 64 * 48 + 1, 64 * 48 * 3] {
            let mut numbers: Vec<MailboxName> = (0..len).map(name).collect();
            numbers.sort();
            let mut one_by_one = List::new();
            for name in &numbers {
                set(&mut one_by_one, name, &stored(3, 1));
            }
            let entry = stored(3, 1);
            let leaves = numbers.chunks(64).map(|names| {
                let listed = names.iter().map(|name| Listed::new(name, &entry));
                listed.collect::<Leaf>()
            });
            let at_once: List = leaves.collect();
            assert!(at_once == one_by_one, "{len}");
        }
    }

    #[test]
    fn emptied_and_filled_again() {
        let (mut list, mut model) = (List::new(), Model::new());
        for round in 0..3 {
            for number in 0..20_000 {
                set(&mut list, &name(number), &stored(number, round));
            }
            for number in 0..20_000 {
                remove(&mut list, &name((number * 7919) % 20_000)).unwrap();
            }
            assert_same(&list, &model);
        }
        assert!(list.is_empty());
        set(&mut list, &name(1), &stored(1, 1));
        model.insert(name(1), stored(1, 1));
        assert_same(&list, &model);
    }

    /// The largest ACL that there may be.
    #[test]
    fn entries_of_any_size_fit() {
        let (mut list, mut model) = (List::new(), Model::new());
        let text = format!("{}\tlrs\t", "a".repeat(131_000));
        let acl = Acl::try_from(text.as_bytes()).unwrap();
        for number in 0..200 {
            let Entry::Active { location, .. } = stored(1, 1).entry else {
                unreachable!()
            };
            let mut new = stored(number, 1);
            if number % 3 == 0 {
                let acl = acl.clone();
                new.entry = Entry::Active { location, acl };
            }
            set(&mut list, &name(number), &new);
            model.insert(name(number), new);
        }
        assert_same(&list, &model);
    }
}
