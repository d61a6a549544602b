//! Runs the harness of `cyrus-murder/`, a whole Cyrus murder with our programs in it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::account::Account;
use crate::process::Process;
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

/// All checks of `murder.py` with our master and the given further options.
///
/// # Errors
///
/// When a check fails: the end of what the harness printed.
pub fn murder(options: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    copy_to(scratch.path())?;
    run(
        &scratch,
        &["--master-cmd", &program(&scratch, "-m ")],
        options,
    )
}

/// As [`murder`], with our slave on the frontend.
pub fn murder_with_slave(above: Above, options: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    copy_to(scratch.path())?;
    let (slave, master) = (program(&scratch, ""), program(&scratch, "-m "));
    let mut first = vec!["--slave-cmd", &slave];
    if above == Above::Ours {
        first.extend(["--master-cmd", &master]);
    }
    run(&scratch, &first, options)
}

/// As [`murder`], with our programs in the place of Cyrus's in both roles: started by Cyrus's process managers, with
/// the lines of cyrus.conf that Cyrus's own have.
pub fn murder_drop_in(options: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    copy_to(scratch.path())?;
    let users = scratch.join("users");
    let made = scratch.join("mupdatectl");
    passwd(&made, &users, "mupduser", "mupdpass")?;
    Account::of_cyrus()?.give(&users)?;
    let program = scratch.join("mupdate").display().to_string();
    let master = format!("{program} -m");
    let accounts =
        ["master", "frontend"].map(|role| format!("{role}:mupdate_users_file={}", users.display()));
    let mut first = vec!["--master-bin", &master, "--slave-bin", &program];
    for account in &accounts {
        first.extend(["--set", account]);
    }
    run(&scratch, &first, options)
}

/// As [`murder_drop_in`], with nothing set for us: log-ins are those that the `sasl_*` lines mean to Cyrus's programs.
/// Needs programs that were built with the feature `sasl-cyrus`.
pub fn murder_drop_in_with_libsasl(options: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    copy_to(scratch.path())?;
    let program = scratch.join("mupdate").display().to_string();
    let master = format!("{program} -m");
    let first = ["--master-bin", &master, "--slave-bin", &program];
    run(&scratch, &first, options)
}

/// Sets a user's password in a users file.
fn passwd(program: &Path, users: &Path, user: &str, password: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["passwd", "--users"]).arg(users).arg(user);
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(password.as_bytes())?;
    drop(stdin);
    ensure!(child.wait()?.success(), "mupdatectl refuses {user}");
    Ok(())
}

/// The same checks with Cyrus in every role: what they are worth.
pub fn cyrus_only(options: &[&str]) -> Result<()> {
    run(&Scratch::new()?, &[], options)
}

/// The harness has made up the password; our programs read verifiers.
fn program(scratch: &Scratch, role: &str) -> String {
    let programs = scratch.path().display();
    format!(
        "sh -c 'printf %s \"$MURDER_PASSWORD\" | {programs}/mupdatectl passwd --users users \"$MURDER_USER\" \
         && exec {programs}/mupdate {role}-C {{imapd_conf}} --listen {{host}}:{{port}} --users users'"
    )
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
    let log = |role: &str| {
        let path = scratch.join(format!("m/{role}/mupdate-cmd.log"));
        crate::process::tail(&std::fs::read(path).unwrap_or_default())
    };
    let (master, slave) = (log("master"), log("frontend"));
    ended.with_context(|| shown.clone())?;
    if !shown
        .lines()
        .any(|line| line.ends_with(" passed, 0 failed") && !line.starts_with("0 "))
    {
        bail!(
            "the harness says:\n{shown}\nlog of the master:\n{master}\nlog of the slave:\n{slave}"
        );
    }
    Ok(())
}

const LIMIT: Duration = Duration::from_mins(10);
