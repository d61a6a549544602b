//! Our server as a slave.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::database::Database;
use super::imapd::{PROXY, PROXYING, add_user};
use crate::cyrus::{ADMIN, Node, PASSWORD, USERS};
use crate::listing::Listing;
use crate::ports::free_port;
use crate::process::Process;
use crate::programs;
use crate::scratch::Scratch;
use crate::wait::wait_for;
use crate::wire::Wire;

/// `mupdate` of this workspace that follows a master and keeps its host's `mailboxes.db`. Ends with this value.
#[derive(Debug)]
pub struct Follower {
    node: Node,
    port: u16,
    arguments: Vec<&'static str>,
    process: Option<Process>,
    scratch: Scratch,
    programs: Scratch,
}

impl Follower {
    /// As [`Self::make`], but a slave that only serves slaves of its own: no `mailboxes.db`, no kick socket.
    pub fn make_relay(master_port: u16, options: &[(&str, &str)]) -> Result<Self> {
        let mut relay = Self::make(master_port, options)?;
        relay.arguments = vec!["--mailboxes-db", "none", "--kick-socket", "none"];
        Ok(relay)
    }

    /// Makes a slave of the master on `master_port`, asking again every two seconds, with further lines for its
    /// imapd.conf; it does not run yet.
    pub fn make(master_port: u16, options: &[(&str, &str)]) -> Result<Self> {
        let (scratch, programs) = (Scratch::new()?, Scratch::new()?);
        let server = format!("127.0.0.1:{master_port}");
        let mut all = upstream(&server).to_vec();
        all.extend(PROXYING);
        all.extend(options);
        let node = Node::make(scratch.path(), SERVERNAME, &all)?;
        node.prepare()?;
        add_user(&node, SERVERNAME, PROXY)?;
        programs::copy_to(programs.path())?;
        let follower = Self {
            node,
            port: free_port()?,
            arguments: Vec::new(),
            process: None,
            scratch,
            programs,
        };
        let users = follower.users();
        for (user, password) in USERS {
            follower.control(&["passwd", "--users", &users, user], password)?;
        }
        follower.node.account().give(follower.scratch.path())?;
        Ok(follower)
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the slave runs already");
        let mut command = Command::new(self.programs.join("mupdate"));
        command
            .arg("-C")
            .arg(self.node.conf())
            .args(["--users", &self.users()])
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .args(&self.arguments)
            .current_dir(self.scratch.path());
        self.node.account().enter(&mut command);
        self.process = Some(Process::start(command, &self.scratch.join("log.txt"))?);
        Ok(())
    }

    /// Starts it and waits for its greeting, which comes when it has a complete list.
    pub fn launch(&mut self) -> Result<()> {
        self.start()?;
        wait_for("greeting of the slave", || {
            ensure!(self.is_running(), "the slave has ended");
            Wire::greeted(self.port).map(Some)
        })
        .map(drop)
        .with_context(|| self.log())
    }

    /// Starts it as a master with the list that it has, out of recovery.
    pub fn promote(&mut self) -> Result<()> {
        self.arguments.push("-m");
        self.launch()?;
        let conf = self.node.conf().display().to_string();
        self.control(&["recovery", "end", "-C", &conf], "")
            .map(drop)
    }

    /// Stops it in order.
    pub fn stop(&mut self) -> Result<()> {
        let process = self.process.take().context("the slave does not run")?;
        process.stop().map(drop)
    }

    /// Kills it; its files stay.
    pub fn kill(&mut self) -> Result<()> {
        let process = self.process.take().context("the slave does not run")?;
        process.kill()
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Logs in.
    pub fn logged_in(&self) -> Result<Wire> {
        Wire::logged_in(self.port, ADMIN, PASSWORD)
    }

    /// Its imapd.conf and directories.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The `mailboxes.db` that it keeps.
    pub fn database(&self) -> Database<'_> {
        Database(&self.node)
    }

    /// Waits until both its LIST and its `mailboxes.db` are `wanted`.
    pub fn agrees(&self, wanted: &Listing) -> Result<()> {
        self.lists(wanted)?;
        wait_for("slave and master agree", || {
            check_same(
                "mailboxes.db of the slave",
                &self.database().listing()?,
                wanted,
            )?;
            Ok(Some(()))
        })
        .with_context(|| self.log())
    }

    /// Waits until its LIST is `wanted`.
    pub fn lists(&self, wanted: &Listing) -> Result<()> {
        wait_for("slave and master agree", || {
            let listed = self.logged_in()?.listing("LIST")?;
            check_same("LIST of the slave", &listed, wanted)?;
            Ok(Some(()))
        })
        .with_context(|| self.log())
    }

    /// Lets an operator confirm the deletions that are held.
    pub fn confirm_deletes(&self) -> Result<()> {
        let conf = self.node.conf().display().to_string();
        self.control(&["confirm-deletes", "-C", &conf], "")
            .map(drop)
    }

    /// What it has logged, for a failing test.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.scratch.join("log.txt")).unwrap_or_default();
        format!("log of the slave:\n{}", crate::process::tail(&log))
    }

    /// How often it has logged something with this text.
    pub fn logged(&self, text: &str) -> usize {
        let log = std::fs::read(self.scratch.join("log.txt")).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(text).count()
    }

    /// Lets an operator ask for a whole resync, and does not wait for its end, as the operator's program does.
    pub fn ask_for_all(&self) -> Result<Child> {
        let mut command = Command::new(self.programs.join("mupdatectl"));
        command
            .args(["resync", "--full", "-C"])
            .arg(self.node.conf())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.node.account().enter(&mut command);
        command.spawn().context("start mupdatectl")
    }

    /// Runs our `mupdatectl` as the account of the server.
    pub fn control(&self, arguments: &[&str], input: &str) -> Result<String> {
        let path = self.scratch.join("input");
        std::fs::write(&path, input)?;
        let mut command = Command::new(self.programs.join("mupdatectl"));
        command
            .args(arguments)
            .stdin(Stdio::from(std::fs::File::open(&path)?));
        self.node.account().enter(&mut command);
        let output = command.output().context("start mupdatectl")?;
        ensure!(
            output.status.success(),
            "mupdatectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where its data are.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    fn users(&self) -> String {
        self.scratch.join("users").display().to_string()
    }
}

/// What an imapd.conf needs to talk to the master at `server`.
pub fn upstream(server: &str) -> [(&str, &str); 5] {
    [
        ("mupdate_server", server),
        ("mupdate_username", ADMIN),
        ("mupdate_authname", ADMIN),
        ("mupdate_password", PASSWORD),
        ("mupdate_retry_delay", "2"),
    ]
}

/// Says how `shown` differs, a few names only.
fn check_same(what: &str, shown: &Listing, wanted: &Listing) -> Result<()> {
    let few = |mut names: Vec<String>| {
        names.truncate(8);
        names
    };
    let lost = wanted.0.keys().filter(|name| !shown.0.contains_key(*name));
    let lost = few(lost.cloned().collect());
    ensure!(lost.is_empty(), "{what} lacks {lost:?}");
    let more = shown.0.keys().filter(|name| !wanted.0.contains_key(*name));
    let more = few(more.cloned().collect());
    ensure!(more.is_empty(), "{what} still has {more:?}");
    let other = shown
        .0
        .iter()
        .filter(|(name, known)| wanted.0.get(*name) != Some(known));
    let other = few(other
        .map(|(name, known)| format!("{name}: {known:?}"))
        .collect());
    ensure!(other.is_empty(), "{what} has otherwise {other:?}");
    Ok(())
}

const SERVERNAME: &str = "frontend.murder.test";
