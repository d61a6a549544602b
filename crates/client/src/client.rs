//! One connection that has logged in.

use std::fmt;

use bytes::BytesMut;
use proto::codec::{
    Command, Response, Status, decode_base64, encode_base64, encode_sasl_line, parse_response,
};
use proto::resync::ResyncFrom;
use proto::{Acl, Entry, Location, MailboxName};
use tokio::net::TcpStream;
use transport::Stream;
use transport::sasl::{ClientBackendExchange, ClientExchange, ClientPolicy, Security};
use transport::tls::TlsClient;

use crate::banner::Banner;
use crate::error::Error;
use crate::listing::Listing;
use crate::options::{Login, Options, Timeouts, Tls};
use crate::record::{Listed, Records};
use crate::resync::Resync;
use crate::updates::Updates;
use crate::wire::{Octets, Wire, lossy, within};

/// One connection that has logged in and runs one command at a time.
///
/// A method whose future is dropped before its end may or may not have had its effect; the
/// connection stays usable, since late answers are known by their tags.
pub struct Client {
    wire: Wire,
    banner: Banner,
    timeouts: Timeouts,
}

impl Client {
    /// Connects over TCP, reads the banner, starts TLS if asked, and logs in.
    pub async fn connect(host: &str, port: u16, options: &Options) -> Result<Self, Error> {
        let connecting = async {
            TcpStream::connect((host, port))
                .await
                .map_err(|source| Error::Connect {
                    server: format!("{host}:{port}"),
                    source,
                })
        };
        let tcp = within(options.timeouts.connect, "a connection", connecting).await?;
        Self::start(Stream::from_tcp(tcp), host, options).await
    }

    /// [`connect`](Self::connect) over a connection that exists; `host` is the name that TLS
    /// verifies.
    pub async fn start(stream: Stream, host: &str, options: &Options) -> Result<Self, Error> {
        let timeouts = options.timeouts;
        let mut wire = Wire::new(stream, options.limits);
        let mut banner = within(timeouts.login, "the banner", Banner::read(&mut wire)).await?;
        let offered = banner.offers("STARTTLS");
        match &options.tls {
            Tls::Required(_) if !offered => return Err(Error::NoStartTls),
            Tls::Required(tls) | Tls::IfOffered(tls) if offered => {
                let starting = start_tls(wire, tls, host, timeouts);
                wire = within(timeouts.login, "TLS", starting).await?;
                banner = within(timeouts.login, "the banner", Banner::read(&mut wire)).await?;
            }
            Tls::Never | Tls::IfOffered(_) | Tls::Required(_) => {}
        }
        let logging_in = log_in(wire, &banner, host, &options.login);
        let wire = within(timeouts.login, "log-in", logging_in).await?;
        Ok(Self {
            wire,
            banner,
            timeouts,
        })
    }

    /// What the server said of itself, under TLS if that is on.
    pub fn banner(&self) -> &Banner {
        &self.banner
    }

    /// The connection's layers and addresses.
    pub fn stream(&self) -> &Stream {
        self.wire.stream()
    }

    /// COMPRESS: DEFLATE both ways from here.
    pub async fn compress(mut self) -> Result<Self, Error> {
        let algorithm = b"DEFLATE".into();
        self.run("COMPRESS", &Command::Compress { algorithm })
            .await?;
        let compress = async |stream: Stream| Ok::<_, Error>(stream.compress());
        self.wire = self.wire.change_layer(compress).await?;
        Ok(self)
    }

    /// FIND: what the server knows of a mailbox.
    pub async fn find(&mut self, name: &MailboxName) -> Result<Option<Entry>, Error> {
        let name = name.to_vec().into();
        let tag = self.wire.queue(&Command::Find { name });
        let mut found = None;
        loop {
            let line = self.receive("FIND").await?;
            let response = parse_response(&line)?;
            if response_tag(&response) == Some(tag.as_bytes())
                && let Some(listed) = Records::default().listed(&response)
            {
                found = Some(listed);
            } else if end_of_command("FIND", &tag, &response)? {
                break;
            }
        }
        match found {
            None => Ok(None),
            Some(Listed::Mailbox { entry, .. }) => Ok(Some(entry)),
            Some(Listed::Unusable(unusable)) => Err(unusable.into()),
        }
    }

    /// LIST: mailboxes whose location begins with `prefix`, or all. The command goes out with the
    /// first [`Listing::next`].
    pub fn list(&mut self, prefix: Option<&[u8]>) -> Listing<'_> {
        let prefix = prefix.map(Into::into);
        let tag = self.wire.queue(&Command::List { prefix });
        Listing::new(self, tag)
    }

    /// ACTIVATE.
    pub async fn activate(
        &mut self,
        name: &MailboxName,
        location: &Location,
        acl: &Acl,
    ) -> Result<(), Error> {
        let command = Command::Activate {
            name: name.to_vec().into(),
            location: location.as_bytes().into(),
            acl: acl.as_bytes().into(),
        };
        self.run("ACTIVATE", &command).await
    }

    /// RESERVE.
    pub async fn reserve(&mut self, name: &MailboxName, location: &Location) -> Result<(), Error> {
        let command = Command::Reserve {
            name: name.to_vec().into(),
            location: location.as_bytes().into(),
        };
        self.run("RESERVE", &command).await
    }

    /// DEACTIVATE.
    pub async fn deactivate(
        &mut self,
        name: &MailboxName,
        location: &Location,
    ) -> Result<(), Error> {
        let command = Command::Deactivate {
            name: name.to_vec().into(),
            location: location.as_bytes().into(),
        };
        self.run("DEACTIVATE", &command).await
    }

    /// DELETE.
    pub async fn delete(&mut self, name: &MailboxName) -> Result<(), Error> {
        let name = name.to_vec().into();
        self.run("DELETE", &Command::Delete { name }).await
    }

    /// NOOP.
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.run("NOOP", &Command::Noop).await
    }

    /// LOGOUT. A server that just closes, or says BYE as RFC 3656 wants it, has understood too.
    pub async fn logout(mut self) -> Result<(), Error> {
        match self.run("LOGOUT", &Command::Logout).await {
            Err(Error::Closed | Error::Bye { .. }) => Ok(()),
            other => other,
        }
    }

    /// UPDATE: the list of all mailboxes, or of those on `hosts` (PARTIAL-UPDATE), and then every
    /// change. The command goes out with the first [`Updates::next`].
    pub fn update(mut self, hosts: &[&[u8]]) -> Updates {
        let hosts = hosts.iter().map(|&host| host.into()).collect();
        let tag = self.wire.queue(&Command::Update { hosts });
        Updates::new(self.wire, tag)
    }

    /// RESYNC (`docs/resync.md`): what a list at this place lacks, or a compare, and then every change,
    /// of all mailboxes or of those on `hosts`. Only with a server whose banner
    /// [offers](Banner::offers_resync) it. The command goes out with the first [`Resync::next`].
    pub fn resync(self, from: ResyncFrom, hosts: &[&[u8]]) -> Resync {
        Resync::begin(self.wire, from, hosts)
    }

    /// Octets of the protocol read and written so far.
    pub fn octets(&self) -> Octets {
        self.wire.octets()
    }

    /// The connection itself, for whoever goes on in octets of its own, with what has been read of it
    /// and belongs to no answer yet.
    pub fn into_stream(self) -> (Stream, BytesMut) {
        self.wire.into_stream()
    }

    async fn run(&mut self, name: &'static str, command: &Command<'_>) -> Result<(), Error> {
        let tag = self.wire.queue(command);
        loop {
            let line = self.receive(name).await?;
            if end_of_command(name, &tag, &parse_response(&line)?)? {
                return Ok(());
            }
        }
    }

    pub(crate) async fn receive(&mut self, name: &'static str) -> Result<BytesMut, Error> {
        self.wire.receive_within(self.timeouts.answer, name).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("banner", &self.banner)
            .finish_non_exhaustive()
    }
}

/// Whether a response is the OK of the command. Responses to earlier commands, whose callers did
/// not wait for them, are ignored.
pub(crate) fn end_of_command(
    command: &'static str,
    tag: &str,
    response: &Response<'_>,
) -> Result<bool, Error> {
    match response {
        Response::Status {
            status: Status::Bye,
            text,
            ..
        } => Err(Error::Bye { text: lossy(text) }),
        Response::Status {
            tag: of,
            status,
            text,
        } if *of == tag.as_bytes() => match status {
            Status::Ok => Ok(true),
            status => Err(Error::Refused {
                command,
                status: *status,
                text: lossy(text),
            }),
        },
        // Cyrus answers what it can't even read without a tag.
        Response::Status {
            tag: b"*",
            status: Status::Bad,
            text,
        } => Err(Error::Refused {
            command,
            status: Status::Bad,
            text: lossy(text),
        }),
        other if response_tag(other) == Some(tag.as_bytes()) => Err(Error::Unexpected { command }),
        _ => Ok(false),
    }
}

pub(crate) fn response_tag<'a>(response: &'a Response<'_>) -> Option<&'a [u8]> {
    match response {
        Response::Status { tag, .. }
        | Response::Mailbox { tag, .. }
        | Response::Reserve { tag, .. }
        | Response::Delete { tag, .. }
        | Response::Resync { tag, .. } => Some(tag),
        Response::Greeting { .. } | Response::Capability { .. } | Response::GoAhead => None,
    }
}

async fn start_tls(
    mut wire: Wire,
    tls: &TlsClient,
    host: &str,
    timeouts: Timeouts,
) -> Result<Wire, Error> {
    let tag = wire.queue(&Command::StartTls);
    loop {
        let line = wire.receive_within(timeouts.login, "STARTTLS").await?;
        if end_of_command("STARTTLS", &tag, &parse_response(&line)?)? {
            break;
        }
    }
    Ok(wire
        .change_layer(|stream| stream.connect_tls(tls, host))
        .await?)
}

/// AUTHENTICATE with the best mechanism of the banner. Challenges are lines of bare base64.
async fn log_in(mut wire: Wire, banner: &Banner, host: &str, login: &Login) -> Result<Wire, Error> {
    let mut exchange = begin(&wire, banner, host, login).await?;
    let initial = exchange.initial_response()?.map(|message| {
        if message.is_empty() {
            "=".to_owned()
        } else {
            encode_base64(&message)
        }
    });
    let tag = wire.queue(&Command::Authenticate {
        mechanism: exchange.mechanism().as_bytes().into(),
        initial: initial.as_ref().map(|text| text.as_bytes().into()),
    });
    loop {
        let line = wire.receive().await?;
        if line.contains(&b' ') {
            if end_of_command("AUTHENTICATE", &tag, &parse_response(&line)?)? {
                return match exchange.finish()? {
                    Some(layer) => Ok(wire.secure(layer)?),
                    None => Ok(wire),
                };
            }
        } else {
            let challenge =
                decode_base64(line.trim_ascii_end()).map_err(|_| Error::Unexpected {
                    command: "AUTHENTICATE",
                })?;
            let mut answer = Vec::new();
            encode_sasl_line(&mut answer, &exchange.answer(&challenge).await?);
            wire.queue_octets(&answer);
        }
    }
}

async fn begin(
    wire: &Wire,
    banner: &Banner,
    host: &str,
    login: &Login,
) -> Result<Box<dyn ClientBackendExchange>, Error> {
    if let Some(backend) = &login.backend {
        let security = Security::of(wire.stream());
        return Ok(backend.begin(&banner.mechanisms, host, security).await?);
    }
    let policy = ClientPolicy {
        external: login.policy.external && wire.stream().is_tls(),
        ..login.policy.clone()
    };
    let offered = banner.mechanisms.iter().map(String::as_str);
    let exchange = ClientExchange::choose(offered, &login.credentials, &policy)?;
    Ok(Box::new(exchange))
}
