//! Runs the harness of `cyrus-murder/` with our slave on its frontend.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{Process, tail};
use crate::programs::{copy_to, package_file};
use crate::scratch::Scratch;
use crate::wait::wait_within;

/// Whose master our slave follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Above {
    /// That of Cyrus.
    Cyrus,
    /// Ours.
    Ours,
}

/// All checks of `murder.py` with our slave, below one master or the other, and the given further options.
///
/// # Errors
///
/// When a check fails: the end of what the harness printed.
pub fn murder(above: Above, options: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    copy_to(scratch.path())?;
    let mut command = Command::new("python3");
    command.arg(package_file("cyrus-murder/murder.py"));
    command.args(["--slave-cmd", &program(&scratch, "")]);
    if above == Above::Ours {
        command.args(["--master-cmd", &program(&scratch, "-m ")]);
    }
    command
        .args(options)
        .arg("--workdir")
        .arg(scratch.join("m"));
    let mut process = Process::start(command, &scratch.join("harness.txt"))?;
    let ended = wait_within(LIMIT, "end of the harness", || {
        Ok((!process.is_running()).then_some(()))
    });
    let shown = process.log_tail();
    ended.with_context(|| shown.clone())?;
    let passed = |line: &str| line.ends_with(" passed, 0 failed") && !line.starts_with("0 ");
    if shown.lines().any(passed) {
        return Ok(());
    }
    let log = |role: &str| {
        let path = scratch.join(format!("m/{role}/mupdate-cmd.log"));
        tail(&std::fs::read(path).unwrap_or_default())
    };
    bail!(
        "the harness says:\n{shown}\nlog of the slave:\n{}\nlog of the master:\n{}",
        log("frontend"),
        log("master")
    )
}

/// The harness has made up the password; our programs read verifiers.
fn program(scratch: &Scratch, role: &str) -> String {
    let programs = scratch.path().display();
    format!(
        "sh -c 'printf %s \"$MURDER_PASSWORD\" | {programs}/mupdatectl passwd --users users \"$MURDER_USER\" \
         && exec {programs}/mupdate {role}-C {{imapd_conf}} --listen {{host}}:{{port}} --users users'"
    )
}

const LIMIT: Duration = Duration::from_mins(10);
