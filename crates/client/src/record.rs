//! From the octets of a data line to values.

use proto::codec::Response;
use proto::{Acl, Entry, Location, MailboxName, Refusal, ReservedBy};
use thiserror::Error;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A mailbox, active or reserved.
    Mailbox {
        /// Its name.
        name: MailboxName,
        /// What the server knows of it. A reservation counts as made by RESERVE.
        entry: Entry,
    },
    /// One that can't be represented here.
    Unusable(Unusable),
}

/// A mailbox that a server (Cyrus checks nothing) knows and we would not store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unusable mailbox {:?}: {reason}", .name.escape_ascii().to_string())]
pub struct Unusable {
    /// The name as the server sent it.
    pub name: Vec<u8>,
    /// What is wrong with it, its location or its ACL.
    pub reason: Refusal,
}

/// The entry in a MAILBOX or RESERVE response; `None` for any other.
pub(crate) fn listed(response: &Response<'_>) -> Option<Listed> {
    let (name, entry) = match response {
        Response::Mailbox {
            name,
            location,
            acl,
            ..
        } => (name, active(location, acl)),
        Response::Reserve { name, location, .. } => (name, reserved(location)),
        _ => return None,
    };
    let listed = MailboxName::try_from(name.as_ref())
        .map_err(Refusal::from)
        .and_then(|name| {
            Ok(Listed::Mailbox {
                name,
                entry: entry?,
            })
        });
    Some(listed.unwrap_or_else(|reason| {
        Listed::Unusable(Unusable {
            name: name.to_vec(),
            reason,
        })
    }))
}

fn active(location: &[u8], acl: &[u8]) -> Result<Entry, Refusal> {
    Ok(Entry::Active {
        location: Location::try_from(location)?,
        acl: Acl::try_from(acl)?,
    })
}

fn reserved(location: &[u8]) -> Result<Entry, Refusal> {
    Ok(Entry::Reserved {
        location: Location::try_from(location)?,
        by: ReservedBy::Reserve,
    })
}
