//! Access control lists in the form that Cyrus stores.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

/// Longest ACL, in octets. A longer one in a dump ends Debian's 3.6.1 slaves.
pub const ACL_BYTES_MAX: usize = 131_072;

/// Ends an identifier, and ends its rights.
const SEPARATOR: u8 = b'\t';

/// `identifier TAB rights TAB …`, normalised as Cyrus does by storing it: pairs are kept in their
/// order, a last group without its final TAB gets one, text that forms no pair is dropped (so
/// `anyone lrs`, with a space, is the empty ACL). Octets; clones share one allocation.
#[derive(Clone)]
pub struct Acl(Arc<[u8]>);

/// An ACL whose octets lie in memory that is somebody else's, as that of a list.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AclRef<'a>(&'a [u8]);

/// Why some octets are not an ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAcl {
    /// More than [`ACL_BYTES_MAX`] octets once normalised.
    #[error("ACL is longer than {ACL_BYTES_MAX} octets")]
    TooLong,
    /// A NUL, which would make every slave disconnect and come back for ever.
    #[error("ACL has a NUL at {at}")]
    Nul {
        /// Offset of the octet, from 0.
        at: usize,
    },
}

impl Acl {
    /// The normal form, as it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same ACL, lent.
    pub fn lend(&self) -> AclRef<'_> {
        AclRef(&self.0)
    }

    /// Pairs of identifier and rights, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lend().entries()
    }

    /// Whether both handles share one allocation.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<'a> AclRef<'a> {
    /// The ACL with these octets, if they are in normal form.
    pub fn from_normal(text: &'a [u8]) -> Option<Self> {
        // The last field is what follows the last separator: nothing, where the text is whole.
        let fields = text.split(|&octet| octet == SEPARATOR).count();
        let whole = !fields.is_multiple_of(2) && text.last().is_none_or(|&last| last == SEPARATOR);
        let allowed = text.len() <= ACL_BYTES_MAX && !text.contains(&0);
        (whole && allowed).then_some(Self(text))
    }

    /// The ACL with these octets, which are not looked at again: whoever lends them has them from an
    /// ACL.
    pub fn of_known(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// An ACL of its own.
    pub fn to_acl(self) -> Acl {
        Acl(self.0.into())
    }

    /// The normal form, as it stands on the wire.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// [`Acl::entries`]
    pub fn entries(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        pairs(self.0)
    }
}

impl<'a> From<&'a Acl> for AclRef<'a> {
    fn from(acl: &'a Acl) -> Self {
        acl.lend()
    }
}

impl fmt::Debug for AclRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl TryFrom<&[u8]> for Acl {
    type Error = InvalidAcl;

    fn try_from(text: &[u8]) -> Result<Self, Self::Error> {
        if let Some(at) = text.iter().position(|&octet| octet == 0) {
            return Err(InvalidAcl::Nul { at });
        }
        let mut normal = Vec::with_capacity(text.len() + 1);
        for (identifier, rights) in pairs(text) {
            normal.extend_from_slice(identifier);
            normal.push(SEPARATOR);
            normal.extend_from_slice(rights);
            normal.push(SEPARATOR);
        }
        if normal.len() > ACL_BYTES_MAX {
            return Err(InvalidAcl::TooLong);
        }
        Ok(Self(normal.into()))
    }
}

fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut fields = text.split(|&octet| octet == SEPARATOR);
    std::iter::from_fn(move || Some((fields.next()?, fields.next()?)))
}

impl PartialEq for Acl {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Acl {}

impl Hash for Acl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_is_what_cyrus_stores() {
        let normal = |text: &str| {
            let acl = Acl::try_from(text.as_bytes()).unwrap();
            String::from_utf8(acl.as_bytes().to_vec()).unwrap()
        };
        // Recorded from Cyrus 3.6.1: transcripts 06 and 25.
        assert_eq!(normal("anyone\tlrs\t"), "anyone\tlrs\t");
        assert_eq!(normal("anyone\tlrs"), "anyone\tlrs\t");
        assert_eq!(normal("anyone lrs"), "");
        assert_eq!(normal("a lrs\tb lrs\t"), "a lrs\tb lrs\t");
        assert_eq!(normal("a\tl\tb"), "a\tl\t");
        assert_eq!(normal(""), "");
    }

    #[test]
    fn only_a_normal_form_is_lent() {
        for text in ["anyone\tlrs\t", "", "a\tl\tb\tl\t", "\t\t"] {
            let lent = AclRef::from_normal(text.as_bytes()).unwrap();
            assert_eq!(Acl::try_from(text.as_bytes()).unwrap(), lent.to_acl());
        }
        for text in [
            "anyone",
            "anyone\t",
            "anyone\tlrs",
            "a\tl\tb",
            "a\tl\tb\t",
            "a\tl\0\t",
        ] {
            assert_eq!(AclRef::from_normal(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn refuses_nul_and_excess() {
        assert_eq!(
            Acl::try_from(b"a\tl\0\t".as_slice()).unwrap_err(),
            InvalidAcl::Nul { at: 3 }
        );
        let long = [b"a\t".as_slice(), &vec![b'l'; ACL_BYTES_MAX]].concat();
        assert_eq!(
            Acl::try_from(long.as_slice()).unwrap_err(),
            InvalidAcl::TooLong
        );
    }
}
