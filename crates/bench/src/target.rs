//! A server under measurement, and how to log in to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Banner, Client, Login, Options, Timeouts, Tls};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use transport::sasl::{ClientPolicy, Credentials};
use transport::tls::{TlsClient, TlsClientConfig};
use transport::{Secret, Stream};

use crate::error::Error;
use crate::raw::Raw;
use crate::scram::CachedScram;
use crate::server::Server;

/// Who logs in, and how where a row has no reason for another way.
#[derive(Debug, Clone)]
pub struct Account {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// The mechanism; without one the best that both know.
    pub mechanism: Option<String>,
    /// STARTTLS first. The server's certificate is not verified: what is measured is its speed.
    pub starttls: bool,
}

/// One way to log in.
#[derive(Clone)]
pub struct Way {
    options: Arc<Options>,
}

impl Way {
    /// By an account.
    pub fn of(account: &Account) -> Result<Self, client::Error> {
        let tls = if account.starttls {
            let tls = TlsClient::load(&TlsClientConfig::default());
            // Without files there is nothing that could fail to load.
            Tls::Required(tls.map_err(|_| client::Error::NoStartTls)?)
        } else {
            Tls::Never
        };
        let credentials = Credentials::new(account.user.clone(), account.password.clone());
        let policy = ClientPolicy {
            only: account.mechanism.clone().map(|mechanism| vec![mechanism]),
            ..ClientPolicy::password()
        };
        let backend = match account.mechanism.as_deref() {
            Some(mechanism) => CachedScram::of(mechanism, &account.user, &account.password),
            None => None,
        };
        let login = Login {
            credentials,
            policy,
            backend,
        };
        let options = Options {
            tls,
            ..Options::new(login, TIMEOUTS)
        };
        Ok(Self {
            options: Arc::new(options),
        })
    }
}

/// A server under measurement.
pub struct Target {
    /// As it was named.
    pub server: Server,
    /// Its column.
    pub name: Arc<str>,
    /// Who logs in.
    pub account: Account,
    address: SocketAddr,
    way: Way,
}

impl Target {
    /// Looks the server up and the account over; connects to nothing.
    pub async fn new(server: Server, account: Account) -> Result<Self, Error> {
        let name: Arc<str> = Arc::from(server.name.as_str());
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        let address = found
            .map_err(Error::system("look up a server"))?
            .next()
            .ok_or(Error::Impossible {
                why: "the server has no address",
            })?;
        let way = Way::of(&account).map_err(|cause| log_in_failed(&name, cause))?;
        Ok(Self {
            server,
            name,
            account,
            address,
            way,
        })
    }

    /// A connection that has logged in.
    pub async fn connect(&self) -> Result<Raw, Error> {
        self.connect_by(&self.way).await
    }

    /// A connection that has logged in in a certain way.
    pub async fn connect_by(&self, way: &Way) -> Result<Raw, Error> {
        let (client, quick) = self.start(way, None).await?;
        let (stream, input) = client.into_stream();
        Ok(Raw::new(stream, &input, self.name.clone(), quick))
    }

    /// A connection that has logged in, into whose socket the system takes few octets ahead of their reader.
    pub async fn connect_narrow(&self, receive_bytes: u32) -> Result<Raw, Error> {
        let (client, _) = self.start(&self.way, Some(receive_bytes)).await?;
        let (stream, input) = client.into_stream();
        Ok(Raw::new(stream, &input, self.name.clone(), None))
    }

    /// A connection with one descriptor only, for rows with thousands of them.
    pub async fn connect_lean(&self) -> Result<Raw, Error> {
        let (client, _) = self.start(&self.way, None).await?;
        let (stream, input) = client.into_stream();
        Ok(Raw::new(stream, &input, self.name.clone(), None))
    }

    /// A client that knows the commands and parses the answers.
    pub async fn client(&self) -> Result<Client, Error> {
        Ok(self.start(&self.way, None).await?.0)
    }

    /// What the server says of itself.
    pub async fn banner(&self) -> Result<Banner, Error> {
        let (client, _) = self.start(&self.way, None).await?;
        Ok(client.banner().clone())
    }

    async fn start(
        &self,
        way: &Way,
        receive_bytes: Option<u32>,
    ) -> Result<(Client, Option<socket2::Socket>), Error> {
        let failed = |cause| log_in_failed(&self.name, cause);
        let tcp = timeout(CONNECT_TIME, self.tcp(receive_bytes))
            .await
            .map_err(|_| {
                failed(client::Error::TimedOut {
                    waiting_for: "a connection",
                })
            })?
            .map_err(|source| {
                let server = format!("{}:{}", self.server.host, self.server.port);
                failed(client::Error::Connect { server, source })
            })?;
        let quick = SockRef::from(&tcp).try_clone().ok();
        let started = Client::start(Stream::from_tcp(tcp), &self.server.host, &way.options);
        Ok((started.await.map_err(failed)?, quick))
    }

    async fn tcp(&self, receive_bytes: Option<u32>) -> std::io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        if let Some(octets) = receive_bytes {
            socket.set_recv_buffer_size(octets)?;
        }
        socket.connect(self.address).await
    }
}

fn log_in_failed(server: &Arc<str>, cause: client::Error) -> Error {
    Error::LogIn {
        server: server.clone(),
        cause: Box::new(cause),
    }
}

const CONNECT_TIME: Duration = Duration::from_secs(30);
const TIMEOUTS: Timeouts = Timeouts {
    connect: CONNECT_TIME,
    login: Duration::from_mins(1),
    answer: Duration::from_mins(5),
};
