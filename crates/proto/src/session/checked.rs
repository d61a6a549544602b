//! From the octets of a command to values.

use crate::codec::{Tag, decode_base64};
use crate::{Acl, Edit, EditKind, Location, MailboxName, Refusal};

use super::request::Request;

/// `=` stands for a response of no octets (RFC 4954's way of telling it from none).
pub(super) fn authenticate(tag: Tag, mechanism: Vec<u8>, initial: Option<&[u8]>) -> Request {
    Request::Authenticate {
        tag,
        mechanism,
        initial: initial.map(|text| match text {
            b"=" => Ok(Vec::new()),
            text => decode_base64(text),
        }),
    }
}

pub(super) fn activate(
    name: &[u8],
    location: &[u8],
    acl: &[u8],
    name_bytes_max: usize,
) -> Result<Edit, Refusal> {
    Ok(Edit {
        mailbox: storable_name(name, name_bytes_max)?,
        kind: EditKind::Activate {
            location: Location::try_from(location)?,
            acl: Acl::try_from(acl)?,
        },
    })
}

pub(super) fn reserve(
    name: &[u8],
    location: &[u8],
    name_bytes_max: usize,
) -> Result<Edit, Refusal> {
    Ok(Edit {
        mailbox: storable_name(name, name_bytes_max)?,
        kind: EditKind::Reserve {
            location: Location::try_from(location)?,
        },
    })
}

/// A name that can't be in the directory is not there.
pub(super) fn deactivate(name: &[u8], location: &[u8]) -> Result<Edit, Refusal> {
    Ok(Edit {
        mailbox: MailboxName::try_from(name).map_err(|_| Refusal::DoesNotExist)?,
        kind: EditKind::Deactivate {
            location: Location::try_from(location)?,
        },
    })
}

/// `None` for a name that can't be in the directory.
pub(super) fn delete(name: &[u8]) -> Option<Edit> {
    Some(Edit {
        mailbox: MailboxName::try_from(name).ok()?,
        kind: EditKind::Delete,
    })
}

fn storable_name(name: &[u8], bytes_max: usize) -> Result<MailboxName, Refusal> {
    let parsed = MailboxName::try_from(name)?;
    if parsed.len() > bytes_max {
        return Err(Refusal::NameTooLong { max: bytes_max });
    }
    Ok(parsed)
}
