//! What differs between a master and a slave, as seen by a session.

use std::pin::Pin;

use proto::{Edit, LocationRef, Refusal};
use store::{Origin, Sequence};

/// What a role may want to know about the session that asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who has logged in, and from where.
    pub origin: Origin,
    /// Hosts whose entries the session has listed: it has sent `LIST "<host>!"`. This is how
    /// `ctl_mboxlist -m` begins, on its own host. At most [`Asker::HOSTS_MAX`].
    pub listed_hosts: Vec<Box<[u8]>>,
}

impl Asker {
    /// How many listed hosts are remembered for one session.
    pub const HOSTS_MAX: usize = 16;

    /// Nobody has listed anything yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            listed_hosts: Vec::new(),
        }
    }

    /// Notes a LIST prefix of the form `<host>!`.
    pub fn note_list(&mut self, prefix: &[u8]) {
        let Some((b'!', host)) = prefix.split_last() else {
            return;
        };
        let known = self.listed_hosts.iter().any(|listed| **listed == *host);
        if !host.is_empty()
            && !host.contains(&b'!')
            && !known
            && self.listed_hosts.len() < Self::HOSTS_MAX
        {
            self.listed_hosts.push(host.into());
        }
    }

    /// Whether the session has sent `LIST "<host>!"`.
    pub fn has_listed(&self, host: &[u8]) -> bool {
        self.listed_hosts.iter().any(|listed| **listed == *host)
    }
}

/// Something to wait for before an answer may go; it may be given up at any time.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The rules of a master or of a slave. Decisions only: what has to be waited for is handed out, so
/// that nobody but the one session waits.
pub trait Role: Send + Sync + 'static {
    /// Whether UPDATE may be served now. Where not, the connection is closed without a reply,
    /// since any reply would make a Cyrus slave delete what it has (Cyrus: `mupdate_synchronize`).
    fn may_stream(&self) -> bool;

    /// Whether this session may ask for this edit now of a mailbox that is listed at `current`, if at
    /// all; the store's rules decide on the rest.
    fn admit(
        &self,
        asker: &Asker,
        edit: &Edit,
        current: Option<LocationRef<'_>>,
    ) -> Result<(), Refusal>;

    /// Whether FIND shows this session a mailbox that is listed at `found`.
    fn shows(&self, asker: &Asker, found: LocationRef<'_>) -> bool;

    /// What a NOOP waits for before it becomes a barrier in our own list: on a slave, that its master
    /// was asked for all it has. `None`: nothing, as on a master.
    fn before_barrier(&self) -> Option<Wait> {
        None
    }

    /// What the OK to an edit waits for once the change `sequence` is durable: that others on this host
    /// can see it. `None`: nothing.
    fn before_ok(&self, sequence: Sequence) -> Option<Wait> {
        let _ = sequence;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_host_counts_as_listed() {
        let origin = Origin {
            identity: "be1".into(),
            peer: "127.0.0.1:1".into(),
        };
        let mut asker = Asker::new(origin);
        for prefix in ["", "be1", "!", "be1!p!", "be1!p"] {
            asker.note_list(prefix.as_bytes());
        }
        assert!(asker.listed_hosts.is_empty());
        asker.note_list(b"be1!");
        asker.note_list(b"be1!");
        assert_eq!(asker.listed_hosts.len(), 1);
        assert!(asker.has_listed(b"be1") && !asker.has_listed(b"be10"));
        (0..100).for_each(|host| asker.note_list(format!("h{host}!").as_bytes()));
        assert_eq!(asker.listed_hosts.len(), Asker::HOSTS_MAX);
    }
}
