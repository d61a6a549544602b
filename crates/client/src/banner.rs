//! What a server says of itself.

use proto::codec::{Response, Status, parse_response};
use proto::resync::RESYNC_VERSION;

use crate::error::Error;
use crate::wire::{Wire, lossy};

/// A server's greeting (RFC 3656 section 3.1). Texts that are not UTF-8 are mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Banner {
    /// SASL mechanisms, in the server's order.
    pub mechanisms: Vec<String>,
    /// The other capability lines, each a name (in upper case) and its arguments: `STARTTLS`,
    /// `COMPRESS DEFLATE`, `PARTIAL-UPDATE`.
    pub capabilities: Vec<(String, Vec<String>)>,
    /// Name of the host.
    pub servername: String,
    /// Name of the software.
    pub implementation: String,
    /// Its version.
    pub version: String,
    /// `(master)`, or the URL of a slave's master.
    pub role: String,
}

impl Banner {
    /// Whether there is a capability line of this name.
    pub fn offers(&self, name: &str) -> bool {
        self.capabilities
            .iter()
            .any(|(offered, _)| offered.eq_ignore_ascii_case(name))
    }

    /// Whether the server knows our version of RESYNC (`docs/resync.md`).
    pub fn offers_resync(&self) -> bool {
        self.capabilities.iter().any(|(name, arguments)| {
            name == "RESYNC" && arguments.iter().any(|version| version == RESYNC_VERSION)
        })
    }

    /// Whether the server says that it takes changes itself.
    pub fn is_master(&self) -> bool {
        self.role.eq_ignore_ascii_case("(master)")
    }

    /// Reads to the first `* OK`, as Cyrus clients do; lines that make no sense are ignored.
    pub(crate) async fn read(wire: &mut Wire) -> Result<Self, Error> {
        let mut banner = Self::default();
        for _ in 0..BANNER_LINES_MAX {
            let line = wire.receive().await?;
            match parse_response(&line) {
                Ok(Response::Capability { name, arguments }) => {
                    banner.add(
                        &lossy(name),
                        arguments.iter().map(|word| lossy(word)).collect(),
                    );
                }
                Ok(Response::Greeting { words }) => {
                    let mut words = words.iter().map(|word| lossy(word));
                    banner.servername = words.next().unwrap_or_default();
                    banner.implementation = words.next().unwrap_or_default();
                    banner.version = words.next().unwrap_or_default();
                    banner.role = words.next().unwrap_or_default();
                    return Ok(banner);
                }
                Ok(Response::Status { status, text, .. }) => match status {
                    Status::Ok => return Ok(banner),
                    Status::Bye => {
                        return Err(Error::Bye { text: lossy(&text) });
                    }
                    Status::No | Status::Bad => {}
                },
                Ok(_) | Err(_) => {}
            }
        }
        Err(Error::Unexpected { command: "connect" })
    }

    fn add(&mut self, name: &str, arguments: Vec<String>) {
        let name = name.to_ascii_uppercase();
        if name == "AUTH" {
            self.mechanisms = arguments;
        } else {
            self.capabilities.push((name, arguments));
        }
    }
}

/// Most lines before the greeting; Cyrus sends five.
const BANNER_LINES_MAX: usize = 100;
