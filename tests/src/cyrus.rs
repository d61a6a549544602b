//! Real Cyrus programs, each with a configuration of its own and none of the system's.

mod backend;
mod manager;
mod slave;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

pub use backend::Backend;
pub use manager::{Manager, Service};
pub use slave::Slave;

use crate::account::Account;
use crate::process::Process;
use crate::programs::package_file;

/// One Cyrus installation: a directory with an imapd.conf, passwords and databases.
#[derive(Debug)]
pub struct Node {
    directory: PathBuf,
    account: Account,
    servername: String,
}

/// Names and passwords that every node knows.
pub const USERS: [(&str, &str); 2] = [(ADMIN, PASSWORD), (STRANGER, PASSWORD)];
/// The user that is listed in `admins`.
pub const ADMIN: &str = "mupd";
/// A user that is not.
pub const STRANGER: &str = "plainuser";
/// The password of both.
pub const PASSWORD: &str = "secret";

impl Node {
    /// Makes the directories and files of a node below `directory`; `options` are added to its imapd.conf, or replace
    /// what it has.
    pub fn make(directory: &Path, servername: &str, options: &[(&str, &str)]) -> Result<Self> {
        let node = Self {
            directory: directory.to_owned(),
            account: Account::of_cyrus()?,
            servername: servername.to_owned(),
        };
        for name in ["spool", "conf"] {
            fs::create_dir_all(directory.join(name))?;
        }
        for name in [
            "db", "socket", "proc", "lock", "log", "msg", "user", "quota", "sieve", "tmp", "backup",
        ] {
            fs::create_dir_all(directory.join("conf").join(name))?;
        }
        node.configure(options)?;
        Ok(node)
    }

    /// Writes imapd.conf anew.
    pub fn configure(&self, options: &[(&str, &str)]) -> Result<()> {
        let conf = self.config_directory();
        let below = |name: &str| conf.join(name).display().to_string();
        let mut lines: Vec<(&str, String)> = vec![
            ("servername", self.servername.clone()),
            ("configdirectory", conf.display().to_string()),
            ("defaultpartition", "default".to_owned()),
            (
                "partition-default",
                self.directory.join("spool").display().to_string(),
            ),
            ("temp_path", below("tmp")),
            ("proc_path", below("proc")),
            ("mboxname_lockpath", below("lock")),
            ("sievedir", below("sieve")),
            ("admins", format!("cyrus {ADMIN}")),
            ("unixhierarchysep", "yes".to_owned()),
            ("altnamespace", "no".to_owned()),
            ("allowplaintext", "yes".to_owned()),
            ("sasl_pwcheck_method", "auxprop".to_owned()),
            ("sasl_auxprop_plugin", "sasldb".to_owned()),
            (
                "sasl_sasldb_path",
                self.directory.join("sasldb2").display().to_string(),
            ),
            (
                "sasl_mech_list",
                "PLAIN SCRAM-SHA-1 SCRAM-SHA-256".to_owned(),
            ),
            ("cyrus_user", self.account.user.clone()),
            ("cyrus_group", self.account.group.clone()),
        ];
        for &(key, value) in options {
            lines.retain(|(other, _)| *other != key);
            lines.push((key, value.to_owned()));
        }
        let mut text = String::new();
        for (key, value) in lines {
            writeln!(text, "{key}: {value}")?;
        }
        fs::write(self.conf(), text)?;
        self.account.give(&self.directory)
    }

    /// Path of its imapd.conf.
    pub fn conf(&self) -> PathBuf {
        self.directory.join("imapd.conf")
    }

    /// Its `configdirectory`.
    pub fn config_directory(&self) -> PathBuf {
        self.directory.join("conf")
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whom its programs run as.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Gives its passwords to the SASL library, and lets Cyrus make its databases.
    pub fn prepare(&self) -> Result<()> {
        let database = self.directory.join("sasldb2");
        for (user, password) in USERS {
            let mut command = Command::new("saslpasswd2");
            command
                .arg("-f")
                .arg(&database)
                .args(["-c", "-p", "-u", &self.servername, user]);
            run(&mut command, password)?;
        }
        self.account.give(&self.directory)?;
        self.tool("ctl_cyrusdb", &["-r"], "")?;
        Ok(())
    }

    /// Runs one of the programs of Cyrus with this node's imapd.conf; returns what it wrote to standard output.
    ///
    /// # Errors
    ///
    /// When it cannot be run or does not exit with 0.
    pub fn tool(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(Path::new(PROGRAMS).join(program));
        command
            .arg("-C")
            .arg(self.conf())
            .args(arguments)
            .current_dir(&self.directory);
        self.account.enter(&mut command);
        let output = run(&mut command, input)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a service program of Cyrus with a listening socket, as Cyrus's own process manager would.
    pub fn serve(&self, program: &str, arguments: &[&str], port: u16) -> Result<Process> {
        let program = Path::new(PROGRAMS).join(program).display().to_string();
        self.serve_program(&program, arguments, port)
    }

    /// As [`Self::serve`], with a program that is named by its path.
    pub fn serve_program(&self, program: &str, arguments: &[&str], port: u16) -> Result<Process> {
        let shim = self.directory.join("service_shim.py");
        fs::copy(package_file("cyrus-murder/service_shim.py"), &shim)?;
        self.account.give(&shim)?;
        let mut command = Command::new("python3");
        command
            .arg(shim)
            .arg(format!("127.0.0.1:{port}"))
            .arg(program);
        command
            .arg("-C")
            .arg(self.conf())
            .args(arguments)
            .current_dir(&self.directory);
        self.account.enter(&mut command);
        Process::start(command, &self.directory.join("log.txt"))
    }
}

fn run(command: &mut Command, input: &str) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("start {name}: are the Debian packages installed?"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{name} {:?}: {}\n{}{}",
        command.get_args().collect::<Vec<_>>(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

const PROGRAMS: &str = "/usr/lib/cyrus/bin";
