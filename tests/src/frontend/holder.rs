//! A process that has the lock of a file and does nothing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::account::Account;
use crate::process::Process;
use crate::wait::wait_for;

/// A process that took Cyrus's exclusive lock on a file and was stopped (SIGSTOP) then. Ends with this value.
#[derive(Debug)]
pub struct LockHolder(Process);

impl LockHolder {
    /// Starts it as the account of the Cyrus programs, and returns when it has the lock and stands still.
    pub fn of(file: &Path, account: &Account, log: &Path) -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg("-c").arg(SCRIPT).arg(file);
        account.enter(&mut command);
        let mut process = Process::start(command, log)?;
        wait_for("lock of the stopped process", || {
            ensure!(
                process.is_running(),
                "the process has ended: {}",
                process.log_tail()
            );
            Ok(process.log_tail().contains("locked").then_some(()))
        })
        .context("is python3 installed?")?;
        process.freeze()?;
        Ok(Self(process))
    }

    /// Ends it, which lets go of the lock.
    pub fn end(self) -> Result<()> {
        self.0.kill()
    }
}

const SCRIPT: &str = "\
import fcntl, sys, time
f = open(sys.argv[1], 'r+b')
fcntl.lockf(f, fcntl.LOCK_EX)
print('locked', flush=True)
time.sleep(600)
";
