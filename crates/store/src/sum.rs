//! What sets of entries add up to.

use std::ops::{Add, AddAssign, Sub, SubAssign};

use crate::Root;

/// Number of some entries and the sum, modulo 2^128, of their digests. Sums of sets without a common
/// name can be added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Sum {
    /// How many entries.
    pub count: u64,
    /// The sum of their digests.
    pub root: Root,
}

impl Sum {
    /// That of one entry with this digest.
    pub(crate) fn of(entry: Root) -> Self {
        Self {
            count: 1,
            root: entry,
        }
    }
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            root: Root(self.root.0.wrapping_add(other.root.0)),
        }
    }
}

impl Sub for Sum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_sub(other.count),
            root: Root(self.root.0.wrapping_sub(other.root.0)),
        }
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Sum {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Self>>(sums: I) -> Self {
        sums.fold(Self::default(), Self::add)
    }
}
