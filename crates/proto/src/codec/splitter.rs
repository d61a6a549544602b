//! Finding the end of a command before it is parsed.

use bytes::BytesMut;

use super::command::{Dialect, Shape, is_mechanism_octet};
use super::discard::{Discard, Progress};
use super::header::{Header, HeaderStep};
use super::limits::{CommandLimits, Limits};
use super::split::{Fault, Split, TooLong};

/// Finds commands in a stream of octets, over quoted strings and `{n}` or `{n+}` literals, under
/// limits (RFC 3656 section 2; what is a fault, and where, as in Cyrus 3.6.1).
///
/// Every octet is looked at once, however the input is cut into pieces: the splitter remembers where
/// it stopped. What a command's arguments may look like depends on its verb, so it asks
/// ([`Split::Head`]) and must be answered by [`Splitter::accept`] or [`Splitter::refuse`].
#[derive(Debug)]
pub struct Splitter {
    tag_bytes_max: usize,
    limits: CommandLimits,
    state: State,
    /// Offset of the first octet not looked at, from the start of the command.
    at: usize,
    /// Contents of the command's literals so far, in octets.
    literals_bytes: usize,
    /// Arguments that are complete.
    arguments: usize,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Tag,
    Word {
        tag_bytes: usize,
    },
    /// Waits for `accept` or `refuse`.
    Judged,
    /// Behind the word or an argument.
    Separator,
    /// At an argument's first octet.
    Argument,
    Atom,
    /// Behind the `=` of `={0+}`.
    Equals {
        start: usize,
    },
    Quoted {
        start: usize,
    },
    Escaped {
        start: usize,
    },
    Header {
        header: Header,
        /// Where the `=` of `={0+}` is.
        equals: Option<usize>,
    },
    Literal {
        end: usize,
    },
    /// Behind CR.
    LineFeed,
    Discard(Discard),
}

enum Flow {
    Again,
    Starved,
    Found(Split),
}

impl Splitter {
    /// At the start of a command, with the bounds of a peer that has not logged in.
    pub fn new(limits: &Limits) -> Self {
        Self {
            tag_bytes_max: limits.tag_bytes_max,
            limits: limits.before_login,
            state: State::Tag,
            at: 0,
            literals_bytes: 0,
            arguments: 0,
            shape: NO_ARGUMENTS,
        }
    }

    /// Sets the bounds of commands from the next on.
    pub fn set_limits(&mut self, limits: CommandLimits) {
        self.limits = limits;
    }

    /// Forgets what was seen of a command that the caller has removed.
    pub fn restart(&mut self) {
        self.state = State::Tag;
        self.at = 0;
        self.literals_bytes = 0;
        self.arguments = 0;
        self.shape = NO_ARGUMENTS;
    }

    /// Answers [`Split::Head`]: the command is known, and this is how it goes on.
    pub fn accept(&mut self, shape: Shape) {
        self.shape = shape;
        self.state = State::Separator;
    }

    /// Answers [`Split::Head`]: the rest of the command is to be thrown away.
    pub fn refuse(&mut self) {
        self.discard_from(self.at);
    }

    /// What the buffer holds. To be called again until it says [`Split::Incomplete`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Split {
        if let State::Discard(discard) = &mut self.state {
            match discard.feed(buffer) {
                Progress::Finished => self.restart(),
                Progress::Incomplete => return Split::Incomplete,
                Progress::LineTooLong => return Split::TooLong(TooLong::Line),
                Progress::LiteralTooLong => return Split::TooLong(TooLong::Literal),
            }
        }
        loop {
            // What lies beyond the limit stays unseen, so that the outcome does not depend on how
            // the input was cut into pieces.
            let limit = self.limits.line_bytes_max + self.literals_bytes;
            let visible = buffer.get(..limit.min(buffer.len())).unwrap_or_default();
            match self.step(visible) {
                Flow::Again => {}
                Flow::Found(split) => return split,
                Flow::Starved if buffer.len() >= limit => return Split::TooLong(TooLong::Line),
                Flow::Starved => return Split::Incomplete,
            }
        }
    }

    /// What is wrong with the command that the end of input cuts off. `None` where Cyrus closes
    /// without a word: before the command word has ended.
    pub fn cut_off(&self) -> Option<Fault> {
        match self.state {
            State::Tag | State::Word { .. } | State::Judged | State::Discard(_) => None,
            State::Separator if self.arguments < self.shape.needed => Some(Fault::MissingArguments),
            State::Separator | State::LineFeed => Some(Fault::ExtraArguments),
            State::Argument
            | State::Atom
            | State::Equals { .. }
            | State::Quoted { .. }
            | State::Escaped { .. }
            | State::Header { .. }
            | State::Literal { .. } => Some(self.malformed_fault()),
        }
    }

    fn step(&mut self, input: &[u8]) -> Flow {
        match self.state {
            State::Tag => self.tag(input),
            State::Word { tag_bytes } => self.word(input, tag_bytes),
            State::Judged | State::Discard(_) => Flow::Starved,
            State::Separator => self.separator(input),
            State::Argument => self.argument(input),
            State::Atom => self.atom(input),
            State::Equals { start } => self.equals(input, start),
            State::Quoted { start } => self.quoted(input, start),
            State::Escaped { start } => self.escaped(input, start),
            State::Header { header, equals } => self.header(input, header, equals),
            State::Literal { end } => self.literal(input, end),
            State::LineFeed => match input.get(self.at) {
                Some(b'\n') => self.whole(),
                Some(_) => self.broken(Fault::ExtraArguments, self.at),
                None => Flow::Starved,
            },
        }
    }

    fn tag(&mut self, input: &[u8]) -> Flow {
        let end = self.word_end(input);
        if end.unwrap_or(input.len()) > self.tag_bytes_max {
            return Flow::Found(Split::TooLong(TooLong::Tag));
        }
        match end {
            Some(end) if input.get(end) == Some(&b' ') => {
                self.at = end + 1;
                self.state = State::Word { tag_bytes: end };
                Flow::Again
            }
            Some(end) => self.broken(Fault::NeedCommand, end),
            None => self.starved(input),
        }
    }

    fn word(&mut self, input: &[u8], tag_bytes: usize) -> Flow {
        let Some(end) = self.word_end(input) else {
            return self.starved(input);
        };
        self.at = end;
        self.state = State::Judged;
        Flow::Found(Split::Head {
            tag: 0..tag_bytes,
            word: tag_bytes + 1..end,
        })
    }

    fn separator(&mut self, input: &[u8]) -> Flow {
        let complete = self.arguments >= self.shape.needed;
        match input.get(self.at) {
            None => Flow::Starved,
            Some(b' ') if self.arguments < self.shape.most => self.go(State::Argument),
            Some(b'\r') if complete => self.go(State::LineFeed),
            Some(b'\n') if complete => self.whole(),
            Some(_) if complete => self.broken(Fault::ExtraArguments, self.at),
            Some(_) => self.broken(Fault::MissingArguments, self.at),
        }
    }

    fn argument(&mut self, input: &[u8]) -> Flow {
        let Some(&first) = input.get(self.at) else {
            return Flow::Starved;
        };
        let start = self.at;
        match (self.shape.dialect, self.arguments, first) {
            (_, _, b'"') => self.go(State::Quoted { start: start + 1 }),
            (_, _, b'{') => self.go(State::Header {
                header: Header::default(),
                equals: None,
            }),
            (Dialect::Authenticate, 1, b'=') => self.go(State::Equals { start }),
            (Dialect::Authenticate, 0, octet) if is_mechanism_octet(octet) => self.go(State::Atom),
            (_, _, _) => self.malformed(start),
        }
    }

    fn atom(&mut self, input: &[u8]) -> Flow {
        match self.find(input, |octet| !is_mechanism_octet(octet)) {
            Some(end) => {
                self.at = end;
                self.argument_done(false)
            }
            None => self.starved(input),
        }
    }

    fn equals(&mut self, input: &[u8], start: usize) -> Flow {
        match input.get(self.at) {
            None => Flow::Starved,
            Some(b'{') => self.go(State::Header {
                header: Header::default(),
                equals: Some(start),
            }),
            Some(_) => self.malformed(start),
        }
    }

    fn quoted(&mut self, input: &[u8], start: usize) -> Flow {
        let Some(end) = self.find(input, |octet| matches!(octet, b'"' | b'\\' | b'\r' | b'\n'))
        else {
            return self.starved(input);
        };
        match input.get(end) {
            Some(b'"') => {
                let contents = input.get(start..end).unwrap_or_default();
                self.at = end + 1;
                // A NUL ends the value, so one at its start leaves nothing.
                self.argument_done(matches!(contents, [] | [0, ..] | [b'\\', 0, ..]))
            }
            Some(b'\\') => {
                self.at = end;
                self.go(State::Escaped { start })
            }
            _ => self.malformed(end),
        }
    }

    fn escaped(&mut self, input: &[u8], start: usize) -> Flow {
        match input.get(self.at) {
            None => Flow::Starved,
            Some(b'\r' | b'\n') => self.malformed(self.at),
            Some(_) => self.go(State::Quoted { start }),
        }
    }

    fn header(&mut self, input: &[u8], mut header: Header, equals: Option<usize>) -> Flow {
        let Some(&octet) = input.get(self.at) else {
            return Flow::Starved;
        };
        match header.step(octet) {
            HeaderStep::Malformed => self.malformed(self.at),
            HeaderStep::Again => self.go(State::Header { header, equals }),
            HeaderStep::Complete { size, awaited } => {
                self.at += 1;
                match equals {
                    Some(start) if size != 0 => self.malformed(start),
                    _ => self.literal_begins(size, awaited),
                }
            }
        }
    }

    fn literal_begins(&mut self, size: usize, awaited: bool) -> Flow {
        let fits = size <= self.limits.literal_bytes_max
            && self.literals_bytes + size <= self.limits.literals_bytes_max;
        match (fits, awaited) {
            (true, _) => {
                self.literals_bytes += size;
                let end = self.at + size;
                self.state = State::Literal { end };
                if awaited {
                    Flow::Found(Split::GoAhead)
                } else {
                    Flow::Again
                }
            }
            // Nothing is on its way yet. Like Cyrus, the next line goes with this command: a peer
            // that did not wait has put the contents there.
            (false, true) => self.malformed(self.at),
            (false, false) => Flow::Found(Split::TooLong(TooLong::Literal)),
        }
    }

    fn literal(&mut self, input: &[u8], end: usize) -> Flow {
        let Some(contents) = input.get(self.at..end) else {
            return Flow::Starved;
        };
        let (empty, has_nul) = (contents.is_empty(), memchr::memchr(0, contents).is_some());
        self.at = end;
        if has_nul && self.shape.dialect != Dialect::Binary {
            return self.malformed(end);
        }
        self.argument_done(empty)
    }

    fn argument_done(&mut self, empty: bool) -> Flow {
        if empty && self.shape.dialect == Dialect::Hosts {
            return self.malformed(self.at);
        }
        self.arguments += 1;
        self.state = State::Separator;
        Flow::Again
    }

    fn whole(&mut self) -> Flow {
        let len = self.at + 1;
        self.restart();
        Flow::Found(Split::Whole { len })
    }

    fn malformed(&mut self, from: usize) -> Flow {
        self.broken(self.malformed_fault(), from)
    }

    fn malformed_fault(&self) -> Fault {
        match self.shape.dialect {
            _ if self.arguments + 1 < self.shape.needed => Fault::MissingArguments,
            Dialect::Hosts => Fault::BadlyFormedArguments,
            Dialect::Strings | Dialect::Authenticate | Dialect::Binary => Fault::ExtraArguments,
        }
    }

    fn broken(&mut self, fault: Fault, from: usize) -> Flow {
        self.discard_from(from);
        Flow::Found(Split::Broken(fault))
    }

    fn discard_from(&mut self, from: usize) {
        let line_bytes = from.saturating_sub(self.literals_bytes);
        let left = self.limits.line_bytes_max.saturating_sub(line_bytes);
        self.state = State::Discard(Discard::new(from, left, self.limits.literal_bytes_max));
    }

    fn go(&mut self, state: State) -> Flow {
        self.at += 1;
        self.state = state;
        Flow::Again
    }

    fn starved(&mut self, input: &[u8]) -> Flow {
        self.at = input.len();
        Flow::Starved
    }

    fn word_end(&self, input: &[u8]) -> Option<usize> {
        self.find(input, |octet| {
            matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b'"')
        })
    }

    fn find(&self, input: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
        let unseen = input.get(self.at..)?;
        unseen
            .iter()
            .position(|&octet| wanted(octet))
            .map(|found| self.at + found)
    }
}

const NO_ARGUMENTS: Shape = Shape {
    needed: 0,
    most: 0,
    dialect: Dialect::Strings,
};
