//! A slave in a directory of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use client::Login;
use proto::{Acl, Entry, Location, MailboxName, ReservedBy};
use server::KickSocket;
use slave::{Slave, SlaveConfig};
use store::{AsTold, OsFileSystem, Store, StoreConfig, Version};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longer than anything takes here; a bound for tests that would hang, not a demand.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) type List = BTreeMap<MailboxName, Entry>;

/// Where a slave lives, running or not.
pub(crate) struct Site {
    dir: TempDir,
    upstream: String,
}

/// A slave that runs.
pub(crate) struct Running {
    pub(crate) slave: Slave,
    pub(crate) store: Store,
}

impl Site {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            upstream: format!("127.0.0.1:{port}"),
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The same directory under another master.
    pub(crate) fn moved_to(self, port: u16) -> Self {
        Self {
            upstream: format!("127.0.0.1:{port}"),
            ..self
        }
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(|_| {}).await
    }

    /// Starts after the settings have been changed.
    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut SlaveConfig)) -> Running {
        let (store, _) = Store::open(
            OsFileSystem,
            &self.dir.path().join("store"),
            StoreConfig::default(),
            Box::new(AsTold),
        )
        .unwrap();
        let upstream = self.upstream.parse().unwrap();
        let login = Login::password("mupd", "secret".into());
        let mut config = SlaveConfig::new(upstream, login, self.dir.path().to_owned());
        config.retry_delay = Duration::from_secs(1);
        config.chance = || 0.0;
        change(&mut config);
        let kick = KickSocket::bind(&self.kick_path()).unwrap();
        let slave = Slave::start(config, store.clone(), Some(kick))
            .await
            .unwrap();
        Running { slave, store }
    }

    pub(crate) fn kick_path(&self) -> std::path::PathBuf {
        self.dir.path().join("socket/mupdate.target")
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.slave.shutdown().await;
        self.store.shutdown().await;
    }

    pub(crate) fn list(&self) -> List {
        list_of(&self.store.current())
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.store.current().get(&name(text)).is_some()
    }

    /// Waits until the list has been the master's for the `dumps`th time.
    pub(crate) async fn synced(&self, dumps: u64) {
        wait_until("a whole dump", || self.slave.status().dumps >= dumps).await;
    }

    /// Waits until `failures` attempts have led to no live link.
    pub(crate) async fn failed(&self, failures: u64) {
        wait_until("a failed link", || self.slave.status().failures >= failures).await;
    }
}

pub(crate) fn list_of(version: &Version) -> List {
    version
        .iter()
        .map(|(name, stored)| (name.clone(), wire_entry(&stored.entry)))
        .collect()
}

/// An entry as a slave can know it: the wire does not say what made a reservation.
fn wire_entry(entry: &Entry) -> Entry {
    match entry {
        Entry::Reserved { location, .. } => Entry::Reserved {
            location: location.clone(),
            by: ReservedBy::Reserve,
        },
        Entry::Active { .. } => entry.clone(),
    }
}

pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "no {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn active(location: &str) -> Entry {
    Entry::Active {
        location: Location::try_from(location.as_bytes()).unwrap(),
        acl: Acl::try_from(b"anyone\tlrs\t".as_slice()).unwrap(),
    }
}

/// `user.0000` and so on.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("user.{number:04}"))
        .collect()
}
