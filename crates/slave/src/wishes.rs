//! Lines of the master that are to be carried out together.

use ahash::AHashMap;
use proto::{Entry, MailboxName};

/// Names in one batch.
const NAMES_MAX: usize = 8192;
/// Octets of names and ACLs in one batch, about.
const BYTES_MAX: usize = 2 << 20;

/// What the master has said last of each name: an entry, or that there is none.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    last: Vec<Wish>,
    places: AHashMap<MailboxName, usize>,
    bytes: usize,
}

pub(crate) type Wish = (MailboxName, Option<Entry>);

impl Wishes {
    /// Notes a line. An earlier one of the same name no longer counts.
    pub(crate) fn note(&mut self, name: MailboxName, entry: Option<Entry>) {
        let acl = entry.as_ref().and_then(Entry::acl);
        self.bytes += name.len() + acl.map_or(0, |acl| acl.as_bytes().len());
        let place = self.places.get(&name);
        if let Some(wish) = place.and_then(|place| self.last.get_mut(*place)) {
            wish.1 = entry;
        } else {
            self.places.insert(name.clone(), self.last.len());
            self.last.push((name, entry));
        }
    }

    /// Whether the last word on a name is an entry.
    pub(crate) fn is_set(&self, name: &MailboxName) -> bool {
        let place = self.places.get(name);
        let wish = place.and_then(|place| self.last.get(*place));
        wish.is_some_and(|(_, entry)| entry.is_some())
    }

    /// Notes what another has noted later, and leaves nothing there.
    pub(crate) fn absorb(&mut self, later: &mut Self) {
        if self.last.is_empty() {
            std::mem::swap(self, later);
            return;
        }
        for (name, entry) in later.take() {
            self.note(name, entry);
        }
    }

    /// Whether no more should be waited for.
    pub(crate) fn is_full(&self) -> bool {
        self.last.len() >= NAMES_MAX || self.bytes >= BYTES_MAX
    }

    /// Everything noted, each name once, in the order of first mention.
    pub(crate) fn take(&mut self) -> Vec<Wish> {
        self.places.clear();
        self.bytes = 0;
        std::mem::take(&mut self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Location, ReservedBy};

    #[test]
    fn the_last_word_counts() {
        let name = |text: &str| MailboxName::try_from(text.as_bytes()).unwrap();
        let on = |server: &str| {
            Some(Entry::Reserved {
                location: Location::try_from(server.as_bytes()).unwrap(),
                by: ReservedBy::Reserve,
            })
        };
        let mut wishes = Wishes::default();
        wishes.note(name("a"), on("be1"));
        wishes.note(name("b"), None);
        wishes.note(name("a"), None);
        wishes.note(name("b"), on("be2"));
        let taken = wishes.take();
        assert_eq!(taken, [(name("a"), None), (name("b"), on("be2"))]);
        assert!(wishes.take().is_empty());
        wishes.note(name("b"), None);
        assert_eq!(wishes.take(), [(name("b"), None)]);
    }
}
