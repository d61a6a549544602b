//! The command line.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use transport::Secret;

use crate::bench::Bench;
use crate::error::Error;
use crate::names::MAILBOXES_MAX;
use crate::report::{Report, draw, table};
use crate::rows::Scenario;
use crate::run::Plan;
use crate::server::Server;
use crate::target::{Account, Target};

const EXAMPLES: &str = "\
Examples:
  mupdate-bench --server 127.0.0.1:3905 --user admin --password-file pw --mailboxes 10000
  mupdate-bench --server cyrus=127.0.0.1:3905:1234 --server ours=127.0.0.1:3906:1240 --user admin --password-file pw \\
                --directory /var/tmp --json run.json --svg docs/charts
  mupdate-bench --server ours=127.0.0.1:3906 --user admin --password-file pw --only limits,dump,under-load --keep

The third part of a server is its process, on this host: with it memory and processor time are shown. --password-file -
reads standard input. All mailboxes that are made are called user.mb000000 and so on, or user.mbscratch...; what an
earlier run has left is taken over, and all of it is removed at the end unless --keep is given. Not to be used on a
server that mail depends on: it is loaded to its limits.

Exit status: 0 all rows have figures, 1 some have none, 64 misuse.";

/// Loads and measures MUPDATE servers (RFC 3656), side by side and beside what this machine can do at most.
#[derive(Debug, Parser)]
#[command(name = "mupdate-bench", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// A server to measure; again for more: those after the first are compared with it.
    #[arg(long, required = true, value_name = "[NAME=]HOST:PORT[:PID]")]
    server: Vec<Server>,
    /// Who logs in, to all of them.
    #[arg(long)]
    user: String,
    /// File with the password; '-' is standard input.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// The SASL mechanism; without it the best that both know.
    #[arg(long)]
    mechanism: Option<String>,
    /// STARTTLS on every connection; certificates are not verified.
    #[arg(long)]
    starttls: bool,
    /// What to measure, in this order.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROW,...")]
    only: Vec<Scenario>,
    /// What not to measure.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROW,...")]
    skip: Vec<Scenario>,
    /// Leave the mailboxes there.
    #[arg(long)]
    keep: bool,
    /// Write all figures and distributions as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw charts into this directory.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    amount: Amount,
}

/// How much of everything.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How much")]
struct Amount {
    /// Mailboxes on the list.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..=MAILBOXES_MAX))]
    mailboxes: u64,
    /// Connections of loads, pipelined FINDs and edits.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    connections: u64,
    /// Commands in flight on each of them.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    window: u64,
    /// Slaves that dump at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    slaves: u16,
    /// Samples of each distribution of latencies.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    samples: u64,
    /// Rounds of what is not a distribution; the median is shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Minutes in which a row must have its samples and rounds; after those it makes do with what it has.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    row_minutes: u16,
    /// Milliseconds between two requests of a probe under load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    probe_ms: u16,
    /// Edits a second beside dumps.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    edits: u32,
    /// Log-ins at once, and slaves of a storm.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    burst: u16,
    /// Streaming sessions at once.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    sessions: u16,
    /// Edits a second beside the streaming sessions.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    session_edits: u32,
    /// Where the limit of the disk is measured: on the file system of the servers' data.
    #[arg(long, default_value = ".", value_name = "DIR")]
    directory: PathBuf,
}

impl Amount {
    fn plan(&self) -> Plan {
        Plan {
            mailboxes: self.mailboxes,
            connections: self.connections,
            window: self.window,
            slaves: self.slaves.into(),
            samples: self.samples,
            rounds: self.rounds.into(),
            row_time: Duration::from_mins(self.row_minutes.into()),
            probe_interval: Duration::from_millis(self.probe_ms.into()),
            edits_per_second: self.edits,
            burst: self.burst.into(),
            sessions: self.sessions.into(),
            session_edits_per_second: self.session_edits,
            directory: self.directory.clone(),
        }
    }
}

impl Args {
    fn scenarios(&self) -> Vec<Scenario> {
        let all = if self.only.is_empty() {
            Scenario::value_variants()
        } else {
            &self.only
        };
        all.iter()
            .copied()
            .filter(|row| !self.skip.contains(row))
            .collect()
    }

    fn password(&self) -> Result<Secret, Error> {
        let mut octets = Vec::new();
        let read = if self.password_file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut octets).map(drop)
        } else {
            std::fs::read(&self.password_file).map(|found| octets = found)
        };
        read.map_err(|cause| Error::File {
            path: self.password_file.clone(),
            cause,
        })?;
        Ok(Secret::new(octets.trim_ascii_end().to_vec()))
    }
}

/// Measures and reports; whether every row has figures of every server.
pub async fn run(args: Args) -> Result<bool, Error> {
    let account = Account {
        user: args.user.clone(),
        password: args.password()?,
        mechanism: args.mechanism.clone(),
        starttls: args.starttls,
    };
    let mut targets = Vec::new();
    for server in &args.server {
        let target = Target::new(server.clone(), account.clone()).await?;
        // Better now than after the first server's hour.
        target.banner().await?;
        targets.push(target);
    }
    more_descriptors()?;
    let plan = args.amount.plan();
    let rows = Bench::new(plan.clone(), targets, args.keep)
        .run(&args.scenarios())
        .await;
    for row in &rows {
        show(&table(row))?;
    }
    let report = Report::new(plan, rows);
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    if let Some(directory) = &args.svg {
        for path in draw(&report, directory)? {
            show(&format!("{}\n", path.display()))?;
        }
    }
    let failed =
        |outcome: &crate::result::Outcome| matches!(outcome, crate::result::Outcome::Failed(_));
    Ok(!report
        .rows
        .iter()
        .flat_map(|row| &row.servers)
        .any(|(_, outcome)| failed(outcome)))
}

/// A thousand descriptors, which shells start with, are not enough for thousands of sessions.
fn more_descriptors() -> Result<(), Error> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).map_err(|cause| Error::System {
        what: "raise the number of open files",
        cause: cause.into(),
    })
}

fn show(text: &str) -> Result<(), Error> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Error::system("write to standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    const ESSENTIAL: [&str; 7] = [
        "mupdate-bench",
        "--server",
        "a=127.0.0.1:1",
        "--user",
        "u",
        "--password-file",
        "pw",
    ];

    fn parsed(more: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(ESSENTIAL.iter().chain(more))
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn rows_are_chosen_and_left_out() {
        assert_eq!(
            parsed(&[]).unwrap().scenarios().len(),
            Scenario::value_variants().len()
        );
        let args = parsed(&["--only", "dump,under-load,list", "--skip", "list"]).unwrap();
        assert_eq!(args.scenarios(), [Scenario::Dump, Scenario::UnderLoad]);
        assert!(parsed(&["--only", "nothing"]).is_err());
    }

    #[test]
    fn names_of_rows_are_those_of_the_command_line() {
        for row in Scenario::value_variants() {
            assert_eq!(row.to_possible_value().unwrap().get_name(), row.name());
        }
    }

    #[test]
    fn amounts_are_bounded() {
        for (option, value) in [
            ("--mailboxes", "10000001"),
            ("--slaves", "0"),
            ("--sessions", "20001"),
        ] {
            assert!(parsed(&[option, value]).is_err(), "{option}");
        }
    }
}
