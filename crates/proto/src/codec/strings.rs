//! `string = quoted / literal` (RFC 3656 section 2), on input that is there as a whole.

use std::borrow::Cow;

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_till, take_while1};
use nom::character::complete::char;
use nom::combinator::{map, map_opt, opt};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

/// A string of either form.
pub(super) fn string(input: &[u8]) -> IResult<&[u8], Cow<'_, [u8]>> {
    alt((quoted, map(literal, Cow::Borrowed))).parse(input)
}

/// `SP string`
pub(super) fn spaced_string(input: &[u8]) -> IResult<&[u8], Cow<'_, [u8]>> {
    preceded(char(' '), string).parse(input)
}

/// `quoted = DQUOTE *(octet but CR, LF, DQUOTE, "\" / "\" octet but CR, LF) DQUOTE`
pub(super) fn quoted(input: &[u8]) -> IResult<&[u8], Cow<'_, [u8]>> {
    delimited(char('"'), quoted_contents, char('"')).parse(input)
}

fn quoted_contents(input: &[u8]) -> IResult<&[u8], Cow<'_, [u8]>> {
    let (mut rest, run) = quoted_run(input)?;
    let mut contents = Cow::Borrowed(run);
    while let [b'\\', escaped, after @ ..] = rest {
        if matches!(escaped, b'\r' | b'\n') {
            break;
        }
        let (after, run) = quoted_run(after)?;
        let owned = contents.to_mut();
        owned.push(*escaped);
        owned.extend_from_slice(run);
        rest = after;
    }
    Ok((rest, contents))
}

fn quoted_run(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_till(|octet| matches!(octet, b'"' | b'\\' | b'\r' | b'\n')).parse(input)
}

/// `literal = "{" number ["+"] "}" CRLF *OCTET`
pub(super) fn literal(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (rest, size) = literal_header(input)?;
    take(size).parse(rest)
}

/// The part of a literal before its contents, and how long these are in octets.
pub(super) fn literal_header(input: &[u8]) -> IResult<&[u8], usize> {
    let size = map_opt(take_while1(|octet: u8| octet.is_ascii_digit()), number);
    delimited(char('{'), size, (opt(char('+')), tag(&b"}\r\n"[..]))).parse(input)
}

/// `CRLF`, or LF alone, which Cyrus takes too.
pub(super) fn line_end(input: &[u8]) -> IResult<&[u8], ()> {
    map(terminated(opt(char('\r')), char('\n')), |_| ()).parse(input)
}

fn number(digits: &[u8]) -> Option<usize> {
    let add = |number: usize, digit: &u8| {
        let digit = usize::from(digit.checked_sub(b'0')?);
        number.checked_mul(10)?.checked_add(digit)
    };
    digits.iter().try_fold(0, add)
}
