//! What a master's sessions may do and see.

use std::sync::Arc;

use proto::{Edit, EditKind, LocationRef, Refusal};
use server::{Asker, Role, Wait};
use store::Sequence;

use crate::{Murder, Recovery};

/// Waits until a change is where others on this host see it.
pub type BeforeOk = Box<dyn Fn(Sequence) -> Wait + Send + Sync>;

/// The master's side of a session.
pub struct MasterRole {
    murder: Murder,
    recovery: Arc<Recovery>,
    before_ok: Option<BeforeOk>,
}

impl MasterRole {
    /// A master of this kind of murder; `before_ok` is what an OK to an edit waits for beyond the log.
    pub fn new(murder: Murder, recovery: Arc<Recovery>, before_ok: Option<BeforeOk>) -> Self {
        Self {
            murder,
            recovery,
            before_ok,
        }
    }
}

impl Role for MasterRole {
    fn may_stream(&self) -> bool {
        !self.recovery.is_on()
    }

    /// In recovery a backend may say what it has (ACTIVATE) and withdraw what is its own (DELETE, once
    /// it has listed its host); it may not claim a name, since nobody knows who has it.
    fn admit(
        &self,
        asker: &Asker,
        edit: &Edit,
        current: Option<LocationRef<'_>>,
    ) -> Result<(), Refusal> {
        if !self.recovery.is_on() {
            return Ok(());
        }
        match edit.kind {
            EditKind::Activate { .. } => Ok(()),
            EditKind::Reserve { .. } | EditKind::Deactivate { .. } => Err(Refusal::InRecovery),
            EditKind::Delete => {
                let Some(location) = current else {
                    return Ok(());
                };
                let server = location.server();
                if !asker.has_listed(server) {
                    return Err(Refusal::InRecovery);
                }
                self.recovery.allow_withdrawal(&edit.mailbox, server);
                Ok(())
            }
        }
    }

    /// `ctl_mboxlist -m` begins with `LIST "<host>!"` and asks FIND only for what it expected there and
    /// did not see. Shown an entry of its own host it gives up or, over a mere partition, wipes the
    /// local mailbox; not shown it, it activates the mailbox again, which is what it wants. In
    /// recovery an entry of another host may be an old one, and would make it wipe as well.
    fn shows(&self, asker: &Asker, found: LocationRef<'_>) -> bool {
        let reconciling = !asker.listed_hosts.is_empty();
        let hidden = self.recovery.is_on()
            || self.murder == Murder::Replicated
            || asker.has_listed(found.server());
        !(reconciling && hidden)
    }

    fn before_ok(&self, sequence: Sequence) -> Option<Wait> {
        self.before_ok.as_ref().map(|wait| wait(sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proto::{Location, MailboxName};
    use store::Origin;

    fn asker(listed: &[&str]) -> Asker {
        let mut asker = Asker::new(Origin {
            identity: "be".into(),
            peer: "127.0.0.1:1".into(),
        });
        for prefix in listed {
            asker.note_list(prefix.as_bytes());
        }
        asker
    }

    fn on(server: &str) -> LocationRef<'_> {
        server.as_bytes().try_into().unwrap()
    }

    #[test]
    fn find_hides_a_reconciling_hosts_own_entries() {
        let role = MasterRole::new(Murder::Standard, Arc::new(Recovery::off()), None);
        assert!(role.shows(&asker(&[]), on("be1!p")));
        assert!(role.shows(&asker(&["be2!"]), on("be1!p")));
        assert!(!role.shows(&asker(&["be1!"]), on("be1!p")));
        assert!(!role.shows(&asker(&["be1!"]), on("be1")));
    }

    #[test]
    fn find_hides_everything_from_a_replica_and_in_recovery() {
        let replicated = MasterRole::new(Murder::Replicated, Arc::new(Recovery::off()), None);
        assert!(replicated.shows(&asker(&[]), on("p")));
        assert!(!replicated.shows(&asker(&["be1!"]), on("p")));
        let recovery = Arc::new(Recovery::off());
        recovery.begin("test");
        let role = MasterRole::new(Murder::Standard, recovery, None);
        assert!(role.shows(&asker(&[]), on("be1!p")));
        assert!(!role.shows(&asker(&["be2!"]), on("be1!p")));
    }

    #[test]
    fn recovery_lets_backends_push_and_nothing_else() {
        let recovery = Arc::new(Recovery::off());
        let role = MasterRole::new(Murder::Standard, Arc::clone(&recovery), None);
        let edit = |kind| Edit {
            mailbox: MailboxName::try_from(b"user.x".as_slice()).unwrap(),
            kind,
        };
        let location = Location::try_from(b"be1!p".as_slice()).unwrap();
        let acl = proto::Acl::try_from(b"".as_slice()).unwrap();
        let reserve = edit(EditKind::Reserve {
            location: location.clone(),
        });
        let deactivate = edit(EditKind::Deactivate {
            location: location.clone(),
        });
        let activate = edit(EditKind::Activate { location, acl });
        let delete = edit(EditKind::Delete);
        assert!(role.may_stream() && role.admit(&asker(&[]), &reserve, None).is_ok());

        recovery.begin("test");
        assert!(!role.may_stream());
        let refused = Err(Refusal::InRecovery);
        assert_eq!(role.admit(&asker(&["be1!"]), &reserve, None), refused);
        assert_eq!(
            role.admit(&asker(&["be1!"]), &deactivate, Some(on("be1!p"))),
            refused
        );
        assert_eq!(
            role.admit(&asker(&[]), &activate, Some(on("be2!p"))),
            Ok(())
        );
        assert_eq!(role.admit(&asker(&[]), &delete, Some(on("be1!p"))), refused);
        assert_eq!(
            role.admit(&asker(&["be2!"]), &delete, Some(on("be1!p"))),
            refused
        );
        assert_eq!(
            role.admit(&asker(&["be1!"]), &delete, Some(on("be1!p"))),
            Ok(())
        );
        assert_eq!(role.admit(&asker(&["be1!"]), &delete, None), Ok(()));
    }
}
