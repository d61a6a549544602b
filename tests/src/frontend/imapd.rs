//! Real imapd processes under Cyrus's own process manager.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Imap;
use super::follower::upstream;
use crate::cyrus::{Node, PASSWORD};
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::wait_for;

/// The user as whom a frontend's imapd logs in to a backend, for others.
pub const PROXY: &str = "mailproxy";

/// imapd with a process per connection, as at a site. Ends with this value.
#[derive(Debug)]
pub struct Imapd {
    port: u16,
    process: Process,
}

impl Imapd {
    /// Starts it with the imapd.conf of `node`, on `port`, and waits until it greets. Cyrus's databases are looked
    /// over first (`ctl_cyrusdb -r`), as at each start of a host.
    pub fn start(node: &Node, port: u16) -> Result<Self> {
        ensure!(
            Path::new(MANAGER).is_file(),
            "no {MANAGER}: install cyrus-common"
        );
        let conf = node.conf().display().to_string();
        let services = node.directory().join("cyrus.conf");
        fs::write(
            &services,
            format!(
                "START {{\n  recover cmd=\"ctl_cyrusdb -C {conf} -r\"\n}}\nSERVICES {{\n  \
                 imap cmd=\"imapd -C {conf}\" listen=\"127.0.0.1:{port}\" proto=\"tcp4\" prefork=1\n}}\n\
                 EVENTS {{\n}}\n"
            ),
        )?;
        node.account().give(&services)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(MANAGER);
        command
            .args(["-C", &conf, "-M"])
            .arg(&services)
            .arg("-p")
            .arg(node.directory().join("master.pid"))
            .env("PATH", format!("{PROGRAMS}:{path}"))
            .current_dir(node.directory());
        let log = node.directory().join("imapd.txt");
        let mut process = Process::start(command, &log)?;
        wait_for("greeting of imapd", || {
            ensure!(process.is_running(), "Cyrus's master has ended");
            Imap::connect(port).map(Some)
        })
        .map(drop)
        .with_context(|| format!("log of imapd:\n{}", process.log_tail()))?;
        Ok(Self { port, process })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The end of its log, for a failing test.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// What an imapd.conf of a frontend needs beyond a `mupdate_server`.
pub const PROXYING: [(&str, &str); 2] = [("proxy_authname", PROXY), ("proxy_password", PASSWORD)];

/// A backend with mail, its servername being an address that frontends can connect to.
#[derive(Debug)]
pub struct MailHost {
    imapd: Imapd,
    host: String,
}

impl MailHost {
    /// Makes and starts one below `directory` that tells the master on `master_port` of its mailboxes.
    pub fn start(directory: &Path, master_port: u16) -> Result<Self> {
        let port = free_port()?;
        let host = format!("127.0.0.1:{port}");
        let server = format!("127.0.0.1:{master_port}");
        let mut options = upstream(&server).to_vec();
        options.extend([("proxyservers", PROXY), ("delete_mode", "immediate")]);
        fs::create_dir_all(directory)?;
        let node = Node::make(directory, &host, &options)?;
        node.prepare()?;
        add_proxy_user(&node, &host)?;
        Ok(Self {
            imapd: Imapd::start(&node, port)?,
            host,
        })
    }

    /// Its name in the murder, of the form `127.0.0.1:12345`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its IMAP port.
    pub fn port(&self) -> u16 {
        self.imapd.port()
    }
}

/// Gives the password of the proxy user to a node, and of a frontend's own users to its imapd.
pub(super) fn add_proxy_user(node: &Node, servername: &str) -> Result<()> {
    add_user(node, servername, PROXY)
}

/// Adds a user with the common password to those that the SASL library knows.
pub fn add_user(node: &Node, servername: &str, user: &str) -> Result<()> {
    let database = node.directory().join("sasldb2");
    let mut command = Command::new("saslpasswd2");
    command
        .arg("-f")
        .arg(&database)
        .args(["-c", "-p", "-u", servername, user])
        .stdin(Stdio::piped());
    let mut child = command
        .spawn()
        .context("start saslpasswd2: is sasl2-bin installed?")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(PASSWORD.as_bytes())?;
    drop(stdin);
    ensure!(child.wait()?.success(), "saslpasswd2 refuses {user}");
    node.account().give(&database)
}

const MANAGER: &str = "/usr/sbin/cyrmaster";
const PROGRAMS: &str = "/usr/lib/cyrus/bin";
