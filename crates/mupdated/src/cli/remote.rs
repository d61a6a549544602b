//! Commands that are MUPDATE commands: find, list, watch and the edits.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Subcommand, ValueEnum};
use client::{Client, Error, Listed, Login, Options, Timeouts, Tls, Update};
use proto::{Acl, Entry, Location, MailboxName};
use transport::Secret;
use transport::tls::{AuthorityFiles, ServerVerification, TlsClient, TlsClientConfig};

use super::passwd::read_password;

/// Where to connect, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// The MUPDATE server.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:3905",
        global = true
    )]
    server: String,
    /// Who logs in.
    #[arg(long, value_name = "USER", global = true)]
    user: Option<String>,
    /// File with the password ('-': standard input). Without it, the password is asked for.
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// Whether to use STARTTLS.
    #[arg(long, value_enum, default_value_t = TlsUse::IfOffered, global = true)]
    tls: TlsUse,
    /// CA that the server's certificate must come from, for its host name. Without it the
    /// certificate is not verified, as with Cyrus's clients.
    #[arg(long, value_name = "FILE", global = true)]
    tls_ca: Option<PathBuf>,
    /// Seconds to wait for the server.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, global = true)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TlsUse {
    /// In clear.
    Never,
    /// If the server offers it.
    IfOffered,
    /// Always.
    Required,
}

#[derive(Debug, Subcommand)]
pub(super) enum Query {
    /// Show one mailbox's entry; exit status 1 if there is none.
    Find {
        /// The mailbox in Cyrus's internal form, such as user.amy.Sent.
        name: OsString,
    },
    /// Show all entries, or those whose location begins with a prefix.
    List {
        /// Such as 'backend1!'.
        prefix: Option<OsString>,
    },
    /// Show the list, then every change as it is committed.
    Watch {
        /// Only mailboxes of these servers.
        hosts: Vec<OsString>,
    },
    /// Say that a mailbox exists.
    Activate {
        /// The mailbox.
        name: OsString,
        /// Where it is: server!partition.
        location: OsString,
        /// Its ACL: IDENTIFIER=RIGHTS each, or one argument in Cyrus's form with TABs.
        acl: Vec<OsString>,
    },
    /// Reserve a name.
    Reserve {
        /// The mailbox.
        name: OsString,
        /// For whom: server!partition.
        location: OsString,
    },
    /// Make an active mailbox a reservation.
    Deactivate {
        /// The mailbox.
        name: OsString,
        /// For whom: server!partition.
        location: OsString,
    },
    /// Forget a mailbox.
    Delete {
        /// The mailbox.
        name: OsString,
    },
}

pub(super) async fn run(connection: &Connection, query: Query) -> anyhow::Result<()> {
    let mut client = connection.open().await?;
    match query {
        Query::Find { name } => {
            let name = mailbox(&name)?;
            let entry = client
                .find(&name)
                .await?
                .ok_or_else(|| anyhow!("no entry for {name}"))?;
            print(&line(&name, &entry))?;
        }
        Query::List { prefix } => {
            list(&mut client, prefix.as_deref().map(OsStrExt::as_bytes)).await?;
        }
        Query::Watch { hosts } => return watch(client, &hosts).await,
        Query::Activate {
            name,
            location: at,
            acl: pairs,
        } => {
            client
                .activate(&mailbox(&name)?, &location(&at)?, &acl(&pairs)?)
                .await?;
        }
        Query::Reserve { name, location: at } => {
            client.reserve(&mailbox(&name)?, &location(&at)?).await?;
        }
        Query::Deactivate { name, location: at } => {
            client.deactivate(&mailbox(&name)?, &location(&at)?).await?;
        }
        Query::Delete { name } => client.delete(&mailbox(&name)?).await?,
    }
    client.logout().await?;
    Ok(())
}

impl Connection {
    async fn open(&self) -> anyhow::Result<Client> {
        connect(&self.server, &self.options()?).await
    }

    /// How to log in, wherever. Reads the password.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        let user = self.user.clone().context("who logs in? give --user")?;
        let password = self.password(&user)?;
        let timeouts = Timeouts::each(Duration::from_secs(self.timeout));
        let mut options = Options::new(Login::password(user, password), timeouts);
        options.tls = self.tls()?;
        Ok(options)
    }

    fn password(&self, user: &str) -> anyhow::Result<Secret> {
        let octets = match &self.password_file {
            Some(path) if path.as_os_str() == "-" => read_password(io::stdin())?,
            Some(path) => {
                let file = File::open(path)
                    .with_context(|| format!("password file {}", path.display()))?;
                read_password(file)?
            }
            None if io::stdin().is_terminal() => {
                rpassword::prompt_password(format!("Password for {user}: "))
                    .context("read the password")?
                    .into_bytes()
            }
            None => bail!("no terminal to ask for the password: give --password-file"),
        };
        Ok(Secret::new(octets))
    }

    fn tls(&self) -> anyhow::Result<Tls> {
        let verification = if self.tls_ca.is_some() {
            ServerVerification::Full
        } else {
            ServerVerification::No
        };
        let authorities = AuthorityFiles {
            file: self.tls_ca.clone(),
            directory: None,
        };
        let config = TlsClientConfig {
            verification,
            authorities,
            ..TlsClientConfig::default()
        };
        Ok(match self.tls {
            TlsUse::Never => Tls::Never,
            TlsUse::IfOffered => Tls::IfOffered(TlsClient::load(&config)?),
            TlsUse::Required => Tls::Required(TlsClient::load(&config)?),
        })
    }
}

/// Connects to HOST:PORT and logs in.
pub(super) async fn connect(server: &str, options: &Options) -> anyhow::Result<Client> {
    let (host, port) = server
        .rsplit_once(':')
        .with_context(|| format!("'{server}' is not HOST:PORT"))?;
    let port = port
        .parse()
        .with_context(|| format!("'{server}' has no valid port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let client = Client::connect(host, port, options).await;
    client.with_context(|| server.to_owned())
}

async fn list(client: &mut Client, prefix: Option<&[u8]>) -> anyhow::Result<()> {
    let mut listing = client.list(prefix);
    let mut out = io::BufWriter::new(io::stdout());
    while let Some(listed) = listing.next().await? {
        match listed {
            Listed::Mailbox { name, entry } => writeln!(out, "{}", line(&name, &entry))?,
            Listed::Unusable(unusable) => complain(&unusable)?,
        }
    }
    Ok(out.flush()?)
}

async fn watch(client: Client, hosts: &[OsString]) -> anyhow::Result<()> {
    let hosts: Vec<&[u8]> = hosts.iter().map(|host| host.as_bytes()).collect();
    let mut updates = client.update(&hosts);
    let mut entries: u64 = 0;
    loop {
        let update = tokio::select! {
            update = updates.next() => update,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        match update {
            Ok(Update::DumpComplete) => {
                complain(&format!("{entries} entries; changes follow (end with ^C)"))?;
            }
            Ok(Update::Unusable(unusable)) => complain(&unusable)?,
            Ok(update) => {
                entries += 1;
                show(&update)?;
            }
            Err(Error::Closed) => bail!("the server closed the stream"),
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Prints an update as a line of a listing.
pub(super) fn show(update: &Update) -> io::Result<()> {
    match update {
        Update::Mailbox { name, entry } => print(&line(name, entry)),
        Update::Delete { name } => print(&format!("{name}\tdeleted")),
        _ => Ok(()),
    }
}

/// `name TAB state TAB location TAB id=rights …`; octets outside printable ASCII are escaped.
pub(super) fn line(name: &MailboxName, entry: &Entry) -> String {
    let location = entry.location();
    match entry {
        Entry::Reserved { .. } => format!("{name}\treserved\t{location}"),
        Entry::Active { acl, .. } => {
            let pair = |(id, rights): (&[u8], &[u8])| {
                format!("{}={}", id.escape_ascii(), rights.escape_ascii())
            };
            let pairs: Vec<String> = acl.entries().map(pair).collect();
            format!("{name}\tactive\t{location}\t{}", pairs.join(" "))
        }
    }
}

pub(super) fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

pub(super) fn complain(what: &impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stderr(), "{what}")
}

fn mailbox(name: &OsString) -> anyhow::Result<MailboxName> {
    MailboxName::try_from(name.as_bytes()).with_context(|| format!("{}", name.display()))
}

fn location(text: &OsString) -> anyhow::Result<Location> {
    Location::try_from(text.as_bytes()).with_context(|| format!("{}", text.display()))
}

fn acl(pairs: &[OsString]) -> anyhow::Result<Acl> {
    if let [one] = pairs
        && one.as_bytes().contains(&b'\t')
    {
        return Ok(Acl::try_from(one.as_bytes())?);
    }
    let mut text = Vec::new();
    for pair in pairs {
        let at = pair.as_bytes().iter().rposition(|&octet| octet == b'=');
        let (id, rights) = at
            .and_then(|at| Some((pair.as_bytes().get(..at)?, pair.as_bytes().get(at + 1..)?)))
            .with_context(|| format!("{} is not IDENTIFIER=RIGHTS", pair.display()))?;
        text.extend_from_slice(&[id, b"\t", rights, b"\t"].concat());
    }
    Ok(Acl::try_from(text.as_slice())?)
}
