//! The reverse ACL index: which mailboxes name a user in their ACL.

use std::collections::BTreeSet;

use proto::{Acl, MailboxName};

use super::naming::{KeyStyle, Naming};

const DOMAIN_SEPARATOR: u8 = 0x1d;
const HIERARCHY_SEPARATOR: u8 = 0x1f;
/// Between the parts of an index key by name.
const INDEX_SEPARATOR: u8 = 0x1e;

/// How the index of one file is kept, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReverseAcls {
    /// No marker: no index.
    Absent,
    /// Only for rights that make a mailbox visible, `l` and `r`.
    Visible(KeyStyle),
    /// For all identifiers: the marker of 3.0 and 3.2.
    All,
}

impl ReverseAcls {
    /// The key whose presence says that the index is kept.
    pub fn marker(style: KeyStyle) -> &'static [u8] {
        match style {
            KeyStyle::Plain => b"$RACL",
            KeyStyle::ByName => b"AS\x1e",
        }
    }

    /// How the index is kept in a file whose marker has this value.
    pub fn of(style: KeyStyle, marker: Option<&[u8]>) -> Self {
        match (style, marker) {
            (_, None) => Self::Absent,
            (KeyStyle::Plain, Some([])) => Self::All,
            (style, Some(_)) => Self::Visible(style),
        }
    }

    /// The index keys, all with empty values, of a mailbox with this ACL.
    pub fn keys(
        self,
        naming: &Naming,
        admins: &[Vec<u8>],
        name: &MailboxName,
        acl: &Acl,
    ) -> BTreeSet<Vec<u8>> {
        let owner = owner(naming, name);
        let skipped =
            |id: &[u8]| owner.as_deref() == Some(id) || admins.iter().any(|admin| admin == id);
        let letter = if owner.is_some() { b'U' } else { b'S' };
        let mut keys = BTreeSet::new();
        for (id, rights) in acl.entries().filter(|(id, _)| !skipped(id)) {
            let visible = rights.iter().any(|right| matches!(right, b'l' | b'r'));
            let key = match self {
                Self::Visible(KeyStyle::ByName) if visible => {
                    let start = [b'A', letter, INDEX_SEPARATOR];
                    let name = naming.database_name(name);
                    [&start, id, &[INDEX_SEPARATOR], &*name].concat()
                }
                Self::Visible(KeyStyle::Plain) if visible => plain_key(letter, id, name),
                Self::All => plain_key(letter, id, name),
                Self::Absent | Self::Visible(_) => continue,
            };
            keys.insert(key);
        }
        keys
    }
}

fn plain_key(letter: u8, id: &[u8], name: &MailboxName) -> Vec<u8> {
    [
        b"$RACL$",
        [letter].as_slice(),
        b"$",
        id,
        b"$",
        &name.to_vec(),
    ]
    .concat()
}

/// The user whose mailbox it is, or was before it was deleted.
fn owner(naming: &Naming, name: &MailboxName) -> Option<Vec<u8>> {
    let key = name.key();
    let (domain, rest) = match key.iter().position(|&octet| octet == DOMAIN_SEPARATOR) {
        Some(at) => (key.get(..at), key.get(at + 1..).unwrap_or_default()),
        None => (None, key),
    };
    let mut parts = rest.split(|&octet| octet == HIERARCHY_SEPARATOR);
    let mut user = (parts.next()?, parts.next()?);
    if user.0 == b"DELETED" {
        user = (user.1, parts.next()?);
    }
    let (b"user", user) = user else {
        return None;
    };
    let domain = domain.filter(|&domain| naming.default_domain.as_deref() != Some(domain));
    Some(match domain {
        Some(domain) => [user, b"@", domain].concat(),
        None => user.to_vec(),
    })
}
