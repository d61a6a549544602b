//! Where the master is: the value of `mupdate_server`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Port of MUPDATE, as registered.
const PORT_DEFAULT: u16 = 3905;

/// A master's address: `host[:port][/opt…]`, as Cyrus's clients read it. An IPv6 literal may stand in
/// brackets, and must if a port follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Name or address of the host, without brackets.
    pub host: String,
    /// 3905 where none is given.
    pub port: u16,
    /// `/tls`: a server that does not offer STARTTLS is none.
    pub tls: bool,
    /// Options that mean nothing here.
    pub ignored: Vec<String>,
}

/// Why a value does not name a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidUpstream {
    /// No host.
    #[error("has no host")]
    NoHost,
    /// A path; MUPDATE over a local socket is not supported.
    #[error("is a path, not a host")]
    Path,
    /// `[` without `]`, or something else than `:` behind it.
    #[error("has misplaced brackets")]
    Brackets,
    /// Not a number from 1 to 65535.
    #[error("has an impossible port")]
    Port,
}

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        if text.starts_with('/') {
            return Err(InvalidUpstream::Path);
        }
        let mut parts = text.split('/');
        let (host, port) = split_port(parts.next().unwrap_or_default())?;
        if host.is_empty() {
            return Err(InvalidUpstream::NoHost);
        }
        let (tls, others): (Vec<&str>, Vec<&str>) = parts
            .filter(|option| !option.is_empty())
            .partition(|option| *option == "tls");
        Ok(Self {
            host: host.to_owned(),
            port: port.map_or(Ok(PORT_DEFAULT), parse_port)?,
            tls: !tls.is_empty(),
            ignored: others.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Host, and port where there is one. More than one `:` outside brackets is an IPv6 literal.
fn split_port(text: &str) -> Result<(&str, Option<&str>), InvalidUpstream> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(InvalidUpstream::Brackets)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(InvalidUpstream::Brackets),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(port))),
        Some(_) | None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidUpstream> {
    match text {
        "mupdate" => Ok(PORT_DEFAULT),
        _ => text
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(InvalidUpstream::Port),
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cyrus_reads() {
        for (text, shown, tls) in [
            ("m.test", "m.test:3905", false),
            ("m.test:3906", "m.test:3906", false),
            ("m.test:mupdate/tls", "m.test:3905", true),
            ("m.test:3906/noauth/tls", "m.test:3906", true),
            ("192.0.2.1:1", "192.0.2.1:1", false),
            ("2001:db8::1", "[2001:db8::1]:3905", false),
            ("[2001:db8::1]", "[2001:db8::1]:3905", false),
            ("[::1]:3906/tls", "[::1]:3906", true),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!((upstream.to_string().as_str(), upstream.tls), (shown, tls));
        }
        let upstream: Upstream = "m:1/noauth".parse().unwrap();
        assert_eq!(upstream.ignored, ["noauth"]);
    }

    #[test]
    fn refuses_what_names_no_master() {
        use InvalidUpstream as I;
        for (text, reason) in [
            ("", I::NoHost),
            (":3905", I::NoHost),
            ("/var/run/mupdate", I::Path),
            ("m:0", I::Port),
            ("m:65536", I::Port),
            ("m:", I::Port),
            ("[::1", I::Brackets),
            ("[::1]3905", I::Brackets),
        ] {
            assert_eq!(text.parse::<Upstream>().unwrap_err(), reason, "{text}");
        }
    }
}
