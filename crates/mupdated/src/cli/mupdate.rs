//! The command line of `mupdate`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use super::flags::{LongOption, sort_out};
use crate::config::Settings;
use crate::inherited_fds::Inherited;
use crate::node::Places;
use crate::service::Starter;

/// Where Cyrus has its configuration.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/imapd.conf";
const DEFAULT_LISTEN: &str = "127.0.0.1:3905";

const EXAMPLES: &str = "\
Examples:
  mupdate -m                                    a master as /etc/imapd.conf says, on 127.0.0.1:3905
  mupdate -m -C m.conf --listen 127.0.0.1:3905 --listen [::1]:3905
  mupdate -m -C m.conf --data /var/lib/mupdate --users /etc/mupdate.users
  mupdate --check-config -m                     what imapd.conf would have it do, and every mistake in it
In cyrus.conf:
  mupdate cmd=\"mupdate -m\" listen=\"mupdate\" prefork=1

Signals: SIGTERM and SIGINT stop in order. Log levels: MUPDATE_LOG=info (or warn, debug, …).
Options of one letter that are not listed, and words, are passed over, as Cyrus's program does.
See also: mupdatectl --help";

/// MUPDATE server (RFC 3656): the directory of a Cyrus Murder.
#[derive(Debug, Parser)]
#[command(name = "mupdate", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file, in the form of Cyrus's imapd.conf.
    #[arg(short = 'C', value_name = "FILE", default_value = DEFAULT_CONFIG, overrides_with = "config")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) role: RoleFlags,
    /// Run `debug_command` of imapd.conf first.
    #[arg(short = 'D', overrides_with = "debug")]
    pub(crate) debug: bool,
    /// Say what imapd.conf would have this program do, and every mistake in it, and end.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Address to listen on; may be given more than once. [default: 127.0.0.1:3905, or the sockets
    /// that Cyrus's master or systemd hands over]
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
    /// What the command line had that is passed over.
    #[arg(skip)]
    pub(crate) ignored: Vec<OsString>,
}

/// Which role to play.
#[derive(Debug, clap::Args)]
pub(crate) struct RoleFlags {
    /// Be the master of the murder. Without: a slave.
    #[arg(short = 'm', overrides_with = "master")]
    pub(crate) master: bool,
    /// Be the master if `mupdate_server` is an address of this host, else a slave.
    #[arg(short = 'a', overrides_with = "auto")]
    pub(crate) auto: bool,
}

impl Args {
    /// Reads a command line as Cyrus's program would.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        inherited: &Inherited,
    ) -> Result<Self, clap::Error> {
        let known = Self::command();
        let long: Vec<LongOption> = known
            .get_arguments()
            .filter_map(|argument| {
                Some(LongOption {
                    name: argument.get_long()?.to_owned(),
                    takes_value: argument.get_action().takes_values(),
                })
            })
            .chain(["help", "version"].map(|name| LongOption {
                name: name.to_owned(),
                takes_value: false,
            }))
            .collect();
        let flags = sort_out(arguments, &long, Starter::look(inherited).is_cyrus);
        let mut args = Self::try_parse_from(flags.known)?;
        args.ignored = flags.unknown;
        Ok(args)
    }

    pub(crate) fn places(&self, settings: &Settings, inherited: &Inherited) -> Places {
        let data_dir = self.data.clone().unwrap_or_else(|| data_dir_of(settings));
        let users_file = self.users.clone().or_else(|| settings.users_file.clone());
        let kick_socket = settings.config_directory.join("socket/mupdate.target");
        let kick_socket = path_or_none(self.kick_socket.as_ref(), kick_socket);
        let mailboxes_db = path_or_none(self.mailboxes_db.as_ref(), settings.mailboxes_db.clone());
        let listen = if self.listen.is_empty() && inherited.listeners.is_empty() {
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
