//! How a role decides about edits.

use proto::{Edit, Entry, Refusal};

use crate::{Origin, Sequence, Stored};

/// What is to become of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is set.
    Set {
        /// The new entry.
        entry: Entry,
        /// The old one is contradicted, and kept beside it until the conflicts are forgotten.
        conflict: bool,
    },
    /// It is removed.
    Remove,
    /// It is already as wished: OK without a change.
    Nothing,
    /// NO.
    Refuse(Refusal),
}

/// A role's rules. The writer calls them with the entry as the edits before have left it.
pub trait Rules: Send {
    /// Decides one edit.
    fn decide(&mut self, current: Option<&Stored>, edit: &Edit, origin: &Origin) -> Decision;
}

/// Rules that carry out every edit: those of a store whose edits somebody else has decided, as a slave's
/// by its master.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsTold;

impl Rules for AsTold {
    fn decide(&mut self, _current: Option<&Stored>, edit: &Edit, _origin: &Origin) -> Decision {
        match edit.kind.clone().into_entry() {
            Some(entry) => Decision::Set {
                entry,
                conflict: false,
            },
            None => Decision::Remove,
        }
    }
}

/// Edits of one peer, to be answered together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who wishes for them.
    pub origin: Origin,
    /// What is wished for, in order.
    pub edits: Vec<Edit>,
}

/// An edit that was carried out, and is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The first sequence whose list holds its outcome.
    pub sequence: Sequence,
    /// Whether there was anything to do.
    pub changed: bool,
}

/// Answer to one edit.
pub type Answer = Result<Committed, Refusal>;

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Acl, EditKind, Location, MailboxName, ReservedBy};

    #[test]
    fn everything_is_carried_out_as_it_is_told() {
        let location = |text: &str| Location::try_from(text.as_bytes()).unwrap();
        let reserved = |text: &str, by| Entry::Reserved {
            location: location(text),
            by,
        };
        let origin = Origin {
            identity: "master".into(),
            peer: "127.0.0.1:3905".into(),
        };
        let elsewhere = Stored {
            entry: reserved("be1!p", ReservedBy::Reserve),
            changed: Sequence(1),
            held: false,
        };
        let decide = |current, kind| {
            let mailbox = MailboxName::try_from(b"user.x".as_slice()).unwrap();
            AsTold.decide(current, &Edit { mailbox, kind }, &origin)
        };
        let set = |entry| Decision::Set {
            entry,
            conflict: false,
        };
        let here = || location("be2!p");
        let acl = Acl::try_from(b"a\tl\t".as_slice()).unwrap();
        for current in [None, Some(&elsewhere)] {
            let (reserve, deactivate, activate) = (
                EditKind::Reserve { location: here() },
                EditKind::Deactivate { location: here() },
                EditKind::Activate {
                    location: here(),
                    acl: acl.clone(),
                },
            );
            let expected = reserved("be2!p", ReservedBy::Reserve);
            assert_eq!(decide(current, reserve), set(expected));
            let expected = reserved("be2!p", ReservedBy::Deactivate);
            assert_eq!(decide(current, deactivate), set(expected));
            let expected = Entry::Active {
                location: here(),
                acl: acl.clone(),
            };
            assert_eq!(decide(current, activate), set(expected));
            assert_eq!(decide(current, EditKind::Delete), Decision::Remove);
        }
    }
}
