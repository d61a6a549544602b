//! Which servers, as the command line names them.

use std::str::FromStr;

use thiserror::Error;

/// A server: `[NAME=]HOST:PORT[:PID]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What its column is called.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its process, where that is on this host: memory and processor time are read from `/proc`.
    pub pid: Option<u32>,
}

/// Not `[NAME=]HOST:PORT[:PID]`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not NAME=HOST:PORT or NAME=HOST:PORT:PID")]
pub struct NoServer {
    /// What was given.
    pub text: String,
}

impl FromStr for Server {
    type Err = NoServer;

    fn from_str(text: &str) -> Result<Self, NoServer> {
        parse(text).ok_or_else(|| NoServer {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Server> {
    let (name, place) = match text.split_once('=') {
        Some((name, place)) => (Some(name), place),
        None => (None, text),
    };
    let (host, numbers) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => place.split_once(':')?,
    };
    let (port, pid) = match numbers.split_once(':') {
        Some((port, pid)) => (port, Some(pid.parse().ok().filter(|pid| *pid > 0)?)),
        None => (numbers, None),
    };
    let name = name.unwrap_or(host).to_owned();
    (!host.is_empty() && !name.is_empty()).then_some(Server {
        name,
        host: host.to_owned(),
        port: port.parse().ok()?,
        pid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_in_words() {
        let server = |name: &str, host: &str, port, pid| {
            Ok(Server {
                name: name.into(),
                host: host.into(),
                port,
                pid,
            })
        };
        for (text, expected) in [
            (
                "127.0.0.1:3905",
                server("127.0.0.1", "127.0.0.1", 3905, None),
            ),
            (
                "ours=localhost:3905:17",
                server("ours", "localhost", 3905, Some(17)),
            ),
            ("v6=[::1]:3905", server("v6", "::1", 3905, None)),
            ("v6=[::1]:3905:5", server("v6", "::1", 3905, Some(5))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in [
            "", "a", "a=b", "a=b:c", "=b:1", "a=:1", "b:1:x", "b:1:0", "b:70000",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
