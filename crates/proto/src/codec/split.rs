//! What may be found in a stream of commands.

use std::ops::Range;

/// What a [`Splitter`](super::Splitter) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split {
    /// Nothing more without more input.
    Incomplete,
    /// Tag and command word are there: offsets in the buffer. The word may be empty.
    Head {
        /// Where the tag is.
        tag: Range<usize>,
        /// Where the word is.
        word: Range<usize>,
    },
    /// A `{n}` literal begins: the peer waits for `+ go ahead`.
    GoAhead,
    /// The first `len` octets of the buffer are a command; the caller removes them.
    Whole {
        /// Length in octets, with the line end.
        len: usize,
    },
    /// The command is bad. The next calls remove it from the buffer.
    Broken(Fault),
    /// A limit is exceeded: the end of the session.
    TooLong(TooLong),
}

/// What is wrong with a command, by the text that Cyrus answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No word follows the tag.
    NeedCommand,
    /// An argument is missing, or one before the last is malformed.
    MissingArguments,
    /// The last argument is malformed, or something follows it.
    ExtraArguments,
    /// A host of UPDATE is malformed or empty.
    BadlyFormedArguments,
}

impl Fault {
    /// The text of the BAD that answers it.
    pub fn text(self) -> &'static str {
        match self {
            Self::NeedCommand => "Need command",
            Self::MissingArguments => "Missing arguments",
            Self::ExtraArguments => "Extra arguments",
            Self::BadlyFormedArguments => "Badly formed arguments",
        }
    }
}

/// Which limit was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// [`Limits::tag_bytes_max`](super::Limits::tag_bytes_max).
    Tag,
    /// [`CommandLimits::line_bytes_max`](super::CommandLimits::line_bytes_max).
    Line,
    /// [`literal_bytes_max`](super::CommandLimits::literal_bytes_max) or
    /// [`literals_bytes_max`](super::CommandLimits::literals_bytes_max), by a literal whose contents
    /// are on their way.
    Literal,
}
