//! Throwing away the rest of a bad command.

use bytes::{Buf, BytesMut};

/// Reads to the LF that ends a bad command. On the way the contents of a `{n+}` literal are skipped
/// whole, since the peer has sent them whatever we think of the command; those of a `{n}` literal
/// are not, since the peer waits for a go-ahead that never comes (Cyrus does the same).
#[derive(Debug, Clone, Copy)]
pub(super) struct Discard {
    /// Octets to drop unread.
    unread: usize,
    /// Octets of the line that may still come.
    line_bytes_left: usize,
    literal_bytes_max: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Text,
    /// After `{` and some digits.
    Size(usize),
    /// After `{n+`.
    Plus(usize),
    /// After `{n+}`.
    Close(usize),
    /// After `{n+}` CR.
    Return(usize),
}

/// How far a [`Discard`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The buffer is empty, the command goes on.
    Incomplete,
    /// The command is gone; the buffer begins with the next.
    Finished,
    LineTooLong,
    LiteralTooLong,
}

impl Discard {
    /// To drop `unread` octets and then to the end of the line.
    pub(super) fn new(unread: usize, line_bytes_left: usize, literal_bytes_max: usize) -> Self {
        Self {
            unread,
            line_bytes_left,
            literal_bytes_max,
            state: State::Text,
        }
    }

    pub(super) fn feed(&mut self, buffer: &mut BytesMut) -> Progress {
        loop {
            let dropped = self.unread.min(buffer.len());
            buffer.advance(dropped);
            self.unread -= dropped;
            let visible = self.line_bytes_left.min(buffer.len());
            let line = buffer.get(..visible).unwrap_or_default();
            let (read, stop) = self.scan(line);
            buffer.advance(read);
            self.line_bytes_left -= read;
            match stop {
                Some(Stop::Literal) => {}
                Some(Stop::End) => return Progress::Finished,
                Some(Stop::LiteralTooLong) => return Progress::LiteralTooLong,
                None if self.line_bytes_left == 0 && self.unread == 0 => {
                    return Progress::LineTooLong;
                }
                None => return Progress::Incomplete,
            }
        }
    }

    /// Octets read, and why no more.
    fn scan(&mut self, line: &[u8]) -> (usize, Option<Stop>) {
        for (at, &octet) in line.iter().enumerate() {
            let stop = self.step(octet);
            if stop.is_some() {
                return (at + 1, stop);
            }
        }
        (line.len(), None)
    }

    fn step(&mut self, octet: u8) -> Option<Stop> {
        self.state = match (self.state, octet) {
            (State::Return(size), b'\n') if size <= self.literal_bytes_max => {
                self.unread = size;
                self.state = State::Text;
                return Some(Stop::Literal);
            }
            (State::Return(_), b'\n') => return Some(Stop::LiteralTooLong),
            (_, b'\n') => return Some(Stop::End),
            (_, b'{') => State::Size(0),
            (State::Size(size), b'0'..=b'9') => State::Size(
                size.saturating_mul(10)
                    .saturating_add(usize::from(octet - b'0')),
            ),
            (State::Size(size), b'+') => State::Plus(size),
            (State::Plus(size), b'}') => State::Close(size),
            (State::Close(size), b'\r') => State::Return(size),
            (_, _) => State::Text,
        };
        None
    }
}

enum Stop {
    End,
    Literal,
    LiteralTooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discard(input: &[u8]) -> (Progress, Vec<u8>) {
        let mut buffer = BytesMut::from(input);
        let progress = Discard::new(0, 64, 20).feed(&mut buffer);
        (progress, buffer.to_vec())
    }

    #[test]
    fn ends_after_the_line_and_its_own_literals() {
        let finished = |rest: &[u8]| (Progress::Finished, rest.to_vec());
        assert_eq!(discard(b"x y\r\nnext"), finished(b"next"));
        assert_eq!(discard(b"{3+}\r\na\nb\r\nnext"), finished(b"next"));
        assert_eq!(
            discard(b"{3+}\r\na\nb {2+}\r\n\n\n\nnext"),
            finished(b"next")
        );
        assert_eq!(discard(b"{3}\r\nabc\r\n"), finished(b"abc\r\n"));
        assert_eq!(discard(b"{3+}\nabc\r\n"), finished(b"abc\r\n"));
        assert_eq!(discard(b"{3+} \r\nabc\r\n"), finished(b"abc\r\n"));
    }

    #[test]
    fn is_bounded() {
        assert_eq!(discard(b"{21+}\r\n").0, Progress::LiteralTooLong);
        assert_eq!(discard(&[b'x'; 64]).0, Progress::LineTooLong);
        assert_eq!(discard(&[b'x'; 63]).0, Progress::Incomplete);
    }
}
