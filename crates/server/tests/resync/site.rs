//! A server to talk to.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Login, Options, Timeouts};
use proto::{Acl, Edit, EditKind, Entry, Location, LocationRef, MailboxName, Refusal};
use server::{Asker, DumpPool, KnownSlaves, Listener, Role, Server, ServerConfig, Sessions};
use store::{AsTold, Batch, Origin, OsFileSystem, Store, StoreConfig, Version};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use transport::sasl::{AuthConfig, Authenticator};
use transport::users::{UsersFile, set_password};

use crate::peer::List;

struct Open;

impl Role for Open {
    fn may_stream(&self) -> bool {
        true
    }

    fn admit(&self, _: &Asker, _: &Edit, _: Option<LocationRef<'_>>) -> Result<(), Refusal> {
        Ok(())
    }

    fn shows(&self, _: &Asker, _: LocationRef<'_>) -> bool {
        true
    }
}

/// A server with a store of its own.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) port: u16,
    _stop: CancellationToken,
    _serving: AbortOnDropHandle<()>,
    _dir: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(StoreConfig::default(), |_| {}).await
    }

    pub(crate) async fn start_with(
        store: StoreConfig,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let users = dir.path().join("users");
        set_password(&users, "fe", b"secret").unwrap();
        let opened = Store::open(
            OsFileSystem,
            &dir.path().join("store"),
            store,
            Box::new(AsTold),
        );
        let store = opened.unwrap().0;
        let authenticator = Authenticator::new(AuthConfig {
            users: Arc::new(UsersFile::load(&users).unwrap()),
            mechanisms: Some(vec!["PLAIN".into()]),
            allow_plaintext: true,
            admins: vec!["fe".into()],
        });
        let mut config = ServerConfig::default();
        change(&mut config);
        let server = Server {
            config,
            store: store.clone(),
            role: Arc::new(Open),
            authenticator: authenticator.unwrap(),
            tls: None,
            dump_pool: DumpPool::start(NonZeroUsize::MIN).unwrap(),
            slaves: KnownSlaves::empty(&dir.path().join("slaves")),
            sessions: Sessions::default(),
        };
        let sessions = server.sessions.clone();
        let listeners = Listener::bind("127.0.0.1:0").await.unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.run(listeners, stop.clone()));
        Self {
            store,
            sessions,
            port,
            _stop: stop,
            _serving: AbortOnDropHandle::new(serving),
            _dir: dir,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        let login = Login::password("fe", "secret".into());
        let options = Options::new(login, Timeouts::each(Duration::from_mins(1)));
        let client = Client::connect("127.0.0.1", self.port, &options).await;
        client.unwrap()
    }

    pub(crate) async fn edit(&self, edits: Vec<Edit>) {
        let answers = self.store.edit(batch(edits)).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }

    /// `user.0000` and so on, on three servers in turn.
    pub(crate) async fn fill(&self, count: usize) {
        for start in (0..count).step_by(1000) {
            let names = (start..count.min(start + 1000)).map(user);
            let edits = names.enumerate().map(|(number, name)| {
                let location = format!("be{}!p", number % 3 + 1);
                activate(&name, &location, &format!("{name}\tlrswipkxtecda\t"))
            });
            self.edit(edits.collect()).await;
        }
    }
}

pub(crate) fn batch(edits: Vec<Edit>) -> Batch {
    Batch {
        origin: origin(),
        edits,
    }
}

pub(crate) fn origin() -> Origin {
    Origin {
        identity: "be".into(),
        peer: "test".into(),
    }
}

pub(crate) fn user(number: usize) -> String {
    format!("user.{number:04}")
}

pub(crate) fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn location(text: &str) -> Location {
    Location::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn active(place: &str, acl: &str) -> Entry {
    Entry::Active {
        location: location(place),
        acl: Acl::try_from(acl.as_bytes()).unwrap(),
    }
}

pub(crate) fn activate(mailbox: &str, place: &str, acl: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Activate {
            location: location(place),
            acl: Acl::try_from(acl.as_bytes()).unwrap(),
        },
    }
}

pub(crate) fn reserve(mailbox: &str, place: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Reserve {
            location: location(place),
        },
    }
}

pub(crate) fn delete(mailbox: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Delete,
    }
}

/// What a peer should have.
pub(crate) fn list_of(version: &Version) -> List {
    let entries = version.iter().filter(|(_, stored)| !stored.held);
    entries
        .map(|(name, stored)| (name.clone(), stored.entry.clone()))
        .collect()
}
