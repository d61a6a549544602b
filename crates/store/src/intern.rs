//! One allocation for each location and ACL, however many entries have it.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use ahash::AHashSet;
use proto::{Acl, Location};

/// A table is looked through for unused values when it has doubled, and not below this size.
const SWEEP_MIN: usize = 1024;

/// Locations and ACLs in use.
#[derive(Default)]
pub(crate) struct Interner {
    locations: Table<Location>,
    acls: Table<Acl>,
}

/// Where decoders get locations and ACLs from.
pub(crate) trait Intern {
    /// The location with this text; `None`: there can be none.
    fn location(&mut self, text: &[u8]) -> Option<Location>;
    /// The ACL with this text; `None`: there can be none.
    fn acl(&mut self, text: &[u8]) -> Option<Acl>;
}

impl Intern for Interner {
    fn location(&mut self, text: &[u8]) -> Option<Location> {
        self.locations
            .of_text(text, |text| Location::try_from(text).ok())
    }

    fn acl(&mut self, text: &[u8]) -> Option<Acl> {
        self.acls.of_text(text, |text| Acl::try_from(text).ok())
    }
}

/// A value whose clones share an allocation.
trait Shared: Clone {
    fn text(&self) -> &[u8];
    /// Whether anybody else has a clone.
    fn in_use(&self) -> bool;
}

impl Shared for Location {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }

    fn in_use(&self) -> bool {
        self.is_shared()
    }
}

impl Shared for Acl {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }

    fn in_use(&self) -> bool {
        self.is_shared()
    }
}

/// Found by its text.
struct ByText<T>(T);

impl<T: Shared> Borrow<[u8]> for ByText<T> {
    fn borrow(&self) -> &[u8] {
        self.0.text()
    }
}

impl<T: Shared> Hash for ByText<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text().hash(state);
    }
}

impl<T: Shared> PartialEq for ByText<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.text() == other.0.text()
    }
}

impl<T: Shared> Eq for ByText<T> {}

struct Table<T> {
    values: AHashSet<ByText<T>>,
    sweep_at: usize,
}

impl<T: Shared> Default for Table<T> {
    fn default() -> Self {
        Self {
            values: AHashSet::new(),
            sweep_at: SWEEP_MIN,
        }
    }
}

impl<T: Shared> Table<T> {
    fn of_text(&mut self, text: &[u8], parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        if let Some(known) = self.values.get(text) {
            return Some(known.0.clone());
        }
        parse(text).map(|value| self.keep(value))
    }

    fn keep(&mut self, value: T) -> T {
        if self.values.len() >= self.sweep_at {
            self.values.retain(|kept| kept.0.in_use());
            self.sweep_at = (self.values.len() * 2).max(SWEEP_MIN);
        }
        self.values.insert(ByText(value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_and_unused_ones_go() {
        let mut table = Interner::default();
        let first = table.location(b"be1!default").unwrap();
        assert!(first.ptr_eq(&table.location(b"be1!default").unwrap()));
        for i in 0..10 * SWEEP_MIN {
            table.location(format!("be{i}!default").as_bytes()).unwrap();
        }
        assert!(table.locations.values.len() <= SWEEP_MIN);
        assert!(first.ptr_eq(&table.location(b"be1!default").unwrap()));
    }
}
