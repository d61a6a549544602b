//! Our own server as master, and as slave: whatever happens in between, once the stream is drained
//! the lists are equal.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Login, Options, Timeouts};
use master::{MasterRules, Policy, Recovery};
use mupdate_tests::certificates::Certificates;
use mupdate_tests::ports::free_port;
use proto::{Edit, EditKind, Entry, Location, LocationRef, MailboxName, Refusal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use server::{Asker, DumpPool, KnownSlaves, Listener, Role, Server, ServerConfig, Sessions};
use store::{Batch, Origin, OsFileSystem, Rules, Store, StoreConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::sasl::{AuthConfig, Authenticator};
use transport::tls::{
    AuthorityFiles, CertificateFiles, ServerVerification, TlsClient, TlsClientConfig, TlsServer,
    TlsServerConfig,
};
use transport::users::{UsersFile, set_password};

use crate::common::{List, Running, Site, active, list_of, name, wait_until};

/// A server over a store, which can be stopped and started on the same port.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    tls: Option<TlsServer>,
    /// How much history is kept, in changes.
    pub(crate) history: usize,
}

/// The role of a master that trusts its list.
struct Top;

impl Role for Top {
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

pub(crate) struct Serving {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        set_password(&dir.path().join("users"), "mupd", b"secret").unwrap();
        let port = free_port().unwrap();
        Self {
            dir,
            port,
            tls: None,
            history: StoreConfig::default().history_changes_max,
        }
    }

    fn open(&self, rules: impl Rules + 'static) -> Store {
        let dir = self.dir.path().join("store");
        let config = StoreConfig {
            history_changes_max: self.history,
            ..StoreConfig::default()
        };
        let opened = Store::open(OsFileSystem, &dir, config, Box::new(rules));
        opened.unwrap().0
    }

    pub(crate) fn open_master(&self) -> Store {
        let recovery = Arc::new(Recovery::off());
        self.open(MasterRules::new(Policy::default(), recovery))
    }

    pub(crate) async fn serve_master(&self, store: &Store) -> Serving {
        self.serve(store, Arc::new(Top), None).await
    }

    pub(crate) async fn serve(
        &self,
        store: &Store,
        role: Arc<dyn Role>,
        upstream: Option<&str>,
    ) -> Serving {
        let users = UsersFile::load(&self.dir.path().join("users")).unwrap();
        let authenticator = Authenticator::new(AuthConfig {
            users: Arc::new(users),
            mechanisms: Some(vec!["PLAIN".into()]),
            allow_plaintext: true,
            admins: vec!["mupd".into()],
        });
        let server = Server {
            config: ServerConfig {
                upstream: upstream.map(str::to_owned),
                ..ServerConfig::default()
            },
            store: store.clone(),
            role,
            authenticator: authenticator.unwrap(),
            tls: self.tls.clone(),
            dump_pool: DumpPool::start(NonZeroUsize::MIN).unwrap(),
            slaves: KnownSlaves::empty(&self.dir.path().join("slaves")),
            sessions: Sessions::default(),
        };
        let address = format!("127.0.0.1:{}", self.port);
        let listeners = Listener::bind(&address).await.unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.run(listeners, stop.clone()));
        Serving { stop, serving }
    }

    pub(crate) async fn client(&self) -> Client {
        let login = Login::password("mupd", "secret".into());
        let options = Options::new(login, Timeouts::each(Duration::from_mins(1)));
        Client::connect("127.0.0.1", self.port, &options)
            .await
            .unwrap()
    }
}

impl Serving {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

async fn stop(serving: Option<Serving>) {
    if let Some(serving) = serving {
        serving.stop().await;
    }
}

pub(crate) async fn edit(store: &Store, edits: Vec<Edit>) {
    let origin = Origin {
        identity: "backend".into(),
        peer: "test".into(),
    };
    store.edit(Batch { origin, edits }).await.unwrap();
}

/// Names that sort one way as keys and another way as octets.
pub(crate) fn traps() -> Vec<String> {
    let mut traps = vec![];
    for stem in ["user.amy", "user.amy.Sent", "d^e.test!user.amy", "shared"] {
        traps.push(stem.to_owned());
        for octet in (0x20..=0x2F).chain(*b"^0A_a~\xC3") {
            let inserted = match octet {
                b'.' => ".x".to_owned(),
                b'!' if stem.contains('!') => continue,
                b'!' => "!x".to_owned(),
                octet => format!("{}x", char::from(octet)),
            };
            traps.push(format!("{stem}{inserted}"));
            traps.push(format!("{stem}{inserted}.Drafts"));
        }
    }
    traps.push("DELETED.user.amy.5F3C1A2B".to_owned());
    traps.push("DELETED.user.amy.Sent.5F3C1A2B".to_owned());
    traps.push("dom-ain.test!DELETED.user.amy.5F3C1A2B".to_owned());
    traps.push("dom.test!user.AMY".to_owned());
    traps.retain(|text| MailboxName::try_from(text.as_bytes()).is_ok());
    traps
}

fn random_edit(rng: &mut StdRng, names: &[String]) -> Edit {
    let mailbox = name(names.choose(rng).unwrap());
    let server = format!("be{}!p{}", rng.random_range(1..4), rng.random_range(1..3));
    let location = Location::try_from(server.as_bytes()).unwrap();
    let kind = match rng.random_range(0..10) {
        0..=3 => match active(&server) {
            Entry::Active { location, acl } => EditKind::Activate { location, acl },
            Entry::Reserved { .. } => unreachable!(),
        },
        4 => EditKind::Reserve { location },
        5 => EditKind::Deactivate { location },
        _ => EditKind::Delete,
    };
    Edit { mailbox, kind }
}

pub(crate) fn random_edits(rng: &mut StdRng, names: &[String], count: usize) -> Vec<Edit> {
    (0..count).map(|_| random_edit(rng, names)).collect()
}

/// Waits for a live link, and until everything of the master is here.
pub(crate) async fn drained(slave: &Running, master: &Store) -> List {
    loop {
        wait_until("a live link", || {
            slave.slave.status().phase == slave::Phase::Live
        })
        .await;
        if slave.slave.barrier().await.is_ok() {
            return list_of(&master.current());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_equal_after_every_interleaving() {
    let names = traps();
    assert!(names.len() > 120, "{}", names.len());
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let node = Node::new();
        let master = node.open_master();
        let mut serving = Some(node.serve_master(&master).await);
        let site = Site::new(node.port);
        let mut slave = site.start().await;
        for _ in 0..12 {
            match rng.random_range(0..5) {
                0 => stop(serving.take()).await,
                1 => {
                    slave.stop().await;
                    slave = site.start().await;
                }
                _ => {}
            }
            let count = rng.random_range(1..40);
            edit(&master, random_edits(&mut rng, &names, count)).await;
            if serving.is_none() {
                serving = Some(node.serve_master(&master).await);
            }
            if rng.random_bool(0.7) {
                let list = drained(&slave, &master).await;
                // Names that were held are the master's to name or an operator's to delete.
                slave.slave.confirm_deletes().await.unwrap();
                assert_eq!(slave.list(), list, "seed {seed}");
            }
        }
        slave.stop().await;
        stop(serving).await;
        master.shutdown().await;
    }
}

/// Edits go on while the slave comes and goes; then all is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_equal_after_a_storm() {
    let names = traps();
    let node = Node::new();
    let master = node.open_master();
    let serving = node.serve_master(&master).await;
    let writing = tokio::spawn({
        let (master, names) = (master.clone(), names.clone());
        async move {
            let mut rng = StdRng::seed_from_u64(7);
            for _ in 0..400 {
                let edits = random_edits(&mut rng, &names, 20);
                edit(&master, edits).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let site = Site::new(node.port);
    let mut rounds = 0;
    while !writing.is_finished() || rounds < 10 {
        let slave = site.start().await;
        tokio::time::sleep(Duration::from_millis(rounds * 7 % 60)).await;
        slave.stop().await;
        rounds += 1;
    }
    writing.await.unwrap();
    let slave = site.start().await;
    let list = drained(&slave, &master).await;
    slave.slave.confirm_deletes().await.unwrap();
    assert_eq!(slave.list(), list);
    slave.stop().await;
    serving.stop().await;
    master.shutdown().await;
}

/// Master, slave, and a slave of the slave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noop_reaches_through_a_cascade() {
    let top = Node::new();
    let master = top.open_master();
    let serving_top = top.serve_master(&master).await;
    let site = Site::new(top.port);
    let middle = site.start().await;
    middle.slave.ready().await;
    let relay = Node::new();
    let role = Arc::new(middle.slave.role());
    let url = format!("mupdate://127.0.0.1:{}", top.port);
    let serving_relay = relay.serve(&middle.store, role, Some(&url)).await;
    let leaf_site = Site::new(relay.port);
    let leaf = leaf_site.start().await;
    leaf.synced(1).await;

    let mut client = relay.client().await;
    assert_eq!(client.banner().role, url);
    let refused = client.delete(&name("user.x")).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    for round in 0..50 {
        let mailbox = format!("user.{round}");
        let Entry::Active { location, acl } = active("be1!p") else {
            unreachable!()
        };
        let kind = EditKind::Activate { location, acl };
        let mailbox = name(&mailbox);
        edit(
            &master,
            vec![Edit {
                mailbox: mailbox.clone(),
                kind,
            }],
        )
        .await;
        if round % 2 == 0 {
            client.noop().await.unwrap();
            assert!(client.find(&mailbox).await.unwrap().is_some());
        } else {
            leaf.slave.barrier().await.unwrap();
            assert!(leaf.store.current().get(&mailbox).is_some());
        }
    }

    // Without the top a NOOP is answered from what is here.
    serving_top.stop().await;
    client.noop().await.unwrap();
    assert!(client.find(&name("user.7")).await.unwrap().is_some());
    leaf.stop().await;
    serving_relay.stop().await;
    middle.stop().await;
    master.shutdown().await;
}

/// `localhost` has an address of each family as a rule, and the master listens on one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starttls_is_used_where_it_is_offered_and_verified_as_told() {
    let mut node = Node::new();
    let certificates = Certificates::make(&node.dir.path().join("tls"), "mupd").unwrap();
    let files = CertificateFiles::new(
        certificates.file("server.pem"),
        certificates.file("server.key"),
    );
    node.tls = Some(TlsServer::load(&TlsServerConfig::new(files)).unwrap());
    let master = node.open_master();
    let serving = node.serve_master(&master).await;
    let authorities = AuthorityFiles {
        file: Some(certificates.file("ca.pem")),
        directory: None,
    };
    let full = TlsClient::load(&TlsClientConfig {
        verification: ServerVerification::Full,
        authorities,
        ..TlsClientConfig::default()
    })
    .unwrap();

    let site = Site::new(node.port);
    for host in ["localhost", "127.0.0.1"] {
        let upstream = format!("{host}:{}/tls", node.port).parse().unwrap();
        let tls = Some(full.clone());
        let slave = site
            .start_with(|config| (config.upstream, config.tls) = (upstream, tls))
            .await;
        slave.synced(1).await;
        slave.stop().await;
    }

    serving.stop().await;

    // One that does not offer it is no master with `/tls`.
    node.tls = None;
    let serving = node.serve_master(&master).await;
    let upstream = format!("127.0.0.1:{}/tls", node.port).parse().unwrap();
    let slave = site
        .start_with(|config| (config.upstream, config.tls) = (upstream, Some(full)))
        .await;
    slave.failed(2).await;
    let status = slave.slave.status();
    assert!(status.complete && status.dumps == 0, "{status:?}");
    assert!(status.trouble.unwrap().contains("STARTTLS"));
    slave.stop().await;
    serving.stop().await;
    master.shutdown().await;
}

/// A slave that has never had a whole list streams to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_streamed_an_incomplete_list() {
    let site = Site::new(free_port().unwrap());
    let empty = site.start().await;
    let relay = Node::new();
    let role = Arc::new(empty.slave.role());
    let serving = relay.serve(&empty.store, role, Some("mupdate://m")).await;
    let leaf_site = Site::new(relay.port);
    let leaf = leaf_site.start().await;
    leaf.failed(2).await;
    assert!(!leaf.slave.status().complete);
    leaf.stop().await;
    serving.stop().await;
    empty.stop().await;
}
