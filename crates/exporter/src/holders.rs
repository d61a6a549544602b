//! Two names for one key.
//!
//! By name, some mailboxes have a key that is not their own octets: those in the default domain, and
//! `DELETED` ones whose hexadecimal time Cyrus writes in another way. So two mailboxes of the
//! directory can claim one key; the first stays, the second is named in the log.

use std::collections::HashMap;

use cyrusdb::mailboxes::{KeyMeaning, KeyStyle, Naming, Record};
use proto::{Entry, MailboxName};
use store::Version;

/// Which mailbox has which key.
#[derive(Debug)]
pub(crate) struct Holders {
    naming: Naming,
    /// Mailboxes whose key is not their own octets, by key, in the order they came.
    aliases: HashMap<Vec<u8>, Vec<MailboxName>>,
    /// Who has a key that was contested.
    contested: HashMap<Vec<u8>, MailboxName>,
}

/// What is to be in the file under the key of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// Whose record it is.
    pub(crate) holder: MailboxName,
    /// What it says; `None`: no record.
    pub(crate) entry: Option<Entry>,
}

impl Holders {
    /// Those of a list.
    pub(crate) fn of(naming: Naming, version: &Version) -> Self {
        let mut holders = Self {
            naming,
            aliases: HashMap::new(),
            contested: HashMap::new(),
        };
        let own = holders.naming.own_keys();
        let names = version.between(b""..own.start);
        for listed in names.chain(version.starting_at(own.end)) {
            let name = listed.mailbox.to_name();
            if !holders.naming.is_own_key(&name) {
                let key = holders.naming.key(&name);
                holders.aliases.entry(key).or_default().push(name);
            }
        }
        holders
    }

    /// How keys are made.
    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Whether all names have their own keys, so that those are in the order of the names.
    pub(crate) fn are_names(&self) -> bool {
        self.naming.style == KeyStyle::ByName && self.aliases.is_empty()
    }

    /// Who has the key of `name`, and what the list says about it.
    pub(crate) fn wanted(&mut self, name: &MailboxName, version: &Version) -> Wanted {
        let (key, holder) = self.holder(name, version);
        let entry = version.find(&holder).map(|listed| listed.entry.to_entry());
        Wanted { key, holder, entry }
    }

    /// The key of `name`, and who has it.
    pub(crate) fn holder(
        &mut self,
        name: &MailboxName,
        version: &Version,
    ) -> (Vec<u8>, MailboxName) {
        let key = self.naming.key(name);
        let own = self.naming.is_own_key(name);
        if !own {
            self.note_alias(&key, name, version);
        }
        let holder = if own && !self.aliases.contains_key(&key) {
            self.contested.remove(&key);
            name.clone()
        } else {
            let holder = self.holder_of(&key, version);
            holder.unwrap_or_else(|| name.clone())
        };
        (key, holder)
    }

    /// The mailboxes of the list that claim a key.
    pub(crate) fn rivals(&self, key: &[u8], version: &Version) -> Vec<MailboxName> {
        let aliases = self.aliases.get(key).into_iter().flatten();
        let own = match self.naming.meaning(key) {
            KeyMeaning::Mailbox(name) => Some(name),
            KeyMeaning::Unusable(_) | KeyMeaning::Other => None,
        };
        let mut rivals: Vec<MailboxName> = own
            .into_iter()
            .chain(aliases.cloned())
            .filter(|name| version.find(name).is_some())
            .collect();
        rivals.dedup();
        rivals
    }

    /// Whoever a record of the file speaks of was first. `true` if that settles a contested key.
    pub(crate) fn prefer(&mut self, key: &[u8], record: &Record, version: &Version) -> bool {
        let says = |name: &MailboxName| {
            let listed = version.find(name);
            listed.is_some_and(|listed| record.says(listed.entry))
        };
        let first = self.rivals(key, version).into_iter().find(says);
        first.is_some_and(|first| {
            self.contested.insert(key.to_vec(), first);
            true
        })
    }

    fn note_alias(&mut self, key: &[u8], name: &MailboxName, version: &Version) {
        if version.find(name).is_some() {
            let names = self.aliases.entry(key.to_vec()).or_default();
            if !names.contains(name) {
                names.push(name.clone());
            }
        } else if let Some(names) = self.aliases.get_mut(key) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.aliases.remove(key);
            }
        }
    }

    /// The holder of a key with claimants whose own it is not.
    fn holder_of(&mut self, key: &[u8], version: &Version) -> Option<MailboxName> {
        let held = self.contested.get(key);
        if let Some(held) = held.filter(|held| version.find(*held).is_some()) {
            return Some(held.clone());
        }
        let changed = |name: &MailboxName| version.find(name).map(|listed| listed.changed);
        let first = self.rivals(key, version).into_iter().min_by_key(changed);
        match &first {
            Some(first) => self.contested.insert(key.to_vec(), first.clone()),
            None => self.contested.remove(key),
        };
        first
    }
}
