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

/// Reads data lines behind each other.
///
/// The mailboxes of a user mostly have one location and one ACL, and stand behind each other: then their entries share
/// them, where each would have texts of its own.
#[derive(Debug, Default)]
pub(crate) struct Records {
    last: Option<(Location, Acl)>,
}

impl Records {
    /// The entry in a MAILBOX or RESERVE response; `None` for any other.
    pub(crate) fn listed(&mut self, response: &Response<'_>) -> Option<Listed> {
        let (name, entry) = match response {
            Response::Mailbox {
                name,
                location,
                acl,
                ..
            } => (name, self.active(location, acl)),
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

    fn active(&mut self, location: &[u8], acl: &[u8]) -> Result<Entry, Refusal> {
        if let Some((last, of_last)) = &self.last
            && (last.as_bytes(), of_last.as_bytes()) == (location, acl)
        {
            return Ok(Entry::Active {
                location: last.clone(),
                acl: of_last.clone(),
            });
        }
        // Both anew, also where one is as before: a text that all entries shared would be fought over by the threads that
        // count its users.
        let (location, acl) = (Location::try_from(location)?, Acl::try_from(acl)?);
        self.last = Some((location.clone(), acl.clone()));
        Ok(Entry::Active { location, acl })
    }
}

fn reserved(location: &[u8]) -> Result<Entry, Refusal> {
    Ok(Entry::Reserved {
        location: Location::try_from(location)?,
        by: ReservedBy::Reserve,
    })
}
