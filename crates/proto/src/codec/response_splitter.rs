//! Finding the end of a response before it is parsed.

use bytes::BytesMut;
use nom::Parser;
use nom::combinator::all_consuming;
use thiserror::Error;

use super::limits::ResponseLimits;
use super::response::{Keyword, keyword};
use super::strings::literal_header;
use crate::resync::BINARY_BYTES_MAX;

/// Finds responses in a stream of octets, over `{n}` and `{n+}` literals, under limits. Every octet
/// is looked at once, however the input is cut into pieces.
#[derive(Debug)]
pub struct ResponseSplitter {
    limits: ResponseLimits,
    /// Where the line that is being read begins: the response's start, or behind a literal.
    line_start: usize,
    /// First octet not looked at.
    at: usize,
    literals_bytes: usize,
}

/// A response longer than [`ResponseLimits`] allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseTooLong {
    /// The line.
    #[error("response line is longer than {max} octets")]
    Line {
        /// The bound, in octets.
        max: usize,
    },
    /// A literal, or all literals of a response together.
    #[error("literal in a response is longer than {max} octets")]
    Literal {
        /// The bound of one literal, in octets.
        max: usize,
    },
}

impl ResponseSplitter {
    /// At the start of a response.
    pub fn new(limits: ResponseLimits) -> Self {
        Self {
            limits,
            line_start: 0,
            at: 0,
            literals_bytes: 0,
        }
    }

    /// Removes the next whole response, with its line end, from the buffer. `None`: more input is
    /// needed. After an error the stream can't be read on.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<BytesMut>, ResponseTooLong> {
        loop {
            let limit = self.limits.line_bytes_max + self.literals_bytes;
            let visible = buffer.get(..limit.min(buffer.len())).unwrap_or_default();
            let unseen = visible.get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'\n', unseen) else {
                self.at = self.at.max(visible.len());
                if buffer.len() >= limit {
                    let max = self.limits.line_bytes_max;
                    return Err(ResponseTooLong::Line { max });
                }
                return Ok(None);
            };
            let end = self.at + found + 1;
            let Some((size, max)) = self.literal_at_end(visible, end) else {
                *self = Self::new(self.limits);
                return Ok(Some(buffer.split_to(end)));
            };
            self.skip_literal(end, size, max)?;
        }
    }

    fn skip_literal(&mut self, end: usize, size: usize, max: usize) -> Result<(), ResponseTooLong> {
        if size > max || self.literals_bytes + size > max.saturating_mul(LITERALS_MAX) {
            return Err(ResponseTooLong::Literal { max });
        }
        self.literals_bytes += size;
        self.line_start = end + size;
        self.at = self.line_start;
        Ok(())
    }

    /// Octets of the literal whose header ends the line, if the response may have one there, and how
    /// many are allowed.
    fn literal_at_end(&self, input: &[u8], end: usize) -> Option<(usize, usize)> {
        let line = input.get(self.line_start..end)?;
        let header = line.get(memchr::memrchr(b'{', line)?..)?;
        let (_, size) = all_consuming(literal_header).parse(header).ok()?;
        let (rest, keyword) = keyword(input)?;
        let max = self.limits.literal_bytes_max;
        let allowed = match keyword {
            Keyword::Mailbox | Keyword::Reserve | Keyword::Delete => true,
            Keyword::Resync(_) if !input.starts_with(b"* ") => {
                return Some((size, max.min(BINARY_BYTES_MAX)));
            }
            // A bare text may end in anything.
            Keyword::Status(_) => rest.starts_with(b" {"),
            Keyword::Resync(_) | Keyword::Other => false,
        };
        allowed.then_some((size, max))
    }
}

/// Most literals in a response, and one to spare.
const LITERALS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(input: &[u8]) -> Vec<Vec<u8>> {
        let mut splitter = ResponseSplitter::new(ResponseLimits::default());
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for &octet in input {
            buffer.extend_from_slice(&[octet]);
            while let Some(response) = splitter.next(&mut buffer).unwrap() {
                found.push(response.to_vec());
            }
        }
        found
    }

    #[test]
    fn responses_end_behind_their_literals() {
        let lines: [&[u8]; 8] = [
            b"U01 MAILBOX {3+}\r\na\nb {3}\r\nh!p \"x\ty\t\"\r\n",
            b"U01 delete {1+}\r\n\n\r\n",
            b"U01 OK {2}\r\nok\r\n",
            b"Z NO Unknown COMPRESS algorithm: {3}\r\n",
            b"* FOO {3+}\r\n",
            b"* POINT {3+}\r\n",
            b"U01 POINT \"7\" {20+}\r\n\0\0\0\x01{3+}\r\n\nbcdefghij\r\n",
            b"U01 RESERVE \"a{3}\" \"h\"\n",
        ];
        assert_eq!(split(&lines.concat()), lines);
    }

    #[test]
    fn an_excess_is_an_error() {
        let limits = ResponseLimits {
            line_bytes_max: 32,
            literal_bytes_max: 8,
        };
        let next = |input: &[u8]| ResponseSplitter::new(limits).next(&mut BytesMut::from(input));
        assert_eq!(next(&[b'x'; 32]), Err(ResponseTooLong::Line { max: 32 }));
        assert_eq!(next(&[b'x'; 31]), Ok(None));
        let literal = ResponseTooLong::Literal { max: 8 };
        assert_eq!(next(b"U MAILBOX {9+}\r\n"), Err(literal));
        assert_eq!(next(b"U MAILBOX {8+}\r\n"), Ok(None));
        let next = |input: &[u8]| {
            ResponseSplitter::new(ResponseLimits::default()).next(&mut BytesMut::from(input))
        };
        let literal = ResponseTooLong::Literal { max: 65_536 };
        assert_eq!(next(b"U SUMS \"0\" {65537+}\r\n"), Err(literal));
        assert_eq!(next(b"U SUMS \"0\" {65536+}\r\n"), Ok(None));
    }
}
