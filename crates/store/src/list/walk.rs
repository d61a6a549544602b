//! Entries one after another.

use std::ops::Bound;
use std::slice;
use std::sync::Arc;

use super::Listed;
use super::branch::{Branch, Children};
use super::leaf::Leaf;

/// Entries in key order, from some key on.
pub(crate) struct Walk<'a> {
    /// What is still to come at each level, uppermost first.
    branches: Vec<slice::Iter<'a, Arc<Branch>>>,
    leaves: slice::Iter<'a, Arc<Leaf>>,
    leaf: Option<&'a Leaf>,
    at: usize,
    /// The walk ends before this key.
    end: Option<Box<[u8]>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Branch, start: Bound<&[u8]>, end: Option<&[u8]>) -> Self {
        let mut walk = Self {
            branches: Vec::new(),
            leaves: [].iter(),
            leaf: None,
            at: 0,
            end: end.map(Box::from),
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
        loop {
            if let Some(leaf) = self.leaves.next() {
                return Some(leaf);
            }
            match self.branches.last_mut()?.next() {
                Some(branch) => self.enter(branch),
                None => _ = self.branches.pop(),
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Listed<'a>;

    fn next(&mut self) -> Option<Listed<'a>> {
        loop {
            if let Some(listed) = self.leaf.and_then(|leaf| leaf.get(self.at)) {
                self.at += 1;
                let key = listed.mailbox.key();
                let is_within = self.end.as_ref().is_none_or(|end| key < &**end);
                return is_within.then_some(listed);
            }
            self.leaf = Some(self.next_leaf()?);
            self.at = 0;
        }
    }
}
