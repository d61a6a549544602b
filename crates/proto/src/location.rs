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
pub struct Location(Arc<[u8]>);

/// A location whose octets lie in memory that is somebody else's, as that of a list.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocationRef<'a>(&'a [u8]);

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
        &self.0
    }

    /// The same location, lent.
    pub fn lend(&self) -> LocationRef<'_> {
        LocationRef(&self.0)
    }

    /// The server: everything before the `!`, or everything.
    pub fn server(&self) -> &[u8] {
        self.lend().server()
    }

    /// What follows the `!`: `None` without one, empty for `server!`.
    pub fn partition(&self) -> Option<&[u8]> {
        self.lend().partition()
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

impl<'a> LocationRef<'a> {
    /// The location with these octets, which are not looked at again: whoever lends them has them
    /// from a location.
    pub fn of_known(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// A location of its own.
    pub fn to_location(self) -> Location {
        Location(self.0.into())
    }

    /// The location as it stands on the wire.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// [`Location::server`]
    pub fn server(self) -> &'a [u8] {
        self.0.get(..self.server_len()).unwrap_or_default()
    }

    /// [`Location::partition`]
    pub fn partition(self) -> Option<&'a [u8]> {
        self.0.get(self.server_len() + 1..)
    }

    fn server_len(self) -> usize {
        let separator = self.0.iter().position(|&octet| octet == SEPARATOR);
        separator.unwrap_or(self.0.len())
    }
}

impl TryFrom<&[u8]> for Location {
    type Error = InvalidLocation;

    fn try_from(text: &[u8]) -> Result<Self, Self::Error> {
        LocationRef::try_from(text).map(LocationRef::to_location)
    }
}

impl<'a> TryFrom<&'a [u8]> for LocationRef<'a> {
    type Error = InvalidLocation;

    fn try_from(text: &'a [u8]) -> Result<Self, Self::Error> {
        if text.len() > LOCATION_BYTES_MAX {
            return Err(InvalidLocation::TooLong);
        }
        if let Some(at) = text.iter().position(u8::is_ascii_control) {
            return Err(InvalidLocation::Control { at });
        }
        let location = Self(text);
        if location
            .partition()
            .is_some_and(|rest| rest.contains(&SEPARATOR))
        {
            return Err(InvalidLocation::TwoSeparators);
        }
        if location.server().is_empty() {
            return Err(InvalidLocation::NoServer);
        }
        Ok(location)
    }
}

impl<'a> From<&'a Location> for LocationRef<'a> {
    fn from(location: &'a Location) -> Self {
        location.lend()
    }
}

impl fmt::Display for LocationRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for LocationRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
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
        self.lend().fmt(f)
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
