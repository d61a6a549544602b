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

use proto::MailboxName;
use store::Version;

/// Octets that stand for `!`, `.` and `^` in a key.
const KEY_DOMAIN: u8 = 0x1D;
const KEY_HIERARCHY: u8 = 0x1F;
const KEY_CARET: u8 = b'.';

/// What a slave may still hold although the list lacks it.
#[derive(Debug)]
pub(crate) enum Lacking {
    /// These names, deleted since the slave was last known to be in step.
    Names(Vec<MailboxName>),
    /// Nobody knows; these are the deleted names that history still has.
    Unknown(Vec<MailboxName>),
}

/// The endangered names of `version`, in key order.
pub(crate) fn endangered(version: &Version, lacking: &Lacking) -> Vec<MailboxName> {
    match lacking {
        Lacking::Names(deleted) => {
            let mut prefixes = Prefixes::default();
            let gone = deleted.iter().filter(|name| version.get(name).is_none());
            gone.for_each(|name| prefixes.add(name));
            let found = prefixes
                .ranges()
                .flat_map(|range| names_in(version, &range));
            found.collect::<BTreeSet<_>>().into_iter().collect()
        }
        Lacking::Unknown(deleted) => {
            let mut prefixes = Prefixes::default();
            for name in deleted {
                prefixes.add_carets(name);
            }
            version
                .after(None)
                .for_each(|(name, _)| prefixes.add_carets(name));
            let mut found: BTreeSet<MailboxName> = prefixes
                .ranges()
                .flat_map(|range| names_in(version, &range))
                .collect();
            let low = version
                .after(None)
                .map(|(name, _)| name)
                .filter(|name| has_low_octet(name));
            found.extend(low.cloned());
            found.into_iter().collect()
        }
    }
}

/// Whether any sibling below the dot could have been deleted before this name.
fn has_low_octet(name: &MailboxName) -> bool {
    name.key().iter().any(|octet| (0x20..0x2E).contains(octet))
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
        self.add_carets(name);
    }

    fn add_carets(&mut self, name: &MailboxName) {
        let key = name.key();
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
        .map(|(name, _)| name.clone())
        .collect()
}
