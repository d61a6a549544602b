//! A MUPDATE master on loopback: ours, or that of Cyrus.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cyrus::{ADMIN, Node, PASSWORD, USERS};
use crate::ports::free_port;
use crate::process::Process;
use crate::programs;
use crate::scratch::Scratch;
use crate::wait::wait_for;
use crate::wire::Wire;

/// Which program is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `mupdate` of this workspace.
    Ours,
    /// `mupdate` of Cyrus IMAP, as Debian packages it.
    Cyrus,
}

/// A master with a directory of its own, running or not. Ends with this value.
#[derive(Debug)]
pub struct Master {
    program: Program,
    node: Node,
    port: u16,
    process: Option<Process>,
    scratch: Scratch,
    programs: Scratch,
}

impl Program {
    /// The one that the conformance suite is run against: `MUPDATE_UNDER_TEST` is `cyrus`, `ours` or not set.
    pub fn under_test() -> Result<Self> {
        match env::var("MUPDATE_UNDER_TEST").as_deref() {
            Ok("cyrus") => Ok(Self::Cyrus),
            Ok("ours") | Err(env::VarError::NotPresent) => Ok(Self::Ours),
            other => bail!("MUPDATE_UNDER_TEST must be cyrus or ours, not {other:?}"),
        }
    }
}

impl Master {
    /// Starts a master with further lines for its imapd.conf, and waits until it greets.
    pub fn start(program: Program, options: &[(&str, &str)]) -> Result<Self> {
        let mut master = Self::make(program, options)?;
        master.launch()?;
        Ok(master)
    }

    /// As [`Self::start`], without starting it.
    pub fn make(program: Program, options: &[(&str, &str)]) -> Result<Self> {
        let (scratch, programs) = (Scratch::new()?, Scratch::new()?);
        let node = Node::make(scratch.path(), "master.murder.test", options)?;
        let master = Self {
            program,
            node,
            port: free_port()?,
            process: None,
            scratch,
            programs,
        };
        match program {
            Program::Cyrus => master.node.prepare()?,
            Program::Ours => {
                programs::copy_to(master.programs.path())?;
                for (user, password) in USERS {
                    let users = master.users().display().to_string();
                    master.control(&["passwd", "--users", &users, user], password)?;
                }
                master.node.account().give(master.scratch.path())?;
            }
        }
        Ok(master)
    }

    /// Starts it, with the data that it has, and waits until it greets.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the master runs already");
        self.process = Some(match self.program {
            Program::Cyrus => self.node.serve("mupdate", &["-m"], self.port)?,
            Program::Ours => {
                let mut command = Command::new(self.programs.join("mupdate"));
                command
                    .arg("-m")
                    .arg("-C")
                    .arg(self.node.conf())
                    .arg("--users")
                    .arg(self.users());
                command
                    .arg("--listen")
                    .arg(format!("127.0.0.1:{}", self.port))
                    .current_dir(self.scratch.path());
                self.node.account().enter(&mut command);
                Process::start(command, &self.log())?
            }
        });
        wait_for("greeting of the master", || {
            let process = self.process.as_mut().context("the master does not run")?;
            if process.is_running() {
                return Wire::greeted(self.port).map(Some);
            }
            Ok(None)
        })
        .map(drop)
        .with_context(|| format!("log of the master:\n{}", self.log_tail()))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the running program.
    pub fn id(&self) -> Result<u32> {
        Ok(self
            .process
            .as_ref()
            .context("the master does not run")?
            .id())
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Its imapd.conf and directories.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where ours keeps its list.
    pub fn data(&self) -> PathBuf {
        self.node.config_directory().join("mupdate")
    }

    /// The mark that ours keeps outside of its data.
    pub fn marker(&self) -> PathBuf {
        self.node.config_directory().join("mupdate.state")
    }

    /// Removes the list, but not the mark outside of it: so ours must come up in recovery.
    pub fn lose_data(&self) -> Result<()> {
        ensure!(self.process.is_none(), "the master still runs");
        ensure!(self.marker().is_file(), "no {}", self.marker().display());
        Ok(fs::remove_dir_all(self.data())?)
    }

    /// Connects and logs in.
    pub fn logged_in(&self) -> Result<Wire> {
        Wire::logged_in(self.port, ADMIN, PASSWORD)
    }

    /// Stops it in order.
    pub fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the master does not run")?
            .stop()
            .map(drop)
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the master does not run")?
            .kill()
    }

    /// The end of its log, for a failing test.
    pub fn log_tail(&self) -> String {
        crate::process::tail(&fs::read(self.log()).unwrap_or_default())
    }

    /// Runs our `mupdatectl` and returns what it wrote to standard output.
    pub fn control(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(self.programs.join("mupdatectl"));
        command
            .args(arguments)
            .stdin(Stdio::from(input_file(&self.scratch, input)?));
        self.node.account().enter(&mut command);
        let output = command.output().context("start mupdatectl")?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        ensure!(
            output.status.success(),
            "mupdatectl {arguments:?}: {}{}",
            text(&output.stderr),
            text(&output.stdout)
        );
        Ok(text(&output.stdout))
    }

    /// Ends the recovery of ours, as an operator would.
    pub fn end_recovery(&self) -> Result<()> {
        let conf = self.node.conf().display().to_string();
        self.control(&["recovery", "end", "-C", &conf], "")
            .map(drop)
    }

    /// One figure of what `mupdatectl status --json` of ours shows, as it is written there.
    pub fn status(&self, figure: &str) -> Result<String> {
        let conf = self.node.conf().display().to_string();
        let shown = self.control(&["status", "--json", "-C", &conf], "")?;
        let key = format!("\"{figure}\": ");
        let value = shown
            .lines()
            .find_map(|line| line.trim().strip_prefix(&key));
        let value = value.with_context(|| format!("no {figure} in {shown}"))?;
        Ok(value.trim_end_matches(',').to_owned())
    }

    fn users(&self) -> PathBuf {
        self.scratch.join("users")
    }

    fn log(&self) -> PathBuf {
        self.scratch.join("log.txt")
    }
}

/// What a program shall read as its standard input.
fn input_file(scratch: &Scratch, input: &str) -> Result<fs::File> {
    let path: &Path = &scratch.join("input");
    fs::write(path, input)?;
    Ok(fs::File::open(path)?)
}
