//! Pages of dumps and lists: a walk over one version, a page at a time.

use std::sync::Arc;

use bytes::Bytes;
use proto::codec::encode::Lines;
use proto::codec::{Tag, encode};
use proto::{LocationRef, MailboxName, NameRef};
use store::{HostFilter, Listed, Matching, Version};

/// A page is full at this many octets.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;
/// A page ends after this many entries looked at, so that a LIST that matches little does not
/// keep a thread of the pool from the others.
const PAGE_ENTRIES_MAX: usize = 32 * 1024;

/// Which entries are wanted.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// LIST without a prefix, UPDATE without hosts.
    All,
    /// LIST with a prefix of the location, octet-wise (Cyrus: `cmd_list`).
    LocationPrefix(Arc<[u8]>),
    /// UPDATE with hosts: the location's server is one of them (Cyrus: PARTIAL-UPDATE).
    Hosts(HostFilter),
    /// RESYNC, with or without hosts: no held entries (`docs/resync.md`, section 6.1).
    Resync(Option<HostFilter>),
}

impl Wanted {
    /// The hosts of a partial update.
    pub(crate) fn hosts(&self) -> Option<&HostFilter> {
        match self {
            Self::Hosts(hosts) => Some(hosts),
            Self::Resync(hosts) => hosts.as_ref(),
            Self::All | Self::LocationPrefix(_) => None,
        }
    }

    pub(crate) fn includes(&self, listed: &Listed<'_>) -> bool {
        self.allows(listed) && self.includes_location(listed.entry.location())
    }

    /// Whether an entry is wanted, wherever its mailbox is.
    fn allows(&self, listed: &Listed<'_>) -> bool {
        match self {
            Self::All | Self::LocationPrefix(_) | Self::Hosts(_) => true,
            Self::Resync(_) => !listed.held,
        }
    }

    fn includes_location(&self, location: LocationRef<'_>) -> bool {
        match self {
            Self::All | Self::Resync(None) => true,
            Self::LocationPrefix(prefix) => location.as_bytes().starts_with(prefix),
            Self::Hosts(hosts) | Self::Resync(Some(hosts)) => hosts.matches(location),
        }
    }

    /// The entries of `version` behind a name that may be wanted, as far as their locations tell.
    fn matching<'a>(
        &self,
        version: &'a Version,
        after: Option<&MailboxName>,
    ) -> Matching<'a, impl Fn(LocationRef<'_>) -> bool> {
        version.matching_after(after, |location| self.includes_location(location))
    }
}

/// One page of lines, and where the next begins. A clone shares the lines.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) bytes: Bytes,
    /// Where to go on: after this name. `None` when the list has been walked to its end.
    pub(crate) next: Option<MailboxName>,
    /// The last mailbox in the page.
    pub(crate) last: Option<MailboxName>,
}

/// Encodes the page of `version` that follows `after`, in key order, under `tag`.
pub(crate) fn page(
    version: &Version,
    after: Option<&MailboxName>,
    wanted: &Wanted,
    tag: &Tag,
) -> Page {
    let mut lines = Lines::new(tag, PAGE_BYTES + 1024);
    let (mut next, mut last) = (None, None);
    let mut entries = wanted.matching(version, after);
    while let Some(listed) = entries.next() {
        if wanted.allows(&listed) {
            lines.push(listed.mailbox, listed.entry);
            last = Some(listed.mailbox);
        }
        if lines.len() >= PAGE_BYTES || entries.looked_at() >= PAGE_ENTRIES_MAX {
            next = Some(listed.mailbox.to_name());
            break;
        }
    }
    Page {
        bytes: lines.into_octets().into(),
        next,
        last: last.map(NameRef::to_name),
    }
}

/// The wanted names of `version` in plain octet order, for backends up to Cyrus 3.4, whose
/// `ctl_mboxlist -m` walks their own list that way.
pub(crate) fn names_in_octet_order(version: &Version, wanted: &Wanted) -> Vec<MailboxName> {
    let matching = wanted.matching(version, None);
    let matching = matching.filter(|listed| wanted.allows(listed));
    let mut names: Vec<MailboxName> = matching.map(|listed| listed.mailbox.to_name()).collect();
    names.sort_by_cached_key(MailboxName::to_vec);
    names
}

/// Encodes the current entries of some names, in the order given, until a page is full. Returns the
/// lines and how many names they cover.
pub(crate) fn lines_of(version: &Version, names: &[MailboxName], tag: &Tag) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for (covered, mailbox) in names.iter().enumerate() {
        if bytes.len() >= PAGE_BYTES {
            return (bytes, covered);
        }
        if let Some(listed) = version.find(mailbox) {
            encode::entry_line(&mut bytes, tag, listed.mailbox, listed.entry);
        }
    }
    (bytes, names.len())
}
