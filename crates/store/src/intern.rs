//! One allocation for each location that a log names, however many of its records do.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use ahash::AHashSet;
use proto::{Acl, Location};

/// The table is looked through for unused locations when it has doubled, and not below this size.
const SWEEP_MIN: usize = 1024;

/// Where decoders get locations and ACLs from.
pub(crate) trait Intern {
    /// The location with this text; `None`: there can be none.
    fn location(&mut self, text: &[u8]) -> Option<Location>;
    /// The ACL with this text; `None`: there can be none.
    fn acl(&mut self, text: &[u8]) -> Option<Acl>;
}

/// Locations in use. ACLs are each made anew: the list copies them, and the history does not know them.
pub(crate) struct Interner {
    locations: AHashSet<ByText>,
    sweep_at: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            locations: AHashSet::new(),
            sweep_at: SWEEP_MIN,
        }
    }
}

impl Intern for Interner {
    fn location(&mut self, text: &[u8]) -> Option<Location> {
        if let Some(known) = self.locations.get(text) {
            return Some(known.0.clone());
        }
        let location = Location::try_from(text).ok()?;
        if self.locations.len() >= self.sweep_at {
            self.locations.retain(|known| known.0.is_shared());
            self.sweep_at = (self.locations.len() * 2).max(SWEEP_MIN);
        }
        self.locations.insert(ByText(location.clone()));
        Some(location)
    }

    fn acl(&mut self, text: &[u8]) -> Option<Acl> {
        Acl::try_from(text).ok()
    }
}

/// Found by its text.
struct ByText(Location);

impl Borrow<[u8]> for ByText {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ByText {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_locations_share_and_unused_ones_go() {
        let mut interner = Interner::default();
        let first = interner.location(b"be1!default").unwrap();
        assert!(first.ptr_eq(&interner.location(b"be1!default").unwrap()));
        for i in 0..10 * SWEEP_MIN {
            let text = format!("be{i}!default");
            interner.location(text.as_bytes()).unwrap();
        }
        assert!(interner.locations.len() <= SWEEP_MIN);
        assert!(first.ptr_eq(&interner.location(b"be1!default").unwrap()));
    }
}
