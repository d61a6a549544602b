//! What several tests share: vectors, listings, and Debian's Cyrus programs.

#![expect(dead_code, reason = "each test program uses a part of this")]
#![expect(unreachable_pub, reason = "a module of several programs")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cyrusdb::file::Disk;
use cyrusdb::twoskip::{Database, Options};
use tempfile::TempDir;

pub mod sim;

/// Clean vectors with listings, and unclean ones.
pub const CLEAN: [&str; 12] = [
    "01-empty",
    "02-one",
    "03-hundred-onetxn",
    "04-changes",
    "05-repacked",
    "08-recovered",
    "09-longvalue",
    "10-murder-361",
    "11-murder-361-racl",
    "12-murder-3018",
    "13-murder-main",
    "14-murder-3123",
];
pub const UNCLEAN: [&str; 2] = ["06-dirty-damage", "07-dirty-killed"];

pub fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

pub fn expected(name: &str) -> String {
    fs::read_to_string(vector(&format!("{name}.txt"))).unwrap()
}

/// `KEY<TAB>VALUE` lines of all that a database holds.
pub fn listing<D: Disk>(database: &mut Database<D>) -> Result<String, cyrusdb::Error> {
    let mut text = String::new();
    database.read()?.walk(None, |key, value| {
        cyrusdb::listing::escape(key, &mut text);
        text.push('\t');
        cyrusdb::listing::escape(value, &mut text);
        text.push('\n');
        true
    })?;
    Ok(text)
}

pub fn open(path: &Path) -> Database {
    Database::open_path(path, Options::create()).unwrap()
}

/// A configuration directory for Cyrus's programs, which run as whoever runs the tests.
pub struct Cyrus {
    pub dir: TempDir,
}

impl Cyrus {
    pub fn new() -> Self {
        Self::with("")
    }

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

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where this configuration has its mailbox list.
    pub fn mailboxes_db(&self) -> PathBuf {
        self.path("conf/mailboxes.db")
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find_program(program));
        command.arg("-C").arg(self.path("imapd.conf"));
        command
    }

    /// Runs a Cyrus program to its end: what it printed, if it was content.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_bytes().to_vec();
        let feeder = std::thread::spawn(move || {
            stdin.write_all(&input).ok();
        });
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(printed)
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "{program} {arguments:?}: {} {printed}{said}",
                output.status
            ))
        }
    }

    pub fn dbtool(&self, file: &Path, action: &[&str], input: &str) -> Result<String, String> {
        let mut arguments = vec![file.to_str().unwrap(), "twoskip"];
        arguments.extend_from_slice(action);
        self.run("cyr_dbtool", &arguments, input)
    }

    /// What `cyr_dbtool show` prints, as it is.
    pub fn show_raw(&self, file: &Path) -> Result<Vec<u8>, String> {
        let output = self
            .command("cyr_dbtool")
            .arg(file)
            .args(["twoskip", "show"])
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(format!("cyr_dbtool show: {output:?}"));
        }
        Ok(output.stdout)
    }

    /// The same with our escapes. Only for content without line ends.
    pub fn show(&self, file: &Path) -> Result<String, String> {
        let raw = self.show_raw(file)?;
        let mut text = String::new();
        for line in raw.split_inclusive(|&octet| octet == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let tab = line.iter().position(|&octet| octet == b'\t').unwrap();
            cyrusdb::listing::escape(&line[..tab], &mut text);
            text.push('\t');
            cyrusdb::listing::escape(&line[tab + 1..], &mut text);
            text.push('\n');
        }
        Ok(text)
    }

    pub fn assert_consistent(&self, file: &Path) {
        let said = self.dbtool(file, &["consistent"], "").unwrap();
        assert!(said.contains("Yes, consistent"), "{said}");
    }
}

/// Debian has Cyrus's programs in one of these.
fn find_program(name: &str) -> PathBuf {
    let places = [
        "/usr/lib/cyrus/bin",
        "/usr/sbin",
        "/usr/bin",
        "/usr/lib/cyrus-imapd",
    ];
    places
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no {name} on this machine: install Debian's cyrus-common"))
}

/// A line of a listing.
pub fn line(key: &str, value: &str) -> String {
    let mut text = String::new();
    writeln!(text, "{key}\t{value}").unwrap();
    text
}
