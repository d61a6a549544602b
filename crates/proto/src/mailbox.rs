//! Mailbox names and their order.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Longest mailbox name we store, in octets: `MAX_MAILBOX_NAME` of Cyrus 3.8 and later.
pub const MAILBOX_NAME_BYTES_MAX: usize = 510;

/// Longest user id, in octets. A longer one ends a Cyrus `mupdate` process by a failed assertion.
pub const USER_ID_BYTES_MAX: usize = 247;

/// Separator between domain and name in the key order (on the wire: `!`).
const KEY_DOMAIN_SEPARATOR: u8 = 0x1D;
/// Separator between components in the key order (on the wire: `.`).
const KEY_HIERARCHY_SEPARATOR: u8 = 0x1F;
/// First component of a mailbox that Cyrus keeps for delayed deletion.
const DELETED_PREFIX: &[u8] = b"DELETED";

const USER_PREFIX: &[u8] = b"user\x1F";

/// A mailbox name in Cyrus's internal form: `user.joe.Sent`, `example.org!user.joe`, with `^` for a
/// dot inside a component. Octets, not UTF-8; 1 to [`MAILBOX_NAME_BYTES_MAX`] of them.
///
/// Held as its *key*, so that the order of names is the order of Cyrus's own `mailboxes.db` since
/// 3.6: the domain up to and including `!` is kept with `!` → 0x1D, in the rest `.` → 0x1F and
/// `^` → `.`, then octet by octet. The mapping is one-to-one because names hold no control octets.
/// Cloning is cheap: all clones share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Arc<[u8]>);

/// A mailbox name whose key lies in memory that is somebody else's, as that of a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef<'a>(&'a [u8]);

/// Why some octets are not a mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidMailboxName {
    /// No octet at all.
    #[error("mailbox name is empty")]
    Empty,
    /// More than [`MAILBOX_NAME_BYTES_MAX`] octets.
    #[error("mailbox name is longer than {MAILBOX_NAME_BYTES_MAX} octets")]
    TooLong,
    /// An octet below 0x20, or 0x7F.
    #[error("mailbox name has a control octet at {at}")]
    Control {
        /// Offset of the octet, from 0.
        at: usize,
    },
    /// Octets that are no name's key.
    #[error("not the key of a mailbox name")]
    NoKey,
    /// `a..b`, `.a`, `a.`, or nothing before or after the domain's `!`.
    #[error("mailbox name has an empty component")]
    EmptyComponent,
    /// A user id (with its domain) of more than [`USER_ID_BYTES_MAX`] octets.
    #[error("user id in mailbox name is longer than {USER_ID_BYTES_MAX} octets")]
    UserIdTooLong,
    /// `DELETED.user.joe.x`, whose last component is not the hexadecimal time that Cyrus expects:
    /// Cyrus would store it under another name.
    #[error("deleted mailbox name does not end in a hexadecimal time")]
    DeletedWithoutTime,
}

impl MailboxName {
    /// The octets that names are ordered by, and that `mailboxes.db` since 3.6 uses behind its `N`.
    pub fn key(&self) -> &[u8] {
        &self.0
    }

    /// The name that has this key.
    pub fn from_key(key: &[u8]) -> Result<Self, InvalidMailboxName> {
        NameRef::from_key(key).map(NameRef::to_name)
    }

    /// The same name, lent.
    pub fn lend(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }

    /// Length of the name in octets.
    #[expect(clippy::len_without_is_empty, reason = "a name is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends the name as it stands on the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.lend().write_to(out);
    }

    /// The name as it stands on the wire.
    pub fn to_vec(&self) -> Vec<u8> {
        self.lend().to_vec()
    }

    /// [`NameRef::owner`]
    pub fn owner(&self) -> (&[u8], &[u8]) {
        self.lend().owner()
    }
}

impl<'a> NameRef<'a> {
    /// [`MailboxName::key`]
    pub fn key(self) -> &'a [u8] {
        self.0
    }

    /// The name that has this key.
    pub fn from_key(key: &'a [u8]) -> Result<Self, InvalidMailboxName> {
        check_length(key)?;
        if is_plain_key(key) {
            return Ok(Self(key));
        }
        if let Some(at) = key.iter().position(|&octet| is_control_in_key(octet)) {
            return Err(InvalidMailboxName::Control { at });
        }
        if !is_image_of_a_name(key) {
            return Err(InvalidMailboxName::NoKey);
        }
        check_components(key)?;
        Ok(Self(key))
    }

    /// The name that has this key, which is not looked at again: whoever lends it has it from a name.
    pub fn of_known_key(key: &'a [u8]) -> Self {
        Self(key)
    }

    /// A name of its own.
    pub fn to_name(self) -> MailboxName {
        MailboxName(self.0.into())
    }

    /// Length of the name in octets.
    #[expect(clippy::len_without_is_empty, reason = "a name is never empty")]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// The name as it stands on the wire.
    pub fn to_vec(self) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.len());
        self.write_to(&mut name);
        name
    }

    /// Appends the name as it stands on the wire.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.0);
        let name = out.get_mut(start..).unwrap_or_default();
        // One pass without a branch, since nearly no name has a domain.
        let mut has_domain = false;
        for octet in &mut *name {
            has_domain |= *octet == KEY_DOMAIN_SEPARATOR;
            *octet = match *octet {
                KEY_HIERARCHY_SEPARATOR => b'.',
                b'.' => b'^',
                other => other,
            };
        }
        if has_domain && let (Some(domain), _) = split_domain(self.0) {
            let (in_name, rest) = name.split_at_mut(domain.len());
            in_name.copy_from_slice(domain);
            if let Some(separator) = rest.first_mut() {
                *separator = b'!';
            }
        }
    }

    /// Key of the mailbox's owner, in two parts that follow each other: the domain with its
    /// separator, if there is one, and `user` and the user id, also for the owner's `DELETED.`
    /// mailboxes; the first component for a shared folder.
    pub fn owner(self) -> (&'a [u8], &'a [u8]) {
        let domain = self
            .0
            .iter()
            .position(|&octet| octet == KEY_DOMAIN_SEPARATOR);
        let (domain, rest) = self.0.split_at(domain.map_or(0, |at| at + 1));
        let deleted = rest.strip_prefix(DELETED_PREFIX);
        let deleted = deleted.and_then(|rest| rest.strip_prefix(&[KEY_HIERARCHY_SEPARATOR]));
        let rest = deleted.unwrap_or(rest);
        let component = |octets: &[u8]| {
            let end = octets
                .iter()
                .position(|&octet| octet == KEY_HIERARCHY_SEPARATOR);
            end.unwrap_or(octets.len())
        };
        let user = rest.strip_prefix(USER_PREFIX);
        let len = user.map_or_else(
            || component(rest),
            |user| USER_PREFIX.len() + component(user),
        );
        (domain, rest.get(..len).unwrap_or(rest))
    }
}

impl<'a> From<&'a MailboxName> for NameRef<'a> {
    fn from(name: &'a MailboxName) -> Self {
        name.lend()
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_vec().escape_ascii())
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The domain of a key, without its separator, and what follows.
fn split_domain(key: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match key.iter().position(|&octet| octet == KEY_DOMAIN_SEPARATOR) {
        Some(at) => {
            let (domain, rest) = key.split_at(at);
            (Some(domain), rest.get(1..).unwrap_or_default())
        }
        None => (None, key),
    }
}

impl TryFrom<&[u8]> for MailboxName {
    type Error = InvalidMailboxName;

    fn try_from(name: &[u8]) -> Result<Self, Self::Error> {
        check_length(name)?;
        if let Some(at) = name.iter().position(u8::is_ascii_control) {
            return Err(InvalidMailboxName::Control { at });
        }
        let mut room = [0; MAILBOX_NAME_BYTES_MAX];
        let key = room.get_mut(..name.len()).unwrap_or_default();
        write_key(name, key);
        if !is_plain_key(key) {
            check_components(key)?;
        }
        Ok(Self((&*key).into()))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lend().fmt(f)
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn check_length(octets: &[u8]) -> Result<(), InvalidMailboxName> {
    match octets.len() {
        0 => Err(InvalidMailboxName::Empty),
        1..=MAILBOX_NAME_BYTES_MAX => Ok(()),
        _ => Err(InvalidMailboxName::TooLong),
    }
}

/// Whether one pass shows that a key is a name's: no domain, nothing that stands for something else,
/// no empty component, too short for a user id that is too long, nothing deleted. A list has millions
/// of these.
fn is_plain_key(key: &[u8]) -> bool {
    let mut before = KEY_HIERARCHY_SEPARATOR;
    for &octet in key {
        let fits = match octet {
            KEY_HIERARCHY_SEPARATOR => before != KEY_HIERARCHY_SEPARATOR,
            b'!' | b'^' | 0x7F => false,
            _ => octet >= 0x20,
        };
        if !fits {
            return false;
        }
        before = octet;
    }
    before != KEY_HIERARCHY_SEPARATOR
        && key.len() <= USER_ID_BYTES_MAX
        && !key.starts_with(DELETED_PREFIX)
}

fn is_control_in_key(octet: u8) -> bool {
    octet.is_ascii_control() && !matches!(octet, KEY_DOMAIN_SEPARATOR | KEY_HIERARCHY_SEPARATOR)
}

/// Whether some name has this key: separators and dots stand only where a name's would.
fn is_image_of_a_name(key: &[u8]) -> bool {
    let (domain, rest) = split_domain(key);
    let in_domain = |octet: &u8| !matches!(*octet, b'!' | KEY_HIERARCHY_SEPARATOR);
    // The first `!` of a name ends its domain, so where there is no domain there is no `!`.
    let in_rest = |octet: &u8| match *octet {
        b'^' | KEY_DOMAIN_SEPARATOR => false,
        b'!' => domain.is_some(),
        _ => true,
    };
    domain.is_none_or(|domain| domain.iter().all(in_domain)) && rest.iter().all(in_rest)
}

fn check_components(key: &[u8]) -> Result<(), InvalidMailboxName> {
    let (domain, rest) = split_domain(key);
    let parts = || rest.split(|&octet| octet == KEY_HIERARCHY_SEPARATOR);
    if domain.is_some_and(<[u8]>::is_empty) || parts().any(<[u8]>::is_empty) {
        return Err(InvalidMailboxName::EmptyComponent);
    }
    let mut first_three = parts();
    let (first, second, third) = (first_three.next(), first_three.next(), first_three.next());
    let user = match (first, second) {
        (Some(b"user"), user) => user,
        (Some(DELETED_PREFIX), Some(b"user")) => third,
        _ => None,
    };
    let domain_len = domain.map_or(0, |domain| domain.len() + 1);
    if user.is_some_and(|user| user.len() + domain_len > USER_ID_BYTES_MAX) {
        return Err(InvalidMailboxName::UserIdTooLong);
    }
    let is_deleted = first == Some(DELETED_PREFIX) && third.is_some();
    if is_deleted && !parts().next_back().is_some_and(is_nonzero_hexadecimal) {
        return Err(InvalidMailboxName::DeletedWithoutTime);
    }
    Ok(())
}

/// Cyrus reads the last component as a number of at most 32 bits and writes it back.
fn is_nonzero_hexadecimal(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit) && digits.iter().any(|&digit| digit != b'0')
}

/// Writes the key of a name into as many octets.
fn write_key(name: &[u8], key: &mut [u8]) {
    key.copy_from_slice(name);
    let domain = key.iter().position(|&octet| octet == b'!');
    let rest = domain.map_or(0, |at| at + 1);
    if let Some(separator) = domain.and_then(|at| key.get_mut(at)) {
        *separator = KEY_DOMAIN_SEPARATOR;
    }
    for octet in key.get_mut(rest..).unwrap_or_default() {
        *octet = match *octet {
            b'.' => KEY_HIERARCHY_SEPARATOR,
            b'^' => b'.',
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::try_from(text.as_bytes()).unwrap()
    }

    #[test]
    fn order_is_that_of_cyrus_since_3_6() {
        let sorted = [
            "foo-bar.test!user.x",
            "foo.test!user.a",
            "shared",
            "user.Bob",
            "user.amy",
            "user.amy.Drafts",
            "user.amy smith",
            "user.amy-x",
            "user.amy^x",
            "user.amy2",
        ];
        let names: Vec<MailboxName> = sorted.iter().map(|text| name(text)).collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn key_and_name_are_one_to_one() {
        for text in [
            "user.bob.sub^dot",
            "example.org!user.dave.x",
            "a^b.c!user.x^y!z",
            "x",
        ] {
            let parsed = name(text);
            assert_eq!(parsed.to_vec(), text.as_bytes());
            assert_eq!(MailboxName::from_key(parsed.key()).unwrap(), parsed);
        }
        assert_eq!(name("user.bob.sub^dot").key(), b"user\x1fbob\x1fsub.dot");
        assert_eq!(
            name("example.org!user.dave.x").key(),
            b"example.org\x1duser\x1fdave\x1fx"
        );
    }

    #[test]
    fn names_that_would_hurt_a_cyrus_peer_are_refused() {
        let refused = |text: &[u8]| MailboxName::try_from(text).unwrap_err();
        assert_eq!(refused(b""), InvalidMailboxName::Empty);
        assert_eq!(refused(&[b'a'; 511]), InvalidMailboxName::TooLong);
        assert_eq!(refused(b"user.a\tb"), InvalidMailboxName::Control { at: 6 });
        assert_eq!(refused(b"user..b"), InvalidMailboxName::EmptyComponent);
        assert_eq!(refused(b"user.b."), InvalidMailboxName::EmptyComponent);
        assert_eq!(refused(b"!user.b"), InvalidMailboxName::EmptyComponent);
        assert_eq!(refused(b"d!"), InvalidMailboxName::EmptyComponent);
        let long = [b"user.".as_slice(), &[b'u'; 248]].concat();
        assert_eq!(refused(&long), InvalidMailboxName::UserIdTooLong);
        assert_eq!(
            refused(b"DELETED.user.x.old"),
            InvalidMailboxName::DeletedWithoutTime
        );
        assert_eq!(
            refused(b"DELETED.user.x.000"),
            InvalidMailboxName::DeletedWithoutTime
        );
        assert!(MailboxName::try_from(b"DELETED.user.x.5F3C1A2B".as_slice()).is_ok());
        assert!(MailboxName::try_from(b"DELETED.user".as_slice()).is_ok());
    }

    #[test]
    fn only_the_keys_of_names_are_keys() {
        for octets in [
            b"a!b".as_slice(),
            b"a^b",
            b"d\x1da^b",
            b"d\x1fx\x1da",
            b"d!e\x1da",
            b"a\x1db\x1dc",
        ] {
            assert_eq!(
                MailboxName::from_key(octets).unwrap_err(),
                InvalidMailboxName::NoKey,
                "{octets:?}"
            );
        }
        assert_eq!(
            MailboxName::from_key(b"d^.x\x1da!.b").unwrap().to_vec(),
            b"d^.x!a!^b"
        );
        assert_eq!(
            MailboxName::from_key(b"a\x01").unwrap_err(),
            InvalidMailboxName::Control { at: 1 }
        );
        assert_eq!(
            MailboxName::from_key(b"a\x1f").unwrap_err(),
            InvalidMailboxName::EmptyComponent
        );
    }

    #[test]
    fn every_short_key_and_name_agree() {
        // All strings of up to five of the octets that matter.
        let octets = [b'!', b'.', b'^', b'a', 0x1D, 0x1F];
        let mut strings: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..5 {
            let longer = strings.iter().flat_map(|string| {
                octets
                    .iter()
                    .map(move |&octet| [string.as_slice(), &[octet]].concat())
            });
            let longer: Vec<Vec<u8>> = longer.collect();
            for string in &longer {
                if let Ok(name) = MailboxName::from_key(string) {
                    assert_eq!(
                        MailboxName::try_from(name.to_vec().as_slice()),
                        Ok(name),
                        "{string:?}"
                    );
                }
                if let Ok(name) = MailboxName::try_from(string.as_slice()) {
                    assert_eq!(MailboxName::from_key(name.key()), Ok(name), "{string:?}");
                }
            }
            strings = longer;
        }
    }

    #[test]
    fn the_short_way_to_a_name_agrees_with_the_long_one() {
        // All strings of up to four of these pieces, the last of which fills a user id.
        let long = "u".repeat(USER_ID_BYTES_MAX);
        let pieces: [&[u8]; 12] = [
            b"user",
            b"DELETED",
            b"0f",
            b"\x1f",
            b"\x1d",
            b"!",
            b"^",
            b".",
            b"\x7f",
            b"\x01",
            b" \xff",
            long.as_bytes(),
        ];
        let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
        let mut plain = 0;
        for _ in 0..4 {
            let longer = keys
                .iter()
                .flat_map(|key| pieces.map(|piece| [key, piece].concat()));
            keys = longer.collect();
            for key in keys.iter().filter(|key| is_plain_key(key)) {
                plain += 1;
                let long_way = check_length(key).is_ok()
                    && !key.iter().any(|&octet| is_control_in_key(octet))
                    && is_image_of_a_name(key)
                    && check_components(key).is_ok();
                assert!(long_way, "{}", key.escape_ascii());
            }
        }
        assert!(plain > 100, "{plain}");
    }

    #[test]
    fn owner_spans_a_users_live_and_deleted_mailboxes() {
        assert_eq!(
            name("user.amy.Sent").owner(),
            name("DELETED.user.amy.5F3C1A2B").owner()
        );
        let key = |text: &str| {
            let name = name(text);
            let (domain, owner) = name.owner();
            [domain, owner].concat()
        };
        assert_eq!(key("d!user.amy"), name("d!user.amy").key());
        assert_eq!(key("d!DELETED.user.amy.5F3C1A2B"), name("d!user.amy").key());
        assert_eq!(key("user.amy.Sent"), name("user.amy").key());
        assert_eq!(key("shared.x"), name("shared").key());
        assert_eq!(key("DELETED.shared.x.5F3C1A2B"), name("shared").key());
        assert_eq!(key("DELETED"), b"DELETED");
        assert_eq!(key("user"), b"user");
    }
}
