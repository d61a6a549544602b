//! What the master says is so.

use proto::{Edit, EditKind, Entry, ReservedBy};
use store::{Decision, Origin, Rules, Stored};

/// The rules that a slave's store is opened with: nothing is refused, since the master has decided.
#[derive(Debug, Clone, Copy, Default)]
pub struct SlaveRules;

impl Rules for SlaveRules {
    fn decide(&mut self, _current: Option<&Stored>, edit: &Edit, _origin: &Origin) -> Decision {
        let entry = match &edit.kind {
            EditKind::Activate { location, acl } => Entry::Active {
                location: location.clone(),
                acl: acl.clone(),
            },
            EditKind::Reserve { location } => reserved(location, ReservedBy::Reserve),
            EditKind::Deactivate { location } => reserved(location, ReservedBy::Deactivate),
            EditKind::Delete => return Decision::Remove,
        };
        Decision::Set {
            entry,
            conflict: false,
        }
    }
}

fn reserved(location: &proto::Location, by: ReservedBy) -> Entry {
    Entry::Reserved {
        location: location.clone(),
        by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Acl, Location, MailboxName};
    use store::Sequence;

    #[test]
    fn everything_is_taken_as_it_is_said() {
        let location = |text: &str| Location::try_from(text.as_bytes()).unwrap();
        let origin = Origin {
            identity: "master".into(),
            peer: "127.0.0.1:3905".into(),
        };
        let elsewhere = Stored {
            entry: reserved(&location("be1!p"), ReservedBy::Reserve),
            changed: Sequence(1),
            held: false,
        };
        let decide = |current, kind| {
            let mailbox = MailboxName::try_from(b"user.x".as_slice()).unwrap();
            SlaveRules.decide(current, &Edit { mailbox, kind }, &origin)
        };
        let acl = Acl::try_from(b"a\tl\t".as_slice()).unwrap();
        for current in [None, Some(&elsewhere)] {
            let reserve = EditKind::Reserve {
                location: location("be2!p"),
            };
            let activate = EditKind::Activate {
                location: location("be2!p"),
                acl: acl.clone(),
            };
            let set = |entry| Decision::Set {
                entry,
                conflict: false,
            };
            let expected = reserved(&location("be2!p"), ReservedBy::Reserve);
            assert_eq!(decide(current, reserve), set(expected));
            let expected = Entry::Active {
                location: location("be2!p"),
                acl: acl.clone(),
            };
            assert_eq!(decide(current, activate), set(expected));
            assert_eq!(decide(current, EditKind::Delete), Decision::Remove);
        }
    }
}
