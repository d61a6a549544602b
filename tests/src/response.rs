//! What a server says, in parsed form.

use anyhow::{Context as _, Result, bail};

/// One response: `tag WORD argument…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The tag, or `*`.
    pub tag: Vec<u8>,
    /// The word after it, in capitals.
    pub word: String,
    /// Its strings; the bare text of some answers is one argument here.
    pub arguments: Vec<Vec<u8>>,
    /// All octets, as they came.
    pub raw: Vec<u8>,
}

impl Response {
    /// Reads one response from the beginning of `inbox`; `None` while it is not complete. Also says how many octets
    /// it has.
    ///
    /// # Errors
    ///
    /// When a literal announces nonsense.
    pub fn parse(inbox: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some(length) = length_of(inbox)? else {
            return Ok(None);
        };
        let raw = inbox.get(..length).unwrap_or_default();
        let body = raw.strip_suffix(b"\n").unwrap_or(raw);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let (tag, rest) = split_at_space(body);
        let (word, rest) = split_at_space(rest);
        let word = String::from_utf8_lossy(word).to_ascii_uppercase();
        let arguments =
            arguments(rest).with_context(|| format!("in {:?}", String::from_utf8_lossy(raw)))?;
        Ok(Some((
            Self {
                tag: tag.to_vec(),
                word,
                arguments,
                raw: raw.to_vec(),
            },
            length,
        )))
    }

    /// The first argument as text: what the server has to say about an OK, NO, BAD or BYE.
    pub fn text(&self) -> String {
        self.arguments
            .first()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    }

    /// Whether it is the answer to the command with this tag, as opposed to data.
    pub fn ends(&self, tag: &str) -> bool {
        self.tag == tag.as_bytes() && matches!(self.word.as_str(), "OK" | "NO" | "BAD")
    }
}

/// How many octets the response at the beginning of `inbox` has, literals included.
fn length_of(inbox: &[u8]) -> Result<Option<usize>> {
    let mut position = 0;
    loop {
        let rest = inbox.get(position..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&octet| octet == b'\n') else {
            return Ok(None);
        };
        let line = rest.get(..end).unwrap_or_default();
        position += end + 1;
        match literal_length(line)? {
            None => return Ok(Some(position)),
            Some(length) => position += length,
        }
        if position > inbox.len() {
            return Ok(None);
        }
    }
}

/// The size that a line announces with a literal at its end.
fn literal_length(line: &[u8]) -> Result<Option<usize>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(line) = line.strip_suffix(b"}") else {
        return Ok(None);
    };
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let digits = line
        .iter()
        .rev()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let Some((head, digits)) = line.split_at_checked(line.len() - digits) else {
        return Ok(None);
    };
    if digits.is_empty() || head.last() != Some(&b'{') {
        return Ok(None);
    }
    let length = std::str::from_utf8(digits)?
        .parse()
        .context("size of a literal")?;
    Ok(Some(length))
}

fn split_at_space(octets: &[u8]) -> (&[u8], &[u8]) {
    match octets.iter().position(|&octet| octet == b' ') {
        Some(at) => (
            octets.get(..at).unwrap_or_default(),
            octets.get(at + 1..).unwrap_or_default(),
        ),
        None => (octets, &[]),
    }
}

fn arguments(mut rest: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while let Some(&first) = rest.first() {
        match first {
            b'"' => {
                let (value, after) = quoted(rest.get(1..).unwrap_or_default())?;
                found.push(value);
                rest = after;
            }
            b'{' => {
                let end = rest
                    .iter()
                    .position(|&octet| octet == b'\n')
                    .context("a literal without its line")?;
                let (head, data) = rest
                    .split_at_checked(end + 1)
                    .context("a literal without its data")?;
                let length = literal_length(head.strip_suffix(b"\n").unwrap_or(head))?
                    .context("odd literal")?;
                let (value, after) = data
                    .split_at_checked(length)
                    .context("a literal without all its data")?;
                found.push(value.to_vec());
                rest = after;
            }
            // Some answers of Cyrus are bare text.
            _ => {
                found.push(rest.to_vec());
                rest = &[];
            }
        }
        rest = match rest.split_first() {
            None => rest,
            Some((b' ', after)) => after,
            Some(_) => bail!("no space between two strings"),
        };
    }
    Ok(found)
}

fn quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Ok((value, after)),
            [b'\\', octet, after @ ..] | [octet, after @ ..] => {
                value.push(*octet);
                rest = after;
            }
            [] => bail!("a quoted string without its end"),
        }
    }
}
