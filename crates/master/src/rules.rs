//! What becomes of an entry when a backend asks for an edit (RFC 3656 section 4; Cyrus: `cmd_set`).
//!
//! | entry | RESERVE | ACTIVATE | DEACTIVATE | DELETE |
//! |---|---|---|---|---|
//! | none | reserved | active | NO | OK, nothing to do |
//! | reserved, same location | reserved | active | reserved | none |
//! | reserved, same server | NO | active | reserved | none |
//! | reserved elsewhere | NO | active | NO | none |
//! | active, same location | reserved | active | reserved | none |
//! | active elsewhere | NO | active | reserved there | none |
//!
//! Where a NO in the column RESERVE stands, a replicated murder says OK: the other replica may ask for
//! the same name. Where Cyrus 3.6 crashes (DEACTIVATE and DELETE of an unknown name, DEACTIVATE of a
//! reserved one) we answer so that a backend that retries after a lost reply succeeds; with
//! [`Policy::strict`] as the RFC demands.

use std::sync::Arc;

use proto::{Edit, EditKind, Entry, Location, Refusal, ReservedBy};
use store::{Decision, Origin, Rules, Stored};
use tracing::info;

use crate::Recovery;

/// Which kind of murder this is (imapd.conf: `mupdate_config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Murder {
    /// Each mailbox lives on one backend.
    #[default]
    Standard,
    /// Backends share their mailboxes; locations are bare partitions.
    Replicated,
}

/// A site's choices about edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Standard or replicated.
    pub murder: Murder,
    /// NO as the RFC has it, where we otherwise forgive a retried command (`mupdate_strict`).
    pub strict: bool,
}

impl Policy {
    /// Decides on one edit, given the entry as it is.
    pub fn decide(self, current: Option<&Entry>, edit: &Edit) -> Decision {
        match &edit.kind {
            EditKind::Activate { location, acl } => set(Entry::Active {
                location: location.clone(),
                acl: acl.clone(),
            }),
            EditKind::Reserve { location } => self.reserve(current, location),
            EditKind::Deactivate { location } => self.deactivate(current, location),
            EditKind::Delete if current.is_some() => Decision::Remove,
            EditKind::Delete if self.strict => Decision::Refuse(Refusal::DoesNotExist),
            EditKind::Delete => Decision::Nothing,
        }
    }

    fn reserve(self, current: Option<&Entry>, location: &Location) -> Decision {
        match current {
            Some(entry) if self.murder == Murder::Standard && entry.location() != location => {
                Decision::Refuse(Refusal::Exists)
            }
            _ => set(Entry::Reserved {
                location: location.clone(),
                by: ReservedBy::Reserve,
            }),
        }
    }

    fn deactivate(self, current: Option<&Entry>, location: &Location) -> Decision {
        let reserved = set(Entry::Reserved {
            location: location.clone(),
            by: ReservedBy::Deactivate,
        });
        match current {
            None => Decision::Refuse(Refusal::DoesNotExist),
            Some(Entry::Active { .. }) => reserved,
            Some(Entry::Reserved { location: held, .. }) => {
                let retried = held.server() == location.server() && !self.strict;
                if retried {
                    reserved
                } else {
                    Decision::Refuse(Refusal::NotActive)
                }
            }
        }
    }
}

fn set(entry: Entry) -> Decision {
    Decision::Set {
        entry,
        conflict: false,
    }
}

/// The rules that a master's store is opened with.
#[derive(Debug)]
pub struct MasterRules {
    policy: Policy,
    recovery: Arc<Recovery>,
}

impl MasterRules {
    /// Decides by `policy`; while in recovery, contradictions are kept.
    pub fn new(policy: Policy, recovery: Arc<Recovery>) -> Self {
        Self { policy, recovery }
    }
}

impl Rules for MasterRules {
    fn decide(&mut self, current: Option<&Stored>, edit: &Edit, origin: &Origin) -> Decision {
        let current = current.map(|stored| &stored.entry);
        let in_recovery = self.recovery.is_on();
        let decision = self.policy.decide(current, edit);
        match decision {
            Decision::Remove if in_recovery => {
                let server = current.map_or(&[][..], |entry| entry.location().server());
                if self.recovery.may_withdraw(&edit.mailbox, server) {
                    Decision::Remove
                } else {
                    Decision::Refuse(Refusal::InRecovery)
                }
            }
            Decision::Nothing => {
                info!(mailbox = %edit.mailbox, identity = %origin.identity, peer = %origin.peer, "DELETE of an unknown mailbox");
                Decision::Nothing
            }
            Decision::Set { entry, .. } => {
                let conflict =
                    in_recovery && current.is_some_and(|older| contradicts(older, &entry));
                Decision::Set { entry, conflict }
            }
            other => other,
        }
    }
}

/// Whether two servers claim the same mailbox.
fn contradicts(older: &Entry, newer: &Entry) -> bool {
    older.location().server() != newer.location().server()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Acl, MailboxName};

    const NO_EXISTS: &str = "NO mailbox already exists";
    const NO_NOT_ACTIVE: &str = "NO mailbox not currently active";
    const NO_UNKNOWN: &str = "NO mailbox doesn't exist";

    fn location(text: &str) -> Location {
        Location::try_from(text.as_bytes()).unwrap()
    }

    fn edit(command: &str) -> Edit {
        let mut words = command.split(' ');
        let kind = match (words.next().unwrap(), words.next().map(location)) {
            ("RESERVE", Some(location)) => EditKind::Reserve { location },
            ("ACTIVATE", Some(location)) => EditKind::Activate {
                location,
                acl: Acl::try_from(b"a\tl\t".as_slice()).unwrap(),
            },
            ("DEACTIVATE", Some(location)) => EditKind::Deactivate { location },
            ("DELETE", None) => EditKind::Delete,
            other => panic!("{other:?}"),
        };
        Edit {
            mailbox: MailboxName::try_from(b"user.x".as_slice()).unwrap(),
            kind,
        }
    }

    fn entry(state: &str) -> Option<Entry> {
        let (state, at) = state.split_once(' ').unwrap_or((state, ""));
        match state {
            "none" => None,
            "reserved" => Some(Entry::Reserved {
                location: location(at),
                by: ReservedBy::Reserve,
            }),
            "active" => Some(Entry::Active {
                location: location(at),
                acl: Acl::try_from(b"".as_slice()).unwrap(),
            }),
            other => panic!("{other}"),
        }
    }

    fn outcome(policy: Policy, state: &str, command: &str) -> String {
        match policy.decide(entry(state).as_ref(), &edit(command)) {
            Decision::Set {
                entry: Entry::Active { location, .. },
                ..
            } => format!("active {location}"),
            Decision::Set {
                entry: Entry::Reserved { location, .. },
                ..
            } => format!("reserved {location}"),
            Decision::Remove => "none".to_owned(),
            Decision::Nothing => "unchanged".to_owned(),
            Decision::Refuse(refusal) => format!("NO {refusal}"),
        }
    }

    /// State, command, outcome in a standard murder, outcome in a replicated one.
    const TABLE: &[(&str, &str, &str, &str)] = &[
        ("none", "RESERVE h1!p1", "reserved h1!p1", "reserved h1!p1"),
        ("none", "ACTIVATE h1!p1", "active h1!p1", "active h1!p1"),
        ("none", "DEACTIVATE h1!p1", NO_UNKNOWN, NO_UNKNOWN),
        ("none", "DELETE", "unchanged", "unchanged"),
        (
            "reserved h1!p1",
            "RESERVE h1!p1",
            "reserved h1!p1",
            "reserved h1!p1",
        ),
        (
            "reserved h1!p1",
            "RESERVE h1!p2",
            NO_EXISTS,
            "reserved h1!p2",
        ),
        (
            "reserved h1!p1",
            "RESERVE h2!p1",
            NO_EXISTS,
            "reserved h2!p1",
        ),
        (
            "reserved h1!p1",
            "ACTIVATE h2!p1",
            "active h2!p1",
            "active h2!p1",
        ),
        (
            "reserved h1!p1",
            "DEACTIVATE h1!p1",
            "reserved h1!p1",
            "reserved h1!p1",
        ),
        (
            "reserved h1!p1",
            "DEACTIVATE h1!",
            "reserved h1!",
            "reserved h1!",
        ),
        (
            "reserved h1!p1",
            "DEACTIVATE h9!p1",
            NO_NOT_ACTIVE,
            NO_NOT_ACTIVE,
        ),
        ("reserved h1!p1", "DELETE", "none", "none"),
        (
            "active h1!p1",
            "RESERVE h1!p1",
            "reserved h1!p1",
            "reserved h1!p1",
        ),
        ("active h1!p1", "RESERVE h2!p2", NO_EXISTS, "reserved h2!p2"),
        (
            "active h1!p1",
            "ACTIVATE h3!p9",
            "active h3!p9",
            "active h3!p9",
        ),
        (
            "active h1!p1",
            "DEACTIVATE h1!p1",
            "reserved h1!p1",
            "reserved h1!p1",
        ),
        (
            "active h1!p1",
            "DEACTIVATE h4!p4",
            "reserved h4!p4",
            "reserved h4!p4",
        ),
        ("active h1!p1", "DELETE", "none", "none"),
    ];

    #[test]
    fn transitions_of_both_kinds_of_murder() {
        for (state, command, standard, replicated) in TABLE {
            let decide = |murder| {
                outcome(
                    Policy {
                        murder,
                        ..Policy::default()
                    },
                    state,
                    command,
                )
            };
            assert_eq!(
                decide(Murder::Standard),
                *standard,
                "standard: {state}: {command}"
            );
            assert_eq!(
                decide(Murder::Replicated),
                *replicated,
                "replicated: {state}: {command}"
            );
        }
    }

    #[test]
    fn strict_follows_the_rfc() {
        let strict = Policy {
            strict: true,
            ..Policy::default()
        };
        assert_eq!(outcome(strict, "none", "DELETE"), NO_UNKNOWN);
        assert_eq!(
            outcome(strict, "reserved h1!p1", "DEACTIVATE h1!p1"),
            NO_NOT_ACTIVE
        );
    }

    #[test]
    fn in_recovery_a_mailbox_that_was_claimed_meanwhile_stays() {
        let recovery = Arc::new(Recovery::off());
        recovery.begin("test");
        let mut rules = MasterRules::new(Policy::default(), Arc::clone(&recovery));
        let origin = Origin {
            identity: "be1".into(),
            peer: "127.0.0.1:1".into(),
        };
        let mut delete = |state| {
            let stored = Stored {
                entry: entry(state).unwrap(),
                changed: store::Sequence::default(),
                held: false,
            };
            rules.decide(Some(&stored), &edit("DELETE"), &origin)
        };
        let refused = Decision::Refuse(Refusal::InRecovery);
        assert_eq!(delete("active h1!p1"), refused, "nobody was allowed to");
        recovery.allow_withdrawal(&edit("DELETE").mailbox, b"h1");
        assert_eq!(
            delete("active h2!p1"),
            refused,
            "it is on another server now"
        );
        recovery.allow_withdrawal(&edit("DELETE").mailbox, b"h1");
        assert_eq!(delete("active h1!p2"), Decision::Remove);
    }

    #[test]
    fn a_contradiction_is_kept_only_in_recovery() {
        let recovery = Arc::new(Recovery::off());
        let mut rules = MasterRules::new(Policy::default(), Arc::clone(&recovery));
        let older = Stored {
            entry: entry("active h1!p1").unwrap(),
            changed: store::Sequence::default(),
            held: false,
        };
        let origin = Origin {
            identity: "be".into(),
            peer: "127.0.0.1:1".into(),
        };
        let mut kept = |command| match rules.decide(Some(&older), &edit(command), &origin) {
            Decision::Set { conflict, .. } => conflict,
            other => panic!("{other:?}"),
        };
        assert!(!kept("ACTIVATE h2!p1"));
        recovery.begin("test");
        assert!(kept("ACTIVATE h2!p1"));
        assert!(!kept("ACTIVATE h1!p2"));
        recovery.end();
    }
}
