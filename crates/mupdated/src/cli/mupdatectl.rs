//! The command line of `mupdatectl`.

use clap::{Parser, Subcommand};

use crate::failure::{Failure, Status};

use super::remote::{Connection, Query};
use super::{db, demo, diff, local, passwd, remote, verify};

const EXAMPLES: &str = "\
Examples:
  mupdatectl passwd --users /var/lib/mupdate/users backend1
  mupdatectl --server 127.0.0.1:3905 --user admin --password-file pw find user.amy
  mupdatectl --user admin list 'backend1.example.org!'
  mupdatectl --user admin watch
  mupdatectl --user admin activate user.amy 'backend1!default' amy=lrswipkxte anyone=l
  mupdatectl --user admin verify master.example.org:3905 front1.example.org:3905
  mupdatectl --user admin diff master.example.org:3905 front1.example.org:3905
  mupdatectl status -C /etc/imapd.conf
  mupdatectl recovery end
  mupdatectl demo

Exit status: 0 done, 1 the server said NO or something failed, 64 misuse.";

/// Administration of a MUPDATE server (RFC 3656).
#[derive(Debug, Parser)]
#[command(name = "mupdatectl", version, about, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set a user's password in a users file.
    Passwd(passwd::Args),
    #[command(flatten)]
    Query(Query),
    /// Check that servers have the same list: what it adds up to, at one sequence of one history.
    Verify(verify::Args),
    /// Show the mailboxes in which the lists of two servers differ.
    Diff(diff::Args),
    /// How the server on this host is.
    Status(local::StatusArgs),
    /// Whether the master on this host is in recovery; 'end' ends it.
    Recovery(local::RecoveryArgs),
    /// Let the slave on this host delete what it holds back.
    ConfirmDeletes(local::ConfirmArgs),
    /// Let the slave on this host compare its list with its master's anew.
    Resync(local::ResyncArgs),
    /// Check, show and checkpoint Cyrus's own database files.
    Db(db::Args),
    /// Start a master of its own on loopback, fill it, and show changes arriving.
    Demo(demo::Args),
}

/// Carries out one command.
pub async fn run(args: Args) -> Result<(), Failure> {
    let done = match args.command {
        Command::Passwd(passwd) => passwd::run(&passwd),
        Command::Query(query) => remote::run(&args.connection, query).await,
        Command::Verify(verify) => verify::run(&args.connection, &verify).await,
        Command::Diff(diff) => diff::run(&args.connection, &diff).await,
        Command::Status(status) => local::status(&status),
        Command::Recovery(recovery) => local::recovery(&recovery),
        Command::ConfirmDeletes(confirm) => local::confirm_deletes(&confirm),
        Command::Resync(resync) => local::resync(&resync),
        Command::Db(db) => db::run(&db),
        Command::Demo(demo) => demo::run(&demo).await,
    };
    done.map_err(|cause| Failure::new(Status::Refused, cause))
}
