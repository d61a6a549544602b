//! From the octets of a command to values.

use crate::codec::{ResyncCommand, Tag, decode_base64};
use crate::resync::{
    BINARY_BYTES_MAX, Named, ResyncFrom, read_buckets, read_epoch, read_groups, read_sequence,
};
use crate::{Acl, Edit, EditKind, Location, MailboxName, Refusal};

use super::request::{Question, Request};

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

/// `None`: badly formed.
pub(super) fn resync(tag: Tag, command: &ResyncCommand<'_>) -> Option<Request> {
    let (buckets, question) = match command {
        ResyncCommand::Resync {
            epoch,
            sequence,
            hosts,
        } => {
            let from = resync_from(epoch, read_sequence(sequence)?)?;
            let hosts: Vec<Vec<u8>> = hosts.iter().map(|host| host.to_vec()).collect();
            let all_named = hosts.iter().all(|host| !host.is_empty());
            return all_named.then_some(Request::Resync { tag, from, hosts });
        }
        ResyncCommand::Groups { buckets } => (buckets, Question::Groups),
        ResyncCommand::Buckets { buckets, groups } => {
            (buckets, Question::Buckets(read_groups(groups)?))
        }
        ResyncCommand::Entries { buckets, named } => {
            if named.iter().any(|piece| piece.len() > BINARY_BYTES_MAX) {
                return None;
            }
            (
                buckets,
                Question::Entries(Named::read_all(&named.concat())?),
            )
        }
    };
    let buckets = read_buckets(buckets)?;
    Some(Request::Compare {
        tag,
        buckets,
        question,
    })
}

fn resync_from(epoch: &[u8], sequence: u64) -> Option<ResyncFrom> {
    if epoch.is_empty() {
        return (sequence == 0).then_some(ResyncFrom::Nothing);
    }
    let epoch = read_epoch(epoch)?;
    Some(ResyncFrom::Place { epoch, sequence })
}

fn storable_name(name: &[u8], bytes_max: usize) -> Result<MailboxName, Refusal> {
    let parsed = MailboxName::try_from(name)?;
    if parsed.len() > bytes_max {
        return Err(Refusal::NameTooLong { max: bytes_max });
    }
    Ok(parsed)
}
