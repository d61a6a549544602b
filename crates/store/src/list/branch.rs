//! Nodes above the leaves.

use std::sync::Arc;

use super::Listed;
use super::keys::Keys;
use super::leaf::Leaf;

/// Most children of a branch.
pub(super) const CHILDREN_MAX: usize = 48;
/// With fewer, a branch is joined with the one beside it, if that leaves room for more.
const CHILDREN_MIN: usize = 12;
/// The same for the entries of a leaf.
const LEAF_ENTRIES_MIN: usize = 16;

/// Children in the order of their keys.
#[derive(Clone)]
pub(super) struct Branch {
    /// A key for each child but the first: no key in the child is below, and all in those before are.
    lows: Keys,
    children: Children,
}

#[derive(Clone)]
pub(super) enum Children {
    Leaves(Vec<Arc<Leaf>>),
    Branches(Vec<Arc<Branch>>),
}

/// A node with a key that parts it from those before.
pub(super) type Low<N> = (Vec<u8>, Arc<N>);

/// What a node has given to a new one behind it.
pub(super) struct Split {
    low: Vec<u8>,
    right: Arc<Branch>,
}

impl Branch {
    /// One empty leaf.
    pub(super) fn empty() -> Self {
        Self::over_leaves(vec![(Vec::new(), Arc::default())])
    }

    /// Over some leaves, each with a key that parts it from those before; that of the first does not
    /// matter.
    pub(super) fn over_leaves(nodes: Vec<Low<Leaf>>) -> Self {
        let (lows, children) = part(nodes);
        Self {
            lows,
            children: Children::Leaves(children),
        }
    }

    pub(super) fn over_branches(nodes: Vec<Low<Self>>) -> Self {
        let (lows, children) = part(nodes);
        Self {
            lows,
            children: Children::Branches(children),
        }
    }

    /// A new root over the old one and what it has given away.
    pub(super) fn grow(old: Arc<Self>, split: Split) -> Self {
        Self::over_branches(vec![(Vec::new(), old), (split.low, split.right)])
    }

    /// The only branch below, if there is just one.
    pub(super) fn only_branch(&self) -> Option<&Arc<Self>> {
        match &self.children {
            Children::Branches(branches) if branches.len() == 1 => branches.first(),
            Children::Branches(_) | Children::Leaves(_) => None,
        }
    }

    pub(super) fn children(&self) -> &Children {
        &self.children
    }

    /// Which child a key belongs to.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        child_at(self.lows.search(key))
    }

    /// The leaf that a key belongs to.
    pub(super) fn leaf_of(&self, key: &[u8]) -> Option<&Leaf> {
        let mut branch = self;
        loop {
            let at = branch.child_of(key);
            match &branch.children {
                Children::Leaves(leaves) => return leaves.get(at).map(|leaf| &**leaf),
                Children::Branches(branches) => branch = branches.get(at)?,
            }
        }
    }

    /// Sets an entry, and shows `look` the one before.
    pub(super) fn set<T>(
        &mut self,
        new: &Listed<'_>,
        look: impl FnOnce(Option<Listed<'_>>) -> T,
    ) -> (T, Option<Split>) {
        let child = child_at(self.lows.search_from_end(new.mailbox.key()));
        let seen = match &mut self.children {
            Children::Leaves(leaves) => {
                let Some(leaf) = leaves.get_mut(child) else {
                    return (look(None), None);
                };
                let leaf = Arc::make_mut(leaf);
                let (seen, right) = set_in_leaf(leaf, new, look);
                if let Some(right) = right {
                    self.lows.insert(child, right.first_key());
                    leaves.insert(child + 1, Arc::new(right));
                }
                seen
            }
            Children::Branches(branches) => {
                let Some(branch) = branches.get_mut(child) else {
                    return (look(None), None);
                };
                let (seen, split) = Arc::make_mut(branch).set(new, look);
                if let Some(Split { low, right }) = split {
                    self.lows.insert(child, &low);
                    branches.insert(child + 1, right);
                }
                seen
            }
        };
        let split = (self.len() > CHILDREN_MAX).then(|| self.split(child));
        (seen, split)
    }

    /// Removes an entry that is there, and shows it to `look`.
    pub(super) fn remove<T>(
        &mut self,
        key: &[u8],
        look: impl FnOnce(Option<Listed<'_>>) -> T,
    ) -> T {
        let child = self.child_of(key);
        match &mut self.children {
            Children::Leaves(leaves) => {
                let Some(leaf) = leaves.get_mut(child) else {
                    return look(None);
                };
                let leaf = Arc::make_mut(leaf);
                let at = leaf.search(key).ok();
                let seen = look(at.and_then(|at| leaf.get(at)));
                if let Some(at) = at {
                    leaf.remove(at);
                }
                if leaf.len() < LEAF_ENTRIES_MIN {
                    self.join(child);
                }
                seen
            }
            Children::Branches(branches) => {
                let Some(branch) = branches.get_mut(child) else {
                    return look(None);
                };
                let branch = Arc::make_mut(branch);
                let seen = branch.remove(key, look);
                if branch.len() < CHILDREN_MIN {
                    self.join(child);
                }
                seen
            }
        }
    }

    fn len(&self) -> usize {
        self.lows.len() + 1
    }

    /// Gives the upper half away; all behind `filled` if that is near the end, as when a list is loaded
    /// in order.
    fn split(&mut self, filled: usize) -> Split {
        let last = self.len() - 1;
        let at = if filled + 2 >= last { last } else { last / 2 };
        let mut lows = self.lows.split_off(at - 1);
        let low = lows.get(0).unwrap_or_default().to_vec();
        lows.remove(0);
        let children = match &mut self.children {
            Children::Leaves(leaves) => Children::Leaves(leaves.split_off(at)),
            Children::Branches(branches) => Children::Branches(branches.split_off(at)),
        };
        Split {
            low,
            right: Arc::new(Self { lows, children }),
        }
    }

    /// Joins a child that has become small with the one behind it or before it.
    fn join(&mut self, child: usize) {
        for left in [Some(child), child.checked_sub(1)].into_iter().flatten() {
            let joined = match &mut self.children {
                Children::Leaves(leaves) => join_at(leaves, left, Leaf::join),
                Children::Branches(branches) => join_at(branches, left, |one, other| {
                    one.joined(other, self.lows.get(left)?)
                }),
            };
            if joined {
                self.lows.remove(left);
                return;
            }
        }
    }

    /// This branch and the one behind it, which begins at a key.
    fn joined(&self, right: &Self, low: &[u8]) -> Option<Self> {
        if self.len() + right.len() > CHILDREN_MAX * 3 / 4 {
            return None;
        }
        let mut both = self.clone();
        match (&mut both.children, &right.children) {
            (Children::Leaves(left), Children::Leaves(right)) => left.extend_from_slice(right),
            (Children::Branches(left), Children::Branches(right)) => left.extend_from_slice(right),
            (Children::Leaves(_) | Children::Branches(_), _) => return None,
        }
        both.lows.push(low);
        for low in right.lows.iter() {
            both.lows.push(low);
        }
        Some(both)
    }
}

/// The child behind the last low key that is not above what was searched for.
fn child_at(found: Result<usize, usize>) -> usize {
    match found {
        Ok(at) => at + 1,
        Err(at) => at,
    }
}

/// Puts one node in the place of two; whether that was possible.
fn join_at<N>(
    nodes: &mut Vec<Arc<N>>,
    left: usize,
    join: impl FnOnce(&N, &N) -> Option<N>,
) -> bool {
    let (Some(one), Some(other)) = (nodes.get(left), nodes.get(left + 1)) else {
        return false;
    };
    let Some(both) = join(one, other) else {
        return false;
    };
    nodes.remove(left + 1);
    if let Some(place) = nodes.get_mut(left) {
        *place = Arc::new(both);
    }
    true
}

fn set_in_leaf<T>(
    leaf: &mut Leaf,
    new: &Listed<'_>,
    look: impl FnOnce(Option<Listed<'_>>) -> T,
) -> (T, Option<Leaf>) {
    let (seen, at) = match leaf.search_to_set(new.mailbox.key()) {
        Ok(at) => {
            let seen = look(leaf.get(at));
            leaf.replace(at, new);
            (seen, at)
        }
        Err(at) => {
            let seen = look(None);
            leaf.insert(at, new);
            (seen, at)
        }
    };
    let right = leaf.is_overfull().then(|| {
        // In order, the leaf behind is left full.
        let last = leaf.len() - 1;
        leaf.split_off(if at == last { last } else { leaf.len() / 2 })
    });
    (seen, right)
}

fn part<N>(nodes: Vec<Low<N>>) -> (Keys, Vec<Arc<N>>) {
    let mut lows = Keys::default();
    let mut children = Vec::with_capacity(nodes.len());
    for (at, (low, node)) in nodes.into_iter().enumerate() {
        if at > 0 {
            lows.push(&low);
        }
        children.push(node);
    }
    lows.shrink();
    (lows, children)
}
