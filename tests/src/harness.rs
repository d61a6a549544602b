//! Runs the harness of `cyrus-murder/`, a whole Cyrus murder with our master in it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::Process;
use crate::programs::{copy_to, package_file};
use crate::scratch::Scratch;
use crate::wait::wait_within;

/// All checks of `murder.py` with our master and the given further options.
///
/// # Errors
///
/// When a check fails: the end of what the harness printed.
pub fn murder(options: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    copy_to(scratch.path())?;
    let programs = scratch.path().display();
    // The harness has made up the password; our master reads verifiers.
    let master = format!(
        "sh -c 'printf %s \"$MURDER_PASSWORD\" | {programs}/mupdatectl passwd --users users \"$MURDER_USER\" \
         && exec {programs}/mupdate -m -C {{imapd_conf}} --listen {{host}}:{{port}} --users users'"
    );
    run(&scratch, &["--master-cmd", &master], options)
}

/// The same checks with Cyrus in every role: what they are worth.
pub fn cyrus_only(options: &[&str]) -> Result<()> {
    run(&Scratch::new()?, &[], options)
}

fn run(scratch: &Scratch, first: &[&str], options: &[&str]) -> Result<()> {
    let mut command = Command::new("python3");
    command
        .arg(package_file("cyrus-murder/murder.py"))
        .args(first)
        .args(options);
    command.arg("--workdir").arg(scratch.join("m"));
    let log = scratch.join("harness.txt");
    let mut process = Process::start(command, &log)?;
    let ended = wait_within(LIMIT, "end of the harness", || {
        Ok((!process.is_running()).then_some(()))
    });
    let shown = process.log_tail();
    let master = std::fs::read(scratch.join("m/master/mupdate-cmd.log")).unwrap_or_default();
    let master = crate::process::tail(&master);
    ended.with_context(|| shown.clone())?;
    if !shown
        .lines()
        .any(|line| line.ends_with(" passed, 0 failed") && !line.starts_with("0 "))
    {
        bail!("the harness says:\n{shown}\nlog of the master:\n{master}");
    }
    Ok(())
}

const LIMIT: Duration = Duration::from_mins(10);
