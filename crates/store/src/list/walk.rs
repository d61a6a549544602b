//! Entries one after another.

use std::ops::Bound;
use std::slice;
use std::sync::Arc;

use proto::LocationRef;

use super::Listed;
use super::branch::{Branch, Children};
use super::leaf::Leaf;
use crate::Octets;

/// Entries in key order, from some key on, whose location is wanted. Leaves without such a location are
/// passed over as a whole.
pub struct Matching<'a, F> {
    walk: Walk<'a>,
    wanted: F,
    /// All of the leaf that the walk has come to are.
    all: bool,
    looked_at: usize,
}

/// Entries in key order, from some key on.
pub(crate) struct Walk<'a> {
    /// What is still to come at each level, uppermost first.
    branches: Vec<slice::Iter<'a, Arc<Branch>>>,
    leaves: slice::Iter<'a, Arc<Leaf>>,
    leaf: Option<&'a Leaf>,
    at: usize,
    /// The walk ends before this key.
    end: Option<Box<[u8]>>,
    /// Leaves whose keys have none of these are passed over.
    octets: Option<Octets>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Branch, start: Bound<&[u8]>, end: Option<&[u8]>) -> Self {
        let mut walk = Self {
            branches: Vec::new(),
            leaves: [].iter(),
            leaf: None,
            at: 0,
            end: end.map(Box::from),
            octets: None,
        };
        let mut branch = root;
        let key = match start {
            Bound::Unbounded => {
                walk.enter(root);
                return walk;
            }
            Bound::Included(key) | Bound::Excluded(key) => key,
        };
        loop {
            let child = branch.child_of(key);
            match branch.children() {
                Children::Leaves(leaves) => {
                    walk.leaf = leaves.get(child).map(|leaf| &**leaf);
                    walk.leaves = leaves.get(child + 1..).unwrap_or_default().iter();
                    break;
                }
                Children::Branches(branches) => {
                    let rest = branches.get(child + 1..).unwrap_or_default();
                    walk.branches.push(rest.iter());
                    let Some(below) = branches.get(child) else {
                        return walk;
                    };
                    branch = below;
                }
            }
        }
        walk.at = match walk.leaf.map_or(Err(0), |leaf| leaf.search(key)) {
            Ok(at) if matches!(start, Bound::Excluded(_)) => at + 1,
            Ok(at) | Err(at) => at,
        };
        walk
    }

    /// Goes down to the first leaf of a branch.
    fn enter(&mut self, mut branch: &'a Branch) {
        loop {
            match branch.children() {
                Children::Leaves(leaves) => {
                    self.leaves = leaves.iter();
                    return;
                }
                Children::Branches(branches) => {
                    let mut rest = branches.iter();
                    let Some(first) = rest.next() else {
                        return;
                    };
                    self.branches.push(rest);
                    branch = first;
                }
            }
        }
    }

    fn next_leaf(&mut self) -> Option<&'a Leaf> {
        let octets = self.octets;
        let is_wanted = |leaf: &&Arc<Leaf>| octets.is_none_or(|octets| leaf.octets().meets(octets));
        loop {
            if let Some(leaf) = self.leaves.find(is_wanted) {
                return Some(leaf);
            }
            match self.branches.last_mut()?.next() {
                Some(branch) => self.enter(branch),
                None => _ = self.branches.pop(),
            }
        }
    }

    /// Without the leaves in whose keys none of some octets occurs.
    pub(crate) fn with(mut self, octets: Octets) -> Self {
        self.octets = Some(octets);
        self
    }

    /// Only entries whose location is wanted.
    pub(crate) fn matching<F: Fn(LocationRef<'_>) -> bool>(self, wanted: F) -> Matching<'a, F> {
        Matching {
            walk: self,
            wanted,
            all: false,
            looked_at: 0,
        }
    }

    /// The next entry of the leaf that the walk has come to.
    fn next_in_leaf(&mut self) -> Option<Listed<'a>> {
        let listed = self.leaf?.get(self.at)?;
        self.at += 1;
        Some(listed)
    }

    fn go_to(&mut self, leaf: &'a Leaf) {
        self.leaf = Some(leaf);
        self.at = 0;
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Listed<'a>;

    fn next(&mut self) -> Option<Listed<'a>> {
        loop {
            if let Some(listed) = self.next_in_leaf() {
                let key = listed.mailbox.key();
                let is_within = self.end.as_ref().is_none_or(|end| key < &**end);
                return is_within.then_some(listed);
            }
            let leaf = self.next_leaf()?;
            self.go_to(leaf);
        }
    }
}

impl<F> Matching<'_, F> {
    /// How many entries have been looked at one by one.
    pub fn looked_at(&self) -> usize {
        self.looked_at
    }
}

impl<'a, F: Fn(LocationRef<'_>) -> bool> Iterator for Matching<'a, F> {
    type Item = Listed<'a>;

    fn next(&mut self) -> Option<Listed<'a>> {
        loop {
            while let Some(listed) = self.walk.next_in_leaf() {
                self.looked_at += 1;
                if self.all || (self.wanted)(listed.entry.location()) {
                    return Some(listed);
                }
            }
            let leaf = loop {
                let leaf = self.walk.next_leaf()?;
                if leaf.locations().any(&self.wanted) {
                    break leaf;
                }
            };
            self.all = leaf.locations().all(&self.wanted);
            self.walk.go_to(leaf);
        }
    }
}
