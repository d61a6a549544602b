//! Where a mailbox lives: `server!partition`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

/// Longest location, in octets.
pub const LOCATION_BYTES_MAX: usize = 1024;

/// Between server and partition.
const SEPARATOR: u8 = b'!';

/// `server!partition`, `server!` (what a Cyrus 3.6 backend sends after a RENAME) or `server`; in a
/// replicated murder a bare partition. Octets, not UTF-8; clones share one allocation.
#[derive(Clone)]
pub struct Location(Arc<Parts>);

struct Parts {
    text: Box<[u8]>,
    server_len: usize,
}

/// Why some octets are not a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidLocation {
    /// Nothing before the `!`, or nothing at all.
    #[error("location has no server")]
    NoServer,
    /// More than [`LOCATION_BYTES_MAX`] octets.
    #[error("location is longer than {LOCATION_BYTES_MAX} octets")]
    TooLong,
    /// More than one `!`, which Cyrus clients refuse to send.
    #[error("location has more than one '!'")]
    TwoSeparators,
    /// An octet below 0x20, or 0x7F.
    #[error("location has a control octet at {at}")]
    Control {
        /// Offset of the octet, from 0.
        at: usize,
    },
}

impl Location {
    /// The location as it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.text
    }

    /// The server: everything before the `!`, or everything.
    pub fn server(&self) -> &[u8] {
        self.0.text.get(..self.0.server_len).unwrap_or_default()
    }

    /// What follows the `!`: `None` without one, empty for `server!`.
    pub fn partition(&self) -> Option<&[u8]> {
        self.0.text.get(self.0.server_len + 1..)
    }

    /// Whether both handles share one allocation.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether there are other handles to this allocation.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl TryFrom<&[u8]> for Location {
    type Error = InvalidLocation;

    fn try_from(text: &[u8]) -> Result<Self, Self::Error> {
        if text.len() > LOCATION_BYTES_MAX {
            return Err(InvalidLocation::TooLong);
        }
        if let Some(at) = text.iter().position(u8::is_ascii_control) {
            return Err(InvalidLocation::Control { at });
        }
        let mut pieces = text.splitn(3, |&octet| octet == SEPARATOR);
        let server_len = pieces.next().map_or(0, <[u8]>::len);
        if pieces.nth(1).is_some() {
            return Err(InvalidLocation::TwoSeparators);
        }
        if server_len == 0 {
            return Err(InvalidLocation::NoServer);
        }
        Ok(Self(Arc::new(Parts {
            text: text.into(),
            server_len,
        })))
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Location {}

impl Hash for Location {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Result<Location, InvalidLocation> {
        Location::try_from(text.as_bytes())
    }

    #[test]
    fn splits_at_the_separator() {
        let full = location("be1.test!default").unwrap();
        assert_eq!(full.server(), b"be1.test");
        assert_eq!(full.partition(), Some(b"default".as_slice()));
        assert_eq!(location("be1!").unwrap().partition(), Some(b"".as_slice()));
        let bare = location("be1").unwrap();
        assert_eq!((bare.server(), bare.partition()), (b"be1".as_slice(), None));
    }

    #[test]
    fn refuses_what_no_client_sends() {
        assert_eq!(location("").unwrap_err(), InvalidLocation::NoServer);
        assert_eq!(location("!p").unwrap_err(), InvalidLocation::NoServer);
        assert_eq!(
            location("h!p!q").unwrap_err(),
            InvalidLocation::TwoSeparators
        );
        assert_eq!(
            location("h!\r").unwrap_err(),
            InvalidLocation::Control { at: 2 }
        );
        assert_eq!(
            location(&"h".repeat(1025)).unwrap_err(),
            InvalidLocation::TooLong
        );
    }
}
