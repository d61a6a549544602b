//! Pages that several dumps take at once: made by the first that needs them, and kept for the others.
//!
//! Slaves that come back together all ask for the same list, stock ones under the same tag (`U01`), so
//! their dumps are the same octets. A dump that is alone keeps nothing: its pages would only push each
//! other out of the processor's cache.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::MailboxName;
use proto::codec::Tag;
use store::{Epoch, Sequence, Version};

use crate::dump::{Page, Wanted};

/// Pages on the shelf, at most; of a quarter of a megabyte each.
const PAGES_MAX: usize = 64;

/// What decides all octets of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Edition {
    epoch: Epoch,
    sequence: Sequence,
    /// Held entries are in it.
    held: bool,
    tag: Tag,
}

struct Kept {
    edition: Edition,
    after: Option<MailboxName>,
    page: Page,
}

#[derive(Default)]
struct State {
    /// How many dumps are of an edition.
    takers: HashMap<Edition, usize>,
    /// Oldest first.
    pages: VecDeque<Kept>,
}

/// Pages in use by more than one dump. Clones are handles to the same one.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

impl Shelf {
    /// For a dump of a version; `None` where no other is likely to be the same.
    pub(crate) fn taker(&self, version: &Version, wanted: &Wanted, tag: &Tag) -> Option<Taker> {
        let held = match wanted {
            Wanted::All => true,
            Wanted::Resync(None) => false,
            Wanted::LocationPrefix(_) | Wanted::Hosts(_) | Wanted::Resync(Some(_)) => return None,
        };
        let edition = Edition {
            epoch: version.epoch(),
            sequence: version.sequence(),
            held,
            tag: tag.clone(),
        };
        *self.lock().takers.entry(edition.clone()).or_default() += 1;
        Some(Taker {
            shelf: self.clone(),
            edition,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One dump's claim on the pages of its edition; given up when dropped.
pub(crate) struct Taker {
    shelf: Shelf,
    edition: Edition,
}

impl Taker {
    /// The page behind `after`, from the shelf or made.
    pub(crate) fn page(&self, after: Option<&MailboxName>, make: impl FnOnce() -> Page) -> Page {
        let state = self.shelf.lock();
        let same = |kept: &&Kept| kept.edition == self.edition && kept.after.as_ref() == after;
        if let Some(kept) = state.pages.iter().find(same) {
            return kept.page.clone();
        }
        drop(state);
        let page = make();
        let mut state = self.shelf.lock();
        if state
            .takers
            .get(&self.edition)
            .is_some_and(|&takers| takers > 1)
        {
            if state.pages.len() >= PAGES_MAX {
                state.pages.pop_front();
            }
            state.pages.push_back(Kept {
                edition: self.edition.clone(),
                after: after.cloned(),
                page: page.clone(),
            });
        }
        page
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut state = self.shelf.lock();
        if let Some(takers) = state.takers.get_mut(&self.edition) {
            *takers -= 1;
            if *takers == 0 {
                state.takers.remove(&self.edition);
            }
        }
        if state
            .takers
            .get(&self.edition)
            .is_none_or(|&takers| takers < 2)
        {
            state.pages.retain(|kept| kept.edition != self.edition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> MailboxName {
        MailboxName::try_from(format!("user.u{number}").as_bytes()).unwrap()
    }

    fn page_of(number: usize) -> Page {
        Page {
            bytes: format!("page {number}").into(),
            next: None,
            last: None,
        }
    }

    /// Takes a page, and tells whether it had to be made.
    fn taken(taker: &Taker, number: usize) -> bool {
        let mut made = false;
        let page = taker.page(Some(&name(number)), || {
            made = true;
            page_of(number)
        });
        assert_eq!(page.bytes, page_of(number).bytes);
        made
    }

    fn edition(shelf: &Shelf, sequence: u64) -> Taker {
        let edition = Edition {
            epoch: Epoch([7; 16]),
            sequence: Sequence(sequence),
            held: true,
            tag: Tag::from(b"U01".as_slice()),
        };
        *shelf.lock().takers.entry(edition.clone()).or_default() += 1;
        Taker {
            shelf: shelf.clone(),
            edition,
        }
    }

    #[test]
    fn who_takes_the_same_takes_what_the_first_has_made() {
        let shelf = Shelf::default();
        let (one, two, other) = (edition(&shelf, 1), edition(&shelf, 1), edition(&shelf, 2));
        assert!(taken(&one, 1) && !taken(&two, 1), "made once");
        assert!(taken(&two, 2) && !taken(&one, 2), "whoever comes first");
        assert!(taken(&other, 1), "another list is another page");
        assert!(taken(&other, 1), "who is alone keeps nothing");
        drop(one);
        assert!(shelf.lock().pages.is_empty());
        assert!(taken(&two, 1));
    }

    #[test]
    fn the_shelf_is_bounded() {
        let shelf = Shelf::default();
        let (one, two) = (edition(&shelf, 1), edition(&shelf, 1));
        for number in 0..3 * PAGES_MAX {
            assert!(taken(&one, number));
        }
        assert_eq!(shelf.lock().pages.len(), PAGES_MAX);
        assert!(taken(&two, 0) && !taken(&two, 3 * PAGES_MAX - 1));
        drop((one, two));
        assert!(shelf.lock().takers.is_empty() && shelf.lock().pages.is_empty());
    }
}
