//! Commands of RFC 3656 section 4, with Cyrus's COMPRESS and PARTIAL-UPDATE, and RESYNC
//! (`docs/resync.md`).

use std::borrow::Cow;

use crate::resync::NAMED_STRINGS_MAX;

/// Most hosts that one UPDATE may name; Cyrus reads no more.
pub const UPDATE_HOSTS_MAX: usize = 30;

/// A command as it stands on the wire: octets, not yet checked for sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// AUTHENTICATE (RFC 3656 section 4.1).
    Authenticate {
        /// Name of the SASL mechanism, in any case.
        mechanism: Cow<'a, [u8]>,
        /// The initial response, still in base64; `=` for one of no octets.
        initial: Option<Cow<'a, [u8]>>,
    },
    /// STARTTLS (section 4.10).
    StartTls,
    /// COMPRESS, an extension of Cyrus.
    Compress {
        /// Name of the algorithm, in any case.
        algorithm: Cow<'a, [u8]>,
    },
    /// LOGOUT (section 4.7).
    Logout,
    /// NOOP (section 4.8).
    Noop,
    /// ACTIVATE (section 4.2).
    Activate {
        /// Mailbox name.
        name: Cow<'a, [u8]>,
        /// `server!partition`.
        location: Cow<'a, [u8]>,
        /// Access control list.
        acl: Cow<'a, [u8]>,
    },
    /// RESERVE (section 4.9).
    Reserve {
        /// Mailbox name.
        name: Cow<'a, [u8]>,
        /// `server!partition`.
        location: Cow<'a, [u8]>,
    },
    /// DEACTIVATE (section 4.3).
    Deactivate {
        /// Mailbox name.
        name: Cow<'a, [u8]>,
        /// `server!partition`.
        location: Cow<'a, [u8]>,
    },
    /// DELETE (section 4.4).
    Delete {
        /// Mailbox name.
        name: Cow<'a, [u8]>,
    },
    /// FIND (section 4.5).
    Find {
        /// Mailbox name.
        name: Cow<'a, [u8]>,
    },
    /// LIST (section 4.6).
    List {
        /// Beginning of the wanted locations.
        prefix: Option<Cow<'a, [u8]>>,
    },
    /// UPDATE (section 4.11), with the hosts of Cyrus's PARTIAL-UPDATE.
    Update {
        /// Servers to hear of, at most [`UPDATE_HOSTS_MAX`]; none for all.
        hosts: Vec<Cow<'a, [u8]>>,
    },
    /// RESYNC, or a command of a compare.
    Resync(ResyncCommand<'a>),
}

/// The commands of `docs/resync.md`, section 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResyncCommand<'a> {
    /// RESYNC (section 4.1).
    Resync {
        /// 32 hexadecimal digits, or nothing.
        epoch: Cow<'a, [u8]>,
        /// A decimal number.
        sequence: Cow<'a, [u8]>,
        /// Servers to hear of, at most [`UPDATE_HOSTS_MAX`]; none for all.
        hosts: Vec<Cow<'a, [u8]>>,
    },
    /// GROUPS (section 4.2).
    Groups {
        /// Number of buckets, decimal.
        buckets: Cow<'a, [u8]>,
    },
    /// BUCKETS (section 4.2).
    Buckets {
        /// Number of buckets, decimal.
        buckets: Cow<'a, [u8]>,
        /// Numbers of groups, 4 octets each.
        groups: Cow<'a, [u8]>,
    },
    /// ENTRIES (section 4.2).
    Entries {
        /// Number of buckets, decimal.
        buckets: Cow<'a, [u8]>,
        /// Records, cut anywhere, at most [`NAMED_STRINGS_MAX`] pieces.
        named: Vec<Cow<'a, [u8]>>,
    },
}

/// The first word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described at its Command")]
pub enum Verb {
    Authenticate,
    StartTls,
    Compress,
    Logout,
    Noop,
    Activate,
    Reserve,
    Deactivate,
    Delete,
    Find,
    List,
    Update,
    Resync(ResyncVerb),
}

/// The first word of a command of `docs/resync.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described at its ResyncCommand")]
pub enum ResyncVerb {
    Resync,
    Groups,
    Buckets,
    Entries,
}

impl Verb {
    /// The verb that a word spells, in any case.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        VERBS
            .iter()
            .find(|(spelling, _)| spelling.eq_ignore_ascii_case(word))
            .map(|&(_, verb)| verb)
    }

    /// What arguments the verb takes.
    pub fn shape(self) -> Shape {
        let (needed, most) = match self {
            Self::StartTls | Self::Logout | Self::Noop => (0, 0),
            Self::Compress | Self::Delete | Self::Find | Self::Resync(ResyncVerb::Groups) => (1, 1),
            Self::Authenticate => (1, 2),
            Self::Reserve | Self::Deactivate | Self::Resync(ResyncVerb::Buckets) => (2, 2),
            Self::Activate => (3, 3),
            Self::List => (0, 1),
            Self::Update => (0, UPDATE_HOSTS_MAX),
            Self::Resync(ResyncVerb::Resync) => (2, 2 + UPDATE_HOSTS_MAX),
            Self::Resync(ResyncVerb::Entries) => (2, 1 + NAMED_STRINGS_MAX),
        };
        let dialect = match self {
            Self::Authenticate => Dialect::Authenticate,
            Self::Update => Dialect::Hosts,
            Self::Resync(ResyncVerb::Buckets | ResyncVerb::Entries) => Dialect::Binary,
            Self::StartTls
            | Self::Compress
            | Self::Logout
            | Self::Noop
            | Self::Activate
            | Self::Reserve
            | Self::Deactivate
            | Self::Delete
            | Self::Find
            | Self::List
            | Self::Resync(ResyncVerb::Resync | ResyncVerb::Groups) => Dialect::Strings,
        };
        Shape {
            needed,
            most,
            dialect,
        }
    }
}

/// How many arguments a command takes, and of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub(crate) needed: usize,
    pub(crate) most: usize,
    pub(crate) dialect: Dialect,
}

/// Which arguments besides quoted strings and literals a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// None.
    Strings,
    /// The mechanism may be an atom (the ABNF of RFC 3656), the initial response `={0+}` (what
    /// Cyrus clients send for EXTERNAL).
    Authenticate,
    /// Arguments must not be empty, and a fault in one has a text of its own.
    Hosts,
    /// Literals may hold NUL.
    Binary,
}

/// What may stand in an AUTHENTICATE mechanism that is an atom.
pub(crate) fn is_mechanism_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')
}

const VERBS: [(&[u8], Verb); 16] = [
    (b"ACTIVATE", Verb::Activate),
    (b"RESERVE", Verb::Reserve),
    (b"DEACTIVATE", Verb::Deactivate),
    (b"DELETE", Verb::Delete),
    (b"FIND", Verb::Find),
    (b"LIST", Verb::List),
    (b"NOOP", Verb::Noop),
    (b"UPDATE", Verb::Update),
    (b"AUTHENTICATE", Verb::Authenticate),
    (b"STARTTLS", Verb::StartTls),
    (b"COMPRESS", Verb::Compress),
    (b"LOGOUT", Verb::Logout),
    (b"RESYNC", Verb::Resync(ResyncVerb::Resync)),
    (b"GROUPS", Verb::Resync(ResyncVerb::Groups)),
    (b"BUCKETS", Verb::Resync(ResyncVerb::Buckets)),
    (b"ENTRIES", Verb::Resync(ResyncVerb::Entries)),
];
