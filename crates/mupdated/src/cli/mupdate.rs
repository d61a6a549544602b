//! The command line of `mupdate`.

use std::path::PathBuf;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, info};

use crate::config::Settings;
use crate::failure::{Failure, Status};
use crate::node::{Node, Places};
use crate::telemetry;

/// Where Cyrus has its configuration.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/imapd.conf";
const DEFAULT_LISTEN: &str = "127.0.0.1:3905";
/// The name of the service in cyrus.conf, whose prefix options may carry.
pub(crate) const DEFAULT_SERVICE: &str = "mupdate";
/// Environment variable by which Cyrus's master names the service.
const SERVICE_VARIABLE: &str = "CYRUS_SERVICE";

const EXAMPLES: &str = "\
Examples:
  mupdate -m                                    a master as /etc/imapd.conf says, on 127.0.0.1:3905
  mupdate -m -C m.conf --listen 127.0.0.1:3905 --listen [::1]:3905
  mupdate -m -C m.conf --data /var/lib/mupdate --users /etc/mupdate.users

Signals: SIGTERM and SIGINT stop in order. Log levels: MUPDATE_LOG=info (or warn, debug, …).
See also: mupdatectl --help";

/// MUPDATE server (RFC 3656): the directory of a Cyrus Murder.
#[derive(Debug, Parser)]
#[command(name = "mupdate", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file, in the form of Cyrus's imapd.conf.
    #[arg(short = 'C', value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Be the master of the murder. Without: a slave.
    #[arg(short = 'm')]
    master: bool,
    /// Address to listen on; may be given more than once. [default: 127.0.0.1:3905]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<String>,
    /// Directory of our own state. [default: `mupdate_data_dir`, else <configdirectory>/mupdate]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File of users, see 'mupdatectl passwd'. [default: `mupdate_users_file`, else <data>/users]
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The host's mailboxes.db, or 'none'. [default: `mboxlist_db_path`, else
    /// <configdirectory>/mailboxes.db]
    #[arg(long, value_name = "PATH|none")]
    mailboxes_db: Option<PathBuf>,
    /// Kick socket, or 'none'. [default: <configdirectory>/socket/mupdate.target]
    #[arg(long, value_name = "PATH|none")]
    kick_socket: Option<PathBuf>,
}

/// Runs until a signal asks to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    telemetry::start("info");
    let service = std::env::var(SERVICE_VARIABLE).unwrap_or_else(|_| DEFAULT_SERVICE.to_owned());
    let settings = Settings::read(&args.config, &service)
        .map_err(|cause| Failure::new(Status::Config, cause))?;
    let places = args.places(&settings);
    raise_descriptor_limit();
    let mut signals = Signals::new().map_err(|cause| Failure::new(Status::System, cause))?;
    let (role, node) = if args.master {
        ("master", Node::start_master(&settings, &places).await?)
    } else {
        ("slave", Node::start_slave(&settings, &places).await?)
    };
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    info!(role, listening = addresses.join(" "), data = %places.data_dir.display(), "mupdate is ready");
    let signal = signals.stop().await;
    info!(signal, "stopping");
    node.stop().await;
    info!("stopped");
    Ok(())
}

impl Args {
    fn places(&self, settings: &Settings) -> Places {
        let data_dir = self.data.clone().unwrap_or_else(|| data_dir_of(settings));
        let users_file = self.users.clone().or_else(|| settings.users_file.clone());
        let kick_socket = settings.config_directory.join("socket/mupdate.target");
        let kick_socket = path_or_none(self.kick_socket.as_ref(), kick_socket);
        let mailboxes_db = path_or_none(self.mailboxes_db.as_ref(), settings.mailboxes_db.clone());
        let listen = if self.listen.is_empty() {
            vec![DEFAULT_LISTEN.to_owned()]
        } else {
            self.listen.clone()
        };
        Places {
            users_file: users_file.unwrap_or_else(|| data_dir.join("users")),
            data_dir,
            mailboxes_db,
            kick_socket,
            listen,
        }
    }
}

/// A path from the command line, where the word `none` turns the thing off.
fn path_or_none(given: Option<&PathBuf>, default: PathBuf) -> Option<PathBuf> {
    match given {
        Some(path) if path.as_os_str() == "none" => None,
        Some(path) => Some(path.clone()),
        None => Some(default),
    }
}

/// The data directory of the node that an imapd.conf describes.
pub fn data_dir_of(settings: &Settings) -> PathBuf {
    settings
        .data_dir
        .clone()
        .unwrap_or_else(|| settings.config_directory.join("mupdate"))
}

/// Every connection is a descriptor; the usual soft limit is far below what one process may have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(descriptors = limit.maximum, "descriptor limit"),
        Err(cause) => debug!(%cause, "descriptor limit stays"),
    }
}

/// The signals this program acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until one of them asks to stop.
    async fn stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    info!("SIGHUP: users are read again by themselves; other settings need a restart");
                }
            }
        }
    }
}
