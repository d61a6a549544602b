//! The word that ties a reply to its command.

use std::fmt;

/// A command's tag, echoed as it came: any octets but space, TAB, CR, LF, `(`, `)` and `"`, possibly
/// none (RFC 3656 section 3 has ACAP atoms; Cyrus takes the rest too). A NUL cuts it short, as in
/// Cyrus.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(Box<[u8]>);

impl Tag {
    /// The tag of lines that answer no command: `*`.
    pub fn untagged() -> Self {
        Self(Box::new(*b"*"))
    }

    /// The tag as it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Tag {
    fn from(octets: &[u8]) -> Self {
        Self(before_nul(octets).into())
    }
}

impl AsRef<[u8]> for Tag {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What Cyrus sees of a word or a quoted string: everything before its first NUL.
pub(crate) fn before_nul(octets: &[u8]) -> &[u8] {
    memchr::memchr(0, octets)
        .and_then(|at| octets.get(..at))
        .unwrap_or(octets)
}
