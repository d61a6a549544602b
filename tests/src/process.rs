//! Programs that a test starts, and stops by their process id.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use crate::wait::wait_within;

/// A running program, leader of a process group of its own, its output in a log file. Ends with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command`; what it writes is appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let group = Pid::from_raw(i32::try_from(child.id())?).context("process id 0")?;
        Ok(Self {
            child,
            group,
            log: log.to_owned(),
            name,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it wrote.
    pub fn log_tail(&self) -> String {
        tail(&fs::read(&self.log).unwrap_or_default())
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end within half a minute; it is then killed.
    pub fn stop(mut self) -> Result<ExitStatus> {
        kill_process(self.group, Signal::TERM).with_context(|| format!("stop {}", self.name))?;
        let status = wait_within(STOP_LIMIT, "end after SIGTERM", || {
            Ok(self.child.try_wait()?)
        });
        if status.is_err() {
            bail!(
                "{} does not end on SIGTERM; its log:\n{}",
                self.name,
                self.log_tail()
            );
        }
        status
    }

    /// Asks it to stop, as [`Self::stop`], and waits until all that it has started has ended, too.
    pub fn stop_all(mut self) -> Result<()> {
        kill_process(self.group, Signal::TERM).with_context(|| format!("stop {}", self.name))?;
        wait_within(STOP_LIMIT, "end after SIGTERM", || {
            Ok(self.child.try_wait()?)
        })?;
        wait_within(STOP_LIMIT, "end of what it has started", || {
            Ok(test_kill_process_group(self.group).is_err().then_some(()))
        })
        .with_context(|| format!("{}:\n{}", self.name, self.log_tail()))
    }

    /// Kills it and all it started, and waits until that is done: after this its ports and locks are free.
    pub fn kill(mut self) -> Result<()> {
        self.end()
    }

    /// Stops it from running (SIGSTOP) without ending it.
    pub fn freeze(&self) -> Result<()> {
        Ok(kill_process_group(self.group, Signal::STOP)?)
    }

    /// Lets it run again after [`Self::freeze`].
    pub fn thaw(&self) -> Result<()> {
        Ok(kill_process_group(self.group, Signal::CONT)?)
    }

    fn end(&mut self) -> Result<()> {
        // Members of the group may outlive the leader, so the group is what is killed; an empty one is not an error.
        kill_process_group(self.group, Signal::KILL).ok();
        self.child.wait()?;
        wait_within(STOP_LIMIT, "end of the process group", || {
            Ok(test_kill_process_group(self.group).is_err().then_some(()))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that is already failing has better things to report.
        drop(self.end());
    }
}

/// The last lines of some output.
pub fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES_SHOWN)..)
        .unwrap_or_default()
        .join("\n")
}

const STOP_LIMIT: Duration = Duration::from_secs(30);
const LINES_SHOWN: usize = 60;
