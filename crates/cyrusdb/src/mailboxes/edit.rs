//! Entries put into a database, past what belongs to the host itself.

use std::collections::BTreeSet;

use proto::{Acl, Entry, MailboxName};

use super::naming::{KeyStyle, Naming, StyleGuess};
use super::record::{Local, Record};
use super::reverse::ReverseAcls;
use crate::Error;
use crate::file::Disk;
use crate::twoskip::{Database, Transaction};

/// How `mailboxes.db` is kept on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailboxes {
    /// How keys are made.
    pub naming: Naming,
    /// Option `servername` of a unified server, whose records are never touched.
    pub own_server: Option<Vec<u8>>,
    /// Option `admins`: not in the reverse ACL index.
    pub admins: Vec<Vec<u8>>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The transaction changes it.
    Changed,
    /// The file has it already, up to the time of writing.
    Unchanged,
    /// Left alone: it belongs to the host itself.
    LeftAlone(Local),
}

impl Mailboxes {
    /// A frontend with this style of keys.
    pub fn new(style: KeyStyle) -> Self {
        Self {
            naming: Naming::new(style),
            own_server: None,
            admins: Vec::new(),
        }
    }

    /// The style that a file's keys have; `None` if there are none that tell.
    pub fn detect_style<D: Disk>(database: &mut Database<D>) -> Result<Option<KeyStyle>, Error> {
        let mut guess = StyleGuess::default();
        database.read()?.walk(None, |key, value| {
            guess.see(key, value);
            guess.style().is_none()
        })?;
        Ok(guess.style())
    }

    /// Makes the entry of `name` this one, with its reverse ACL keys. A tombstone or an intermediate of the host itself
    /// gives way to an active mailbox elsewhere, not to a reservation.
    pub fn set<D: Disk>(
        &self,
        transaction: &mut Transaction<'_, D>,
        name: &MailboxName,
        entry: &Entry,
        modified: u64,
    ) -> Result<Outcome, Error> {
        if self.own_server.as_deref() == Some(entry.location().server()) {
            return Ok(Outcome::LeftAlone(Local::OwnServer));
        }
        let key = self.naming.key(name);
        let old = match self.remote(transaction, &key)? {
            Err(local) if local.yields() && entry.acl().is_some() => None,
            Err(local) => return Ok(Outcome::LeftAlone(local)),
            Ok(Some(old)) if old.says(entry) => return Ok(Outcome::Unchanged),
            Ok(old) => old,
        };
        let value = Record::encode(self.naming.style, entry, modified);
        transaction.put(&key, &value)?;
        self.reindex(transaction, name, old.as_ref(), entry.acl())?;
        Ok(Outcome::Changed)
    }

    /// Removes the entry of `name`, with its reverse ACL keys.
    pub fn remove<D: Disk>(
        &self,
        transaction: &mut Transaction<'_, D>,
        name: &MailboxName,
    ) -> Result<Outcome, Error> {
        let key = self.naming.key(name);
        let old = match self.remote(transaction, &key)? {
            Err(local) => return Ok(Outcome::LeftAlone(local)),
            Ok(None) => return Ok(Outcome::Unchanged),
            Ok(Some(old)) => old,
        };
        transaction.delete(&key)?;
        self.reindex(transaction, name, Some(&old), None)?;
        Ok(Outcome::Changed)
    }

    /// The record under a key, unless it is the host's own.
    fn remote<D: Disk>(
        &self,
        transaction: &mut Transaction<'_, D>,
        key: &[u8],
    ) -> Result<Result<Option<Record>, Local>, Error> {
        let Some(value) = transaction.get(key)? else {
            return Ok(Ok(None));
        };
        let Ok(record) = Record::parse(&value) else {
            return Ok(Err(Local::Unreadable));
        };
        Ok(match record.local(self.own_server.as_deref()) {
            Some(local) => Err(local),
            None => Ok(Some(record)),
        })
    }

    /// Brings the reverse ACL index from the old record to the new ACL, where there is an index. The
    /// marker is looked up each time: `ctl_cyrusdb -r` may have made or removed the index.
    fn reindex<D: Disk>(
        &self,
        transaction: &mut Transaction<'_, D>,
        name: &MailboxName,
        old: Option<&Record>,
        acl: Option<&Acl>,
    ) -> Result<(), Error> {
        let style = self.naming.style;
        let marker = transaction.get(ReverseAcls::marker(style))?;
        let index = ReverseAcls::of(style, marker.as_deref());
        if index == ReverseAcls::Absent {
            return Ok(());
        }
        let keys = |acl: Option<&Acl>| match acl {
            Some(acl) => index.keys(&self.naming, &self.admins, name, acl),
            None => BTreeSet::new(),
        };
        let old = old.and_then(|old| Acl::try_from(old.acl()).ok());
        let (old, new) = (keys(old.as_ref()), keys(acl));
        for key in old.difference(&new) {
            transaction.delete(key)?;
        }
        for key in new.difference(&old) {
            transaction.put(key, b"")?;
        }
        Ok(())
    }
}
