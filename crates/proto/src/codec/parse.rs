//! Commands out of octets that a [`Splitter`](super::Splitter) has found to be a whole one.

use std::borrow::Cow;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, opt, value};
use nom::multi::many_m_n;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};
use thiserror::Error;

use super::command::{
    Command, ResyncCommand, ResyncVerb, UPDATE_HOSTS_MAX, Verb, is_mechanism_octet,
};
use super::strings::{line_end, literal_header, quoted, spaced_string, string};
use super::tag::{Tag, before_nul};
use crate::resync::NAMED_STRINGS_MAX;

/// Octets that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {expected} at {at}")]
pub struct Malformed {
    /// Offset in the octets, from 0.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

/// Parses one whole command with its line end.
///
/// ```
/// use proto::codec::{Command, parse_command};
///
/// let (tag, command) = parse_command(b"F1 FIND {3+}\r\na.b\r\n")?;
/// assert_eq!(tag.as_bytes(), b"F1");
/// assert_eq!(command, Command::Find { name: b"a.b".into() });
/// # Ok::<(), proto::codec::Malformed>(())
/// ```
pub fn parse_command(input: &[u8]) -> Result<(Tag, Command<'_>), Malformed> {
    let fault = |rest: &[u8], expected| Malformed {
        at: input.len() - rest.len(),
        expected,
    };
    let (rest, (tag, verb)) = head(input).map_err(|_| fault(input, "tag and command"))?;
    let (_, command) = all_consuming(terminated(|rest| arguments(verb, rest), line_end))
        .parse(rest)
        .map_err(|_| fault(rest, "the command's arguments"))?;
    Ok((tag, command))
}

/// `tag SP command-name`
fn head(input: &[u8]) -> IResult<&[u8], (Tag, Verb)> {
    let verb = nom::combinator::map_opt(word, |word| Verb::from_word(before_nul(word)));
    (map(terminated(word, char(' ')), Tag::from), verb).parse(input)
}

/// Any octets up to one that ends a word for Cyrus.
fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_till(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b'"'))
        .parse(input)
}

fn arguments(verb: Verb, input: &[u8]) -> IResult<&[u8], Command<'_>> {
    match verb {
        Verb::StartTls => value(Command::StartTls, tag(NOTHING)).parse(input),
        Verb::Logout => value(Command::Logout, tag(NOTHING)).parse(input),
        Verb::Noop => value(Command::Noop, tag(NOTHING)).parse(input),
        Verb::Compress => map(argument, |algorithm| Command::Compress { algorithm }).parse(input),
        Verb::Delete => map(argument, |name| Command::Delete { name }).parse(input),
        Verb::Find => map(argument, |name| Command::Find { name }).parse(input),
        Verb::List => map(opt(argument), |prefix| Command::List { prefix }).parse(input),
        Verb::Reserve => map((argument, argument), |(name, location)| Command::Reserve {
            name,
            location,
        })
        .parse(input),
        Verb::Deactivate => map((argument, argument), |(name, location)| {
            Command::Deactivate { name, location }
        })
        .parse(input),
        Verb::Activate => map((argument, argument, argument), |(name, location, acl)| {
            Command::Activate {
                name,
                location,
                acl,
            }
        })
        .parse(input),
        Verb::Update => map(many_m_n(0, UPDATE_HOSTS_MAX, argument), |hosts| {
            Command::Update { hosts }
        })
        .parse(input),
        Verb::Authenticate => authenticate(input),
        Verb::Resync(verb) => map(|rest| resync(verb, rest), Command::Resync).parse(input),
    }
}

/// The commands of `docs/resync.md`, section 9.
fn resync(verb: ResyncVerb, input: &[u8]) -> IResult<&[u8], ResyncCommand<'_>> {
    match verb {
        ResyncVerb::Resync => {
            let hosts = many_m_n(0, UPDATE_HOSTS_MAX, argument);
            map((argument, argument, hosts), |(epoch, sequence, hosts)| {
                ResyncCommand::Resync {
                    epoch,
                    sequence,
                    hosts,
                }
            })
            .parse(input)
        }
        ResyncVerb::Groups => {
            map(argument, |buckets| ResyncCommand::Groups { buckets }).parse(input)
        }
        ResyncVerb::Buckets => map((argument, spaced_string), |(buckets, groups)| {
            ResyncCommand::Buckets { buckets, groups }
        })
        .parse(input),
        ResyncVerb::Entries => {
            let named = many_m_n(1, NAMED_STRINGS_MAX, spaced_string);
            map((argument, named), |(buckets, named)| {
                ResyncCommand::Entries { buckets, named }
            })
            .parse(input)
        }
    }
}

/// `authenticate = "AUTHENTICATE" SP sasl-mech [SP string]`, where Cyrus wants a string for the
/// mechanism, and its clients glue `=` to an empty literal for an EXTERNAL without identity.
fn authenticate(input: &[u8]) -> IResult<&[u8], Command<'_>> {
    let atom = map(take_while1(is_mechanism_octet), Cow::Borrowed);
    let mechanism = preceded(char(' '), alt((map(string, cut), atom)));
    let external = value(
        Cow::Borrowed(b"=".as_slice()),
        preceded(tag(&b" ="[..]), literal_header),
    );
    map(
        (mechanism, opt(alt((argument, external)))),
        |(mechanism, initial)| Command::Authenticate { mechanism, initial },
    )
    .parse(input)
}

/// `SP string`, as Cyrus sees it.
fn argument(input: &[u8]) -> IResult<&[u8], Cow<'_, [u8]>> {
    map(spaced_string, cut).parse(input)
}

fn cut(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(octets) => Cow::Borrowed(before_nul(octets)),
        Cow::Owned(octets) => Cow::Owned(before_nul(&octets).to_vec()),
    }
}

const NOTHING: &[u8] = b"";

/// `DQUOTE … DQUOTE`, or a literal: the tokens of a banner line.
pub(super) fn banner_token(input: &[u8]) -> IResult<&[u8], Cow<'_, [u8]>> {
    let bare = map(
        take_while1(|octet: u8| !matches!(octet, b' ' | b'\r' | b'\n' | b'"')),
        Cow::Borrowed,
    );
    alt((quoted, bare)).parse(input)
}
