//! Commands for the server on this host, over its control socket.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use jiff::Timestamp;

use crate::cli::mupdate::{DEFAULT_CONFIG, data_dir_of};
use crate::config::Settings;
use crate::control::{self, Conflict, Reply, Request, Resync, Scrub, Session, Status, Upstream};
use crate::service::DEFAULT_SERVICE;

/// Which server is meant.
#[derive(Debug, clap::Args)]
struct Target {
    /// The server's configuration, which names its data directory.
    #[arg(short = 'C', value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    config: PathBuf,
    /// The server's data directory, if it was started with --data.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    target: Target,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const RECOVERY_HELP: &str = "\
A master whose store is missing, empty or older than it was starts in recovery: it accepts the lists
that backends push and streams to nobody, since slaves would delete what it lacks. Run
'ctl_mboxlist -m' on every backend, look at the conflicts, then end it.";

#[derive(Debug, clap::Args)]
#[command(after_help = RECOVERY_HELP)]
pub(super) struct RecoveryArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<RecoveryAction>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum RecoveryAction {
    /// Show whether there is a recovery, why, and the conflicts found. The default.
    Status,
    /// The list is complete: let slaves in again.
    End,
}

impl Target {
    fn ask(&self, request: Request) -> anyhow::Result<Reply> {
        let data_dir = match &self.data {
            Some(dir) => dir.clone(),
            None => data_dir_of(&Settings::read(&self.config, DEFAULT_SERVICE)?),
        };
        control::ask(&data_dir, request)
    }

    fn status(&self) -> anyhow::Result<Status> {
        match self.ask(Request::Status)? {
            Reply::Status(status) => Ok(*status),
            other => bail!("unexpected reply: {other:?}"),
        }
    }
}

pub(super) fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let status = args.target.status()?;
    let mut out = io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
        return Ok(());
    }
    writeln!(
        out,
        "{} {}, pid {}",
        status.role, status.version, status.pid
    )?;
    writeln!(
        out,
        "mailboxes {}, sequence {}, epoch {}",
        status.mailboxes, status.sequence, status.epoch
    )?;
    writeln!(out, "root      {}", status.root)?;
    writeln!(
        out,
        "log       {}",
        if status.writable {
            "writable"
        } else {
            "NOT WRITABLE: edits are refused"
        }
    )?;
    match &status.upstream {
        Some(upstream) => write_upstream(&mut out, upstream)?,
        None => write_recovery(&mut out, &status)?,
    }
    if let Some(export) = &status.export {
        writeln!(out, "export    {export}")?;
    }
    write_scrub(&mut out, &status.scrub)?;
    writeln!(out, "sessions  {}", status.sessions.len())?;
    status
        .sessions
        .iter()
        .try_for_each(|session| write_session(&mut out, session))
}

fn write_scrub(out: &mut impl Write, scrub: &Scrub) -> anyhow::Result<()> {
    let last = match scrub.last.and_then(|at| i64::try_from(at).ok()) {
        Some(at) => Timestamp::from_second(at)?.to_string(),
        None => "not yet".to_owned(),
    };
    let found = match scrub.findings.len() {
        0 => String::new(),
        count => format!(", {count} DAMAGED:"),
    };
    writeln!(out, "scrubbed  {last}{found}")?;
    for finding in &scrub.findings {
        writeln!(out, "  {finding}")?;
    }
    Ok(())
}

pub(super) fn recovery(args: &RecoveryArgs) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match args.action.unwrap_or(RecoveryAction::Status) {
        RecoveryAction::Status => write_recovery(&mut out, &args.target.status()?),
        RecoveryAction::End => match args.target.ask(Request::EndRecovery)? {
            Reply::RecoveryEnded(true) => Ok(writeln!(out, "recovery ended, slaves may come")?),
            Reply::RecoveryEnded(false) => Ok(writeln!(out, "the master was not in recovery")?),
            other => bail!("unexpected reply: {other:?}"),
        },
    }
}

const CONFIRM_HELP: &str = "\
A resync that would empty a slave's list, or remove more than a fifth of it and more than 100 entries,
is held: the entries stay until this command. 'mupdatectl status' shows how many wait. Look first
whether the master has its list.";

#[derive(Debug, clap::Args)]
#[command(after_help = CONFIRM_HELP)]
pub(super) struct ConfirmArgs {
    #[command(flatten)]
    target: Target,
}

pub(super) fn confirm_deletes(args: &ConfirmArgs) -> anyhow::Result<()> {
    match args.target.ask(Request::ConfirmDeletes)? {
        Reply::DeletesConfirmed(count) => Ok(writeln!(io::stdout(), "{count} entries deleted")?),
        other => bail!("unexpected reply: {other:?}"),
    }
}

const RESYNC_HELP: &str = "\
The slave goes on serving meanwhile. It verifies its list every few seconds while the master knows RESYNC,
and repairs by itself what differs; this command is for who wants to be sure. A master that does not know
RESYNC sends its whole list in any case.";

#[derive(Debug, clap::Args)]
#[command(after_help = RESYNC_HELP)]
pub(super) struct ResyncArgs {
    #[command(flatten)]
    target: Target,
    /// Take the whole list instead of comparing digests.
    #[arg(long)]
    full: bool,
}

pub(super) fn resync(args: &ResyncArgs) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match args.target.ask(Request::Resync { full: args.full })? {
        Reply::Resynced(Some(resync)) => Ok(writeln!(out, "{}", show_resync(&resync))?),
        Reply::Resynced(None) => Ok(writeln!(
            out,
            "under way; 'mupdatectl status' shows how it goes"
        )?),
        other => bail!("unexpected reply: {other:?}"),
    }
}

fn show_resync(resync: &Resync) -> String {
    let how = match resync.way.as_str() {
        "log" => "by the changes since",
        "digest" => "by digests",
        "full" => "by the whole list",
        _ => "by a dump",
    };
    format!(
        "{how}: {} changes, {} octets, {} ms",
        resync.changes, resync.octets, resync.elapsed_ms
    )
}

fn write_recovery(out: &mut impl Write, status: &Status) -> anyhow::Result<()> {
    match &status.recovery {
        None => writeln!(out, "recovery  no")?,
        Some(reason) => writeln!(out, "recovery  YES: {reason}")?,
    }
    status
        .conflicts
        .iter()
        .try_for_each(|conflict| write_conflict(out, conflict))
}

fn write_upstream(out: &mut impl Write, upstream: &Upstream) -> anyhow::Result<()> {
    let trouble = upstream
        .trouble
        .as_deref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let complete = if upstream.complete {
        "complete"
    } else {
        "NOT COMPLETE, clients wait"
    };
    writeln!(
        out,
        "master    {} {}{trouble}",
        upstream.master, upstream.phase
    )?;
    writeln!(out, "list      {complete}")?;
    if let Some(place) = &upstream.place {
        let mismatches = match upstream.mismatches {
            0 => "none did not fit".to_owned(),
            mismatches => format!("{mismatches} DID NOT FIT, see the log"),
        };
        let points = match upstream.points {
            1 => "1 point".to_owned(),
            points => format!("{points} points"),
        };
        writeln!(
            out,
            "place     {} of epoch {}, verified at {points}, {mismatches}",
            place.sequence, place.epoch
        )?;
    }
    if let Some(resync) = &upstream.resync {
        writeln!(out, "resync    {}", show_resync(resync))?;
    }
    if upstream.held > 0 {
        writeln!(
            out,
            "held      {} entries would be deleted; see 'mupdatectl confirm-deletes --help'",
            upstream.held
        )?;
    }
    Ok(())
}

fn write_conflict(out: &mut impl Write, conflict: &Conflict) -> anyhow::Result<()> {
    let now = conflict.now.as_deref().unwrap_or("nowhere");
    let older = conflict.older.join(", ");
    writeln!(
        out,
        "  conflict {}: now {now}, but was said to be {older}",
        conflict.mailbox
    )?;
    Ok(())
}

fn write_session(out: &mut impl Write, session: &Session) -> anyhow::Result<()> {
    let user = session.user.as_deref().unwrap_or("-");
    let behind = session
        .behind
        .map(|changes| format!(", {changes} changes behind"))
        .unwrap_or_default();
    writeln!(
        out,
        "  {} {user} {}{behind}, {} s",
        session.peer, session.state, session.age_s
    )?;
    Ok(())
}
