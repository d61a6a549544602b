//! All sums that a version keeps of its list.

use std::borrow::Cow;
use std::sync::Arc;

use ahash::AHashMap;
use imbl::{OrdMap, OrdSet};
use proto::MailboxName;

use crate::buckets::{Buckets, index};
use crate::digest::Digester;
use crate::list::Listed;
use crate::{HostFilter, Sum};

/// Sums of a whole list, of each server and of each bucket. Held entries are in none of them.
#[derive(Clone)]
pub(crate) struct Digests {
    pub(crate) sum: Sum,
    hosts: OrdMap<Arc<[u8]>, Sum>,
    pub(crate) buckets: Buckets,
}

/// An entry that counts: its digest, and where it is.
pub(crate) struct Counted<'a> {
    sum: Sum,
    server: Cow<'a, [u8]>,
}

impl Digests {
    pub(crate) fn empty() -> Self {
        Tally::new(0).finish().0
    }

    /// As they were kept of a list that adds up to `sum`; `None`: they don't.
    pub(crate) fn kept(sum: Sum, hosts: Vec<(Arc<[u8]>, Sum)>, buckets: Vec<Sum>) -> Option<Self> {
        let of_hosts: Sum = hosts.iter().map(|(_, sum)| *sum).sum();
        let of_buckets: Sum = buckets.iter().copied().sum();
        let fits = of_hosts == sum && of_buckets == sum && Buckets::may_be(buckets.len());
        fits.then(|| Self {
            sum,
            hosts: hosts.into_iter().collect(),
            buckets: Buckets::from_sums(buckets),
        })
    }

    /// The sum of each server.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (&[u8], Sum)> {
        self.hosts.iter().map(|(server, sum)| (&**server, *sum))
    }

    pub(crate) fn sum_of_hosts(&self, filter: &HostFilter) -> Sum {
        let hosts = filter.hosts();
        hosts.filter_map(|host| self.hosts.get(host)).copied().sum()
    }

    /// What an entry will count for.
    pub(crate) fn counted<'a>(
        digester: &mut Digester,
        listed: Option<Listed<'a>>,
    ) -> Option<Counted<'a>> {
        let listed = listed.filter(|listed| !listed.held)?;
        Some(Counted {
            sum: Sum::of(digester.entry(listed.mailbox, listed.entry)),
            server: listed.entry.location().server().into(),
        })
    }

    /// What an entry has counted for that gives way to `new`, with which it mostly shares the server.
    pub(crate) fn counted_before<'a>(
        digester: &mut Digester,
        old: Option<Listed<'_>>,
        new: Option<&Counted<'a>>,
    ) -> Option<Counted<'a>> {
        let Counted { sum, server } = Self::counted(digester, old)?;
        let same = new.filter(|new| new.server == server);
        let server = same.map_or_else(|| Cow::Owned(server.to_vec()), |new| new.server.clone());
        Some(Counted { sum, server })
    }

    pub(crate) fn change(
        &mut self,
        digester: &mut Digester,
        mailbox: &MailboxName,
        old: Option<&Counted<'_>>,
        new: Option<&Counted<'_>>,
    ) {
        let sum_of = |counted: Option<&Counted<'_>>| counted.map_or_else(Sum::default, |c| c.sum);
        let by = sum_of(new) - sum_of(old);
        if by == Sum::default() {
            return;
        }
        self.sum += by;
        self.buckets.change(digester.owner(mailbox), mailbox, by);
        match (old, new) {
            (Some(old), Some(new)) if old.server == new.server => {
                self.add_to_host(&new.server, by);
            }
            _ => {
                if let Some(old) = old {
                    self.add_to_host(&old.server, Sum::default() - old.sum);
                }
                if let Some(new) = new {
                    self.add_to_host(&new.server, new.sum);
                }
            }
        }
    }

    fn add_to_host(&mut self, server: &[u8], by: Sum) {
        let Some(sum) = self.hosts.get_mut(server) else {
            self.hosts.insert(server.into(), by);
            return;
        };
        *sum += by;
        if *sum == Sum::default() {
            self.hosts.remove(server);
        }
    }
}

/// Two sets of sums are the same if they say the same of every server and bucket; the numbers of
/// buckets may differ.
impl PartialEq for Digests {
    fn eq(&self, other: &Self) -> bool {
        let len = self.buckets.len().min(other.buckets.len());
        self.sum == other.sum
            && self.hosts == other.hosts
            && self.buckets.folded(len) == other.buckets.folded(len)
    }
}

/// Sums of a part of a list, so that several may count parts of it.
#[derive(Default)]
pub(crate) struct Part {
    sum: Sum,
    hosts: AHashMap<Arc<[u8]>, Sum>,
    /// By the hash of their owner; an owner's entries mostly stand behind each other.
    owners: Vec<(u32, Sum)>,
    held: Vec<MailboxName>,
}

impl Part {
    pub(crate) fn add(&mut self, digester: &mut Digester, listed: &Listed<'_>) {
        self.hold(listed);
        if listed.held {
            return;
        }
        let sum = Sum::of(digester.entry(listed.mailbox, listed.entry));
        self.sum += sum;
        let server = listed.entry.location().server();
        match self.hosts.get_mut(server) {
            Some(host) => *host += sum,
            None => _ = self.hosts.insert(server.into(), sum),
        }
        let owner = digester.owner(listed.mailbox);
        match self.owners.last_mut() {
            Some((last, of_owner)) if *last == owner => *of_owner += sum,
            _ => self.owners.push((owner, sum)),
        }
    }

    /// Notes an entry if it is held, and adds up nothing.
    pub(crate) fn hold(&mut self, listed: &Listed<'_>) {
        if listed.held {
            self.held.push(listed.mailbox.to_name());
        }
    }

    pub(crate) fn owners(&self) -> usize {
        self.owners.len()
    }
}

/// Puts together what parts of a list add up to.
pub(crate) struct Tally {
    sum: Sum,
    hosts: AHashMap<Arc<[u8]>, Sum>,
    buckets: Vec<Sum>,
    held: OrdSet<MailboxName>,
}

impl Tally {
    /// For a list of about so many entries.
    pub(crate) fn new(entries: u64) -> Self {
        Self {
            sum: Sum::default(),
            hosts: AHashMap::new(),
            buckets: vec![Sum::default(); index(Buckets::len_for(entries))],
            held: OrdSet::new(),
        }
    }

    pub(crate) fn take(&mut self, part: Part) {
        self.sum += part.sum;
        for (host, sum) in part.hosts {
            *self.hosts.entry(host).or_default() += sum;
        }
        let mask = self.buckets.len() - 1;
        for (owner, sum) in part.owners {
            if let Some(bucket) = self.buckets.get_mut(index(owner) & mask) {
                *bucket += sum;
            }
        }
        self.held.extend(part.held);
    }

    /// The sums, and the names that are held.
    pub(crate) fn finish(self) -> (Digests, OrdSet<MailboxName>) {
        let digests = Digests {
            sum: self.sum,
            hosts: self.hosts.into_iter().collect(),
            buckets: Buckets::from_sums(self.buckets),
        };
        (digests, self.held)
    }
}
