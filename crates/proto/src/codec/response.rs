//! What a server says, as its client reads it.

mod resync;

use std::borrow::Cow;

use nom::bytes::complete::{take_till, take_while1};
use nom::character::complete::{char, space0};
use nom::combinator::{all_consuming, opt};
use nom::multi::many0;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

use super::parse::{Malformed, banner_token};
use super::strings::{line_end, spaced_string};
pub use resync::ResyncResponse;
pub(super) use resync::Word as ResyncWord;

/// One response of a server (RFC 3656 sections 3 and 4). Octets, not yet checked for sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// OK, NO, BAD or BYE.
    Status {
        /// The command's tag, or `*`.
        tag: &'a [u8],
        /// Which of them.
        status: Status,
        /// For a human; Cyrus omits the quotes now and then.
        text: Cow<'a, [u8]>,
    },
    /// `* OK MUPDATE …`, the last line of a banner.
    Greeting {
        /// Server name, implementation, version, and `(master)` or the master's URL; fewer from
        /// odd servers.
        words: Vec<Cow<'a, [u8]>>,
    },
    /// Another untagged line: `* AUTH …`, `* STARTTLS`, `* COMPRESS …`, or one to be ignored.
    Capability {
        /// The word after the `*`.
        name: &'a [u8],
        /// What follows it.
        arguments: Vec<Cow<'a, [u8]>>,
    },
    /// MAILBOX: an active mailbox.
    Mailbox {
        /// The tag of FIND, LIST or UPDATE.
        tag: &'a [u8],
        /// Mailbox name.
        name: Cow<'a, [u8]>,
        /// `server!partition`.
        location: Cow<'a, [u8]>,
        /// Access control list.
        acl: Cow<'a, [u8]>,
    },
    /// RESERVE: a reserved name.
    Reserve {
        /// The tag of FIND, LIST or UPDATE.
        tag: &'a [u8],
        /// Mailbox name.
        name: Cow<'a, [u8]>,
        /// `server!partition`.
        location: Cow<'a, [u8]>,
    },
    /// DELETE: the name has no entry any more.
    Delete {
        /// The tag of UPDATE.
        tag: &'a [u8],
        /// Mailbox name.
        name: Cow<'a, [u8]>,
    },
    /// A response of RESYNC.
    Resync {
        /// The tag of RESYNC, GROUPS, BUCKETS or ENTRIES.
        tag: &'a [u8],
        /// What it says.
        what: ResyncResponse,
    },
    /// `+ go ahead`
    GoAhead,
}

/// How a command went, or the end of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 3656 section 3.2 and on")]
pub enum Status {
    Ok,
    No,
    Bad,
    Bye,
}

/// What a response's second word says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Status(Status),
    Mailbox,
    Reserve,
    Delete,
    Resync(ResyncWord),
    Other,
}

impl Keyword {
    fn from_word(word: &[u8]) -> Self {
        KEYWORDS
            .iter()
            .find(|(spelling, _)| spelling.eq_ignore_ascii_case(word))
            .map_or(Self::Other, |&(_, keyword)| keyword)
    }
}

/// Parses one whole response with its line end, as a
/// [`ResponseSplitter`](super::ResponseSplitter) finds it.
pub fn parse_response(input: &[u8]) -> Result<Response<'_>, Malformed> {
    let fault = |rest: &[u8], expected| Malformed {
        at: input.len() - rest.len(),
        expected,
    };
    let (rest, (tag, word)) = head(input).map_err(|_| fault(input, "tag and response"))?;
    if tag == b"+" {
        return Ok(Response::GoAhead);
    }
    let keyword = Keyword::from_word(word);
    let parsed = match keyword {
        Keyword::Status(status) => status_text(tag, status, rest),
        Keyword::Mailbox => data(rest, (spaced_string, spaced_string, spaced_string)).map(
            |(name, location, acl)| Response::Mailbox {
                tag,
                name,
                location,
                acl,
            },
        ),
        Keyword::Reserve => {
            data(rest, (spaced_string, spaced_string)).map(|(name, location)| Response::Reserve {
                tag,
                name,
                location,
            })
        }
        Keyword::Delete => data(rest, spaced_string).map(|name| Response::Delete { tag, name }),
        Keyword::Resync(word) if tag != b"*" => {
            resync::parse(word, rest).map(|what| Response::Resync { tag, what })
        }
        Keyword::Other | Keyword::Resync(_) if tag == b"*" => {
            data(rest, words).map(|arguments| Response::Capability {
                name: word,
                arguments,
            })
        }
        Keyword::Other | Keyword::Resync(_) => None,
    };
    parsed.ok_or_else(|| fault(rest, "a response of MUPDATE"))
}

/// `tag SP word`, and what the word is.
pub(super) fn keyword(input: &[u8]) -> Option<(&[u8], Keyword)> {
    let (rest, (_, word)) = head(input).ok()?;
    Some((rest, Keyword::from_word(word)))
}

fn head(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let tag = take_while1(|octet: u8| !matches!(octet, b' ' | b'\r' | b'\n'));
    let word = take_till(|octet: u8| matches!(octet, b' ' | b'\r' | b'\n'));
    (terminated(tag, char(' ')), word).parse(input)
}

fn data<'a, O>(
    input: &'a [u8],
    arguments: impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
) -> Option<O> {
    let (_, output) = all_consuming(terminated(arguments, line_end))
        .parse(input)
        .ok()?;
    Some(output)
}

/// The tokens of a banner line.
fn words(input: &[u8]) -> IResult<&[u8], Vec<Cow<'_, [u8]>>> {
    terminated(many0(preceded(space0, banner_token)), space0).parse(input)
}

/// ` text` in quotes, as a literal, or bare to the end of the line; and the greeting.
fn status_text<'a>(tag: &'a [u8], status: Status, input: &'a [u8]) -> Option<Response<'a>> {
    if tag == b"*"
        && status == Status::Ok
        && let Some(words) = greeting(input)
    {
        return Some(Response::Greeting { words });
    }
    let text = data(input, spaced_string).or_else(|| {
        let (_, text) = data(input, (opt(char(' ')), take_till(|octet| octet == b'\n')))?;
        Some(Cow::Borrowed(text.strip_suffix(b"\r").unwrap_or(text)))
    });
    text.map(|text| Response::Status { tag, status, text })
}

fn greeting(input: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let mut words = data(input, words)?;
    let is_greeting = words
        .first()
        .is_some_and(|word| word.eq_ignore_ascii_case(b"MUPDATE"));
    is_greeting.then(|| {
        words.remove(0);
        words
    })
}

const KEYWORDS: [(&[u8], Keyword); 15] = [
    (b"MAILBOX", Keyword::Mailbox),
    (b"RESERVE", Keyword::Reserve),
    (b"DELETE", Keyword::Delete),
    (b"OK", Keyword::Status(Status::Ok)),
    (b"NO", Keyword::Status(Status::No)),
    (b"BAD", Keyword::Status(Status::Bad)),
    (b"BYE", Keyword::Status(Status::Bye)),
    (b"POSITION", Keyword::Resync(ResyncWord::Position)),
    (b"POINT", Keyword::Resync(ResyncWord::Point)),
    (b"HISTORY", Keyword::Resync(ResyncWord::History)),
    (b"LOG", Keyword::Resync(ResyncWord::Log)),
    (b"FULL", Keyword::Resync(ResyncWord::Full)),
    (b"DIGEST", Keyword::Resync(ResyncWord::Digest)),
    (b"SUMS", Keyword::Resync(ResyncWord::Sums)),
    (b"UNKNOWN", Keyword::Resync(ResyncWord::Unknown)),
];
