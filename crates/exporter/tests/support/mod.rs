//! What several tests share: a store, an exporter on a file, and Debian's Cyrus programs.

#![expect(dead_code, reason = "each test program uses a part of this")]
#![expect(unreachable_pub, reason = "a module of several programs")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::{KeyStyle, Naming};
use cyrusdb::twoskip::{Database, Identity, Options};
use exporter::{Exporter, ExporterConfig, StyleSetting};
use proto::{Acl, Edit, EditKind, Location, MailboxName};
use store::{AsTold, Batch, Origin, OsFileSystem, Sequence, Store, StoreConfig, Version};
use tempfile::TempDir;

/// Longer than anything takes; a test that waits this long fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

pub fn location(text: &str) -> Location {
    Location::try_from(text.as_bytes()).unwrap()
}

pub fn activate(mailbox: &str, at: &str, acl: &str) -> Edit {
    let kind = EditKind::Activate {
        location: location(at),
        acl: Acl::try_from(acl.as_bytes()).unwrap(),
    };
    Edit {
        mailbox: name(mailbox),
        kind,
    }
}

pub fn reserve(mailbox: &str, at: &str) -> Edit {
    let kind = EditKind::Reserve {
        location: location(at),
    };
    Edit {
        mailbox: name(mailbox),
        kind,
    }
}

pub fn delete(mailbox: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Delete,
    }
}

/// `user.0000` and so on, each with an ACL of its own.
pub fn many(count: usize) -> Vec<Edit> {
    let user = |number| {
        let user = format!("user.u{number:05}");
        activate(
            &user,
            "b1.test!default",
            &format!("u{number:05}\tlrswipkxtecda\t"),
        )
    };
    (0..count).map(user).collect()
}

/// A host: Cyrus's configuration, a store, a file.
pub struct Site {
    pub cyrus: Cyrus,
    pub store: Store,
    pub config: ExporterConfig,
}

impl Site {
    pub fn new() -> Self {
        Self::with("")
    }

    pub fn with(settings: &str) -> Self {
        let cyrus = Cyrus::with(settings);
        let mut config = ExporterConfig::new(cyrus.mailboxes_db(), cyrus.path("export-state"));
        config.style = StyleSetting::Fixed(KeyStyle::ByName);
        config.poll = Duration::from_millis(50);
        config.admins = vec![b"cyrus".to_vec()];
        let store = open_store(&cyrus.path("store"));
        Self {
            cyrus,
            store,
            config,
        }
    }

    pub fn start(&self) -> Exporter {
        Exporter::start(self.store.clone(), self.config.clone()).unwrap()
    }

    /// Starts, and waits until the file is equal.
    pub async fn started(&self) -> Exporter {
        let exporter = self.start();
        let mut ready = exporter.ready();
        let ready = tokio::time::timeout(PATIENCE, ready.wait_for(|&ready| ready)).await;
        ready.unwrap().unwrap();
        exporter
    }

    pub async fn edit(&self, edits: Vec<Edit>) -> Sequence {
        edit(&self.store, edits).await
    }

    /// Edits, and waits until they are in the file.
    pub async fn export(&self, exporter: &Exporter, edits: Vec<Edit>) {
        let sequence = self.edit(edits).await;
        assert!(exporter.wait_for(sequence, PATIENCE).await);
    }

    pub fn open(&self) -> Database {
        Database::open_path(&self.config.mailboxes_db, Options::read_only()).unwrap()
    }

    /// Leaves an empty database, as Cyrus's own tools do.
    pub fn make_empty(&self) {
        let mut made = Database::open_path(&self.config.mailboxes_db, Options::create()).unwrap();
        made.write().unwrap().abort();
    }

    pub fn identity(&self) -> Identity {
        self.open().identity().unwrap()
    }

    /// Keys and values of the file.
    pub fn content(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        content(&self.config.mailboxes_db)
    }

    /// What is wrong with the mailboxes in the file, as the store has them.
    pub fn difference(&self) -> Option<String> {
        let version = self.store.current();
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = self.content();
        found.retain(|key, _| key.starts_with(b"N"));
        differences(&version, &Naming::new(KeyStyle::ByName), found)
    }

    pub fn assert_equal(&self) {
        assert_eq!(self.difference(), None);
        self.cyrus.assert_consistent(&self.config.mailboxes_db);
    }

    /// Waits until the exporter has put the file right.
    pub async fn becomes_equal(&self) {
        let started = Instant::now();
        while let Some(difference) = self.difference() {
            assert!(started.elapsed() < PATIENCE, "{difference}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.cyrus.assert_consistent(&self.config.mailboxes_db);
    }
}

pub fn open_store(dir: &Path) -> Store {
    let config = StoreConfig::default();
    let opened = Store::open(OsFileSystem, dir, config, Box::new(AsTold));
    opened.unwrap().0
}

pub async fn edit(store: &Store, edits: Vec<Edit>) -> Sequence {
    let origin = Origin {
        identity: Arc::from("test"),
        peer: Arc::from("127.0.0.1:1"),
    };
    let answers = store.edit(Batch { origin, edits }).await.unwrap();
    let sequences = answers.into_iter().map(|answer| answer.unwrap().sequence);
    sequences.max().unwrap()
}

pub fn content(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut database = Database::open_path(path, Options::read_only()).unwrap();
    let mut found = BTreeMap::new();
    let mut reading = database.read().unwrap();
    let walked = reading.walk(None, |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        true
    });
    walked.unwrap();
    found
}

fn differences(
    version: &Version,
    naming: &Naming,
    mut found: BTreeMap<Vec<u8>, Vec<u8>>,
) -> Option<String> {
    for (name, stored) in version.iter() {
        let Some(value) = found.remove(&naming.key(&name)) else {
            return Some(format!("{name} is missing"));
        };
        let record = cyrusdb::mailboxes::Record::parse(&value).unwrap();
        if !record.says(&stored.entry) {
            return Some(format!("{name}: {}", value.escape_ascii()));
        }
    }
    let (key, _) = found.first_key_value()?;
    Some(format!("{} is too much", key.escape_ascii()))
}

/// Owner, group and mode.
pub fn ownership(path: &Path) -> (u32, u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// A configuration directory for Cyrus's programs, which run as whoever runs the tests.
pub struct Cyrus {
    dir: TempDir,
}

impl Cyrus {
    /// With further lines of configuration.
    pub fn with(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let configdir = dir.path().join("conf");
        for sub in ["db", "lock", "proc", "socket", "tmp", "spool"] {
            fs::create_dir_all(configdir.join(sub)).unwrap();
        }
        let whoami = |flag| {
            let output = Command::new("id").arg(flag).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let (user, group) = (whoami("-un"), whoami("-gn"));
        let at = configdir.display();
        let text = format!(
            "configdirectory: {at}\ndefaultpartition: default\npartition-default: {at}/spool\n\
             servername: frontend.test\nadmins: cyrus\nunixhierarchysep: no\naltnamespace: no\n\
             virtdomains: userid\ncyrus_user: {user}\ncyrus_group: {group}\n{settings}"
        );
        fs::write(dir.path().join("imapd.conf"), text).unwrap();
        Self { dir }
    }

    /// Changes lines of configuration.
    pub fn configure(&self, old: &str, new: &str) {
        let path = self.path("imapd.conf");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old));
        fs::write(path, text.replace(old, new)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn mailboxes_db(&self) -> PathBuf {
        self.path("conf/mailboxes.db")
    }

    /// Runs a Cyrus program to its end: what it printed, if it was content.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>, String> {
        let mut child = Command::new(find_program(program))
            .arg("-C")
            .arg(self.path("imapd.conf"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_bytes().to_vec();
        let feeder = std::thread::spawn(move || stdin.write_all(&input).ok());
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        if output.status.success() {
            Ok(output.stdout)
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program} {arguments:?}: {} {said}", output.status))
        }
    }

    pub fn dbtool(&self, file: &Path, action: &[&str], input: &str) -> Result<Vec<u8>, String> {
        let mut arguments = vec![file.to_str().unwrap(), "twoskip"];
        arguments.extend_from_slice(action);
        self.run("cyr_dbtool", &arguments, input)
    }

    pub fn assert_consistent(&self, file: &Path) {
        let said = self.dbtool(file, &["consistent"], "").unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("Yes, consistent"), "{said}");
    }

    /// Names that `ctl_mboxlist -d` lists.
    pub fn listed(&self) -> String {
        let printed = self.run("ctl_mboxlist", &["-d"], "").unwrap();
        String::from_utf8_lossy(&printed).into_owned()
    }
}

/// Debian has Cyrus's programs in one of these.
fn find_program(name: &str) -> PathBuf {
    ["/usr/lib/cyrus/bin", "/usr/sbin", "/usr/bin"]
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no {name} on this machine: install Debian's cyrus-common"))
}
