//! The text inside records' values: `%(NAME VALUE …)`, with strings in the way of IMAP (format
//! document, section 8).

use thiserror::Error;

/// How deep lists may be nested; Cyrus itself goes to three.
const DEPTH_MAX: usize = 16;
/// Longer texts are written as literals.
const QUOTED_BYTES_MAX: usize = 1023;

/// A list of named values, in order.
pub type Pairs = Vec<(Vec<u8>, Value)>;

/// A value in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NIL`.
    Nil,
    /// An atom, a quoted string or a literal.
    Text(Vec<u8>),
    /// `%(NAME VALUE …)`.
    Pairs(Pairs),
    /// `(VALUE …)`.
    Items(Vec<Self>),
}

impl Value {
    /// The octets of a text.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nil | Self::Pairs(_) | Self::Items(_) => None,
        }
    }
}

/// Why a value can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} at {at}")]
pub struct InvalidDlist {
    /// Offset within the value.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// Reads a value that is one `%(NAME VALUE …)` and nothing else.
pub fn parse(value: &[u8]) -> Result<Pairs, InvalidDlist> {
    let mut parser = Parser { value, at: 0 };
    let pairs = match parser.value(0)? {
        Value::Pairs(pairs) => pairs,
        Value::Nil | Value::Text(_) | Value::Items(_) => {
            return Err(InvalidDlist {
                at: 0,
                what: "no %(",
            });
        }
    };
    if parser.at == value.len() {
        Ok(pairs)
    } else {
        Err(parser.error("something behind the list"))
    }
}

/// Appends a text as atom, quoted string or literal, the first of them that it fits, as Cyrus does.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let quotable = |octet: u8| !matches!(octet, b'"' | b'%' | b'\\' | b'\r' | b'\n' | 0 | 0x80..);
    let atomic = |octet: u8| {
        quotable(octet) && !matches!(octet, 0..=0x1e | b' ' | b'(' | b')' | b'{' | b'*' | 0x7f)
    };
    let short = text.len() <= QUOTED_BYTES_MAX;
    if short && !text.is_empty() && text != b"NIL" && text.iter().all(|&octet| atomic(octet)) {
        out.extend_from_slice(text);
    } else if short && text.iter().all(|&octet| quotable(octet)) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}+}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
    }
}

struct Parser<'v> {
    value: &'v [u8],
    at: usize,
}

impl<'v> Parser<'v> {
    fn error(&self, what: &'static str) -> InvalidDlist {
        InvalidDlist { at: self.at, what }
    }

    fn rest(&self) -> &'v [u8] {
        self.value.get(self.at..).unwrap_or_default()
    }

    /// Goes over `token` if it comes next.
    fn skip(&mut self, token: &[u8]) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, InvalidDlist> {
        if depth > DEPTH_MAX {
            return Err(self.error("list nested too deep"));
        }
        if self.skip(b"%(") {
            let mut pairs = Vec::new();
            while !self.skip(b")") {
                let name = self.text()?;
                if !self.skip(b" ") {
                    return Err(self.error("no space behind a name"));
                }
                pairs.push((name, self.value(depth + 1)?));
                self.separator()?;
            }
            return Ok(Value::Pairs(pairs));
        }
        if self.skip(b"(") {
            let mut items = Vec::new();
            while !self.skip(b")") {
                items.push(self.value(depth + 1)?);
                self.separator()?;
            }
            return Ok(Value::Items(items));
        }
        let start = self.at;
        let text = self.text()?;
        let word = self.value.get(start..self.at).unwrap_or_default();
        Ok(if word == b"NIL" {
            Value::Nil
        } else {
            Value::Text(text)
        })
    }

    /// Between two values a space; the `)` is left for the caller.
    fn separator(&mut self) -> Result<(), InvalidDlist> {
        if self.skip(b" ") || self.rest().starts_with(b")") {
            Ok(())
        } else {
            Err(self.error("no space behind a value"))
        }
    }

    fn text(&mut self) -> Result<Vec<u8>, InvalidDlist> {
        if self.skip(b"\"") {
            return self.quoted();
        }
        if self.skip(b"{") {
            return self.literal();
        }
        let rest = self.rest();
        let ends = |octet: &u8| matches!(octet, b' ' | b'(' | b')' | b'"' | b'\r' | b'\n' | 0);
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        if len == 0 {
            return Err(self.error("no text"));
        }
        self.at += len;
        Ok(rest.get(..len).unwrap_or_default().to_vec())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, InvalidDlist> {
        let mut text = Vec::new();
        let mut escaped = false;
        for &octet in self.rest() {
            self.at += 1;
            match octet {
                b'"' if !escaped => return Ok(text),
                b'\\' if !escaped => escaped = true,
                other => {
                    text.push(other);
                    escaped = false;
                }
            }
        }
        Err(self.error("no closing quote"))
    }

    fn literal(&mut self) -> Result<Vec<u8>, InvalidDlist> {
        let rest = self.rest();
        let digits = rest
            .iter()
            .take_while(|octet| octet.is_ascii_digit())
            .count();
        let number = rest.get(..digits).unwrap_or_default();
        let len = std::str::from_utf8(number)
            .ok()
            .and_then(|number| number.parse().ok());
        let len: usize = len.ok_or_else(|| self.error("no length of a literal"))?;
        self.at += digits;
        self.skip(b"+");
        if !self.skip(b"}\r\n") {
            return Err(self.error("no end of a literal's length"));
        }
        let text = self.rest().get(..len);
        let text = text
            .ok_or_else(|| self.error("literal is cut off"))?
            .to_vec();
        self.at += len;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_cyrus_writes_them_and_read_back() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"", b"\"\""),
            (b"alice", b"alice"),
            (b"-carol", b"-carol"),
            (b"NIL", b"\"NIL\""),
            (b"user with space", b"\"user with space\""),
            (b"p(1)%", b"{5+}\r\np(1)%"),
            (b"we\"ird", b"{6+}\r\nwe\"ird"),
            (b"\xc3\xa4", b"{2+}\r\n\xc3\xa4"),
            (b"a\x1fb", b"a\x1fb"),
        ];
        for (text, written) in cases {
            let mut out = Vec::new();
            write_text(text, &mut out);
            assert_eq!(out, written, "{}", text.escape_ascii());
            let list = [b"%(X ", out.as_slice(), b")"].concat();
            let expected = vec![(b"X".to_vec(), Value::Text(text.to_vec()))];
            assert_eq!(parse(&list).unwrap(), expected);
        }
    }

    #[test]
    fn nested_lists_and_nil() {
        let pairs = parse(b"%(T er I NIL A %(a lrs b \"\") H (x y))").unwrap();
        assert_eq!(pairs[0].1, Value::Text(b"er".to_vec()));
        assert_eq!(pairs[1].1, Value::Nil);
        let Value::Pairs(acl) = &pairs[2].1 else {
            panic!("{pairs:?}")
        };
        assert_eq!(acl[1], (b"b".to_vec(), Value::Text(Vec::new())));
        assert!(matches!(&pairs[3].1, Value::Items(items) if items.len() == 2));
    }

    #[test]
    fn broken_lists_are_refused_where_they_break() {
        for (text, at) in [
            ("", 0),
            ("x", 0),
            ("%(A", 3),
            ("%(A b", 5),
            ("%(A b) ", 6),
            ("%(A {9+}\r\nx)", 10),
            ("%(A {99999999999999999999}\r\nx)", 5),
            ("%(A \"b)", 7),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().at, at, "{text}");
        }
        let deep = b"%(A ".repeat(100_000);
        assert_eq!(parse(&deep).unwrap_err().what, "list nested too deep");
    }
}
