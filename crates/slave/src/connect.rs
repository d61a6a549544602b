//! From the master's name to a connection that has logged in.

use std::io;
use std::net::SocketAddr;

use client::{Client, Error, Options, Timeouts, Tls};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tracing::debug;
use transport::Stream;

use crate::SlaveConfig;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Connects to the first address that serves, and logs in; to the one to `avoid` only if no other
/// does. Returns the address, too.
pub(crate) async fn connect(
    config: &SlaveConfig,
    avoid: Option<SocketAddr>,
) -> Result<(Client, SocketAddr), Error> {
    let upstream = &config.upstream;
    let wait = config.connect_timeout;
    let failed = |source| Error::Connect {
        server: upstream.to_string(),
        source,
    };
    let looking_up = timeout(wait, lookup_host((upstream.host.as_str(), upstream.port)));
    let addresses = looking_up.await.map_err(|_| Error::TimedOut {
        waiting_for: "the master's addresses",
    })?;
    let mut last = failed(io::ErrorKind::AddrNotAvailable.into());
    let mut addresses: Vec<_> = addresses.map_err(failed)?.take(ADDRESSES_MAX).collect();
    addresses.sort_by_key(|&address| Some(address) == avoid);
    for address in addresses {
        let connected = match timeout(wait, TcpStream::connect(address)).await {
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
            Ok(Err(source)) => Err(failed(source)),
            Ok(Ok(tcp)) => {
                Client::start(Stream::from_tcp(tcp), &upstream.host, &options(config)).await
            }
        };
        match connected {
            Ok(client) => return Ok((client, address)),
            Err(cause) => {
                debug!(%address, ?cause, "no link by this address");
                last = cause;
            }
        }
    }
    Err(last)
}

fn options(config: &SlaveConfig) -> Options {
    let tls = match &config.tls {
        None => Tls::Never,
        Some(tls) if config.upstream.tls => Tls::Required(tls.clone()),
        Some(tls) => Tls::IfOffered(tls.clone()),
    };
    Options {
        tls,
        ..Options::new(config.login.clone(), Timeouts::each(config.connect_timeout))
    }
}
