//! The stream of updates on a connection, compared by what it adds up to.

use anyhow::{Context as _, Result, bail, ensure};

use super::masks::escape;
use crate::listing::Listing;
use crate::response::Response;
use crate::wait::PATIENCE;
use crate::wire::Wire;

#[derive(Debug)]
pub(super) struct Stream {
    tag: Vec<u8>,
    recorded: Listing,
    actual: Listing,
    /// Recorded lines of a response that is not complete yet.
    partial: Vec<u8>,
    /// Whether recorded updates were taken over that the server may not have sent yet.
    waits: bool,
}

impl Stream {
    /// Begins with a dump, which was compared line by line.
    pub(super) fn start(tag: &[u8], dump: &[u8]) -> Result<Self> {
        let mut listing = Listing::default();
        let mut rest = dump;
        while let Some((response, length)) = Response::parse(rest)? {
            listing.apply(&response)?;
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(Self {
            tag: tag.to_vec(),
            recorded: listing.clone(),
            actual: listing,
            partial: Vec::new(),
            waits: false,
        })
    }

    pub(super) fn expect(&mut self, line: &[u8], wire: &mut Wire) -> Result<()> {
        self.partial.extend_from_slice(line);
        let Some((recorded, _)) = Response::parse(&self.partial)? else {
            return Ok(());
        };
        self.partial.clear();
        if recorded.tag == self.tag && self.recorded.apply(&recorded)? {
            self.waits = true;
            return Ok(());
        }
        // The answer to a command: everything before it must have been sent before it.
        self.waits = false;
        loop {
            let actual = wire
                .response()?
                .with_context(|| format!("closed instead of {}", escape(&recorded.raw)))?;
            if self.take(&actual)? {
                continue;
            }
            ensure!(
                actual == recorded,
                "expected {}, got {}",
                escape(&recorded.raw),
                escape(&actual.raw)
            );
            return self.compare();
        }
    }

    /// Waits for the updates that were recorded outside of any command.
    pub(super) fn settle(&mut self, wire: &mut Wire) -> Result<()> {
        while self.waits && self.recorded != self.actual {
            let Some(actual) = wire.response_within(PATIENCE)? else {
                return self.compare();
            };
            ensure!(self.take(&actual)?, "unexpected {}", escape(&actual.raw));
        }
        self.waits = false;
        Ok(())
    }

    /// Judges what came before the end of the connection.
    pub(super) fn end(&mut self, mut rest: &[u8]) -> Result<()> {
        while let Some((actual, length)) = Response::parse(rest)? {
            ensure!(self.take(&actual)?, "unexpected {}", escape(&actual.raw));
            rest = rest.get(length..).unwrap_or_default();
        }
        ensure!(rest.is_empty(), "ended within {}", escape(rest));
        self.compare()
    }

    /// Takes over an update; `false` for anything else.
    fn take(&mut self, actual: &Response) -> Result<bool> {
        if !matches!(actual.word.as_str(), "MAILBOX" | "RESERVE" | "DELETE") {
            return Ok(false);
        }
        ensure!(
            actual.tag == self.tag,
            "an update with another tag: {}",
            escape(&actual.raw)
        );
        ensure!(
            canonical(actual) == actual.raw,
            "an update in another form: {}",
            escape(&actual.raw)
        );
        self.actual.apply(actual)
    }

    fn compare(&self) -> Result<()> {
        if self.actual == self.recorded {
            return Ok(());
        }
        bail!(
            "the stream adds up to {:?} instead of {:?}",
            self.actual,
            self.recorded
        )
    }
}

/// How Cyrus writes an update: every string is a literal.
fn canonical(update: &Response) -> Vec<u8> {
    let mut out = [update.tag.as_slice(), b" ", update.word.as_bytes()].concat();
    for argument in &update.arguments {
        out.extend_from_slice(format!(" {{{}+}}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
    }
    out.extend_from_slice(b"\r\n");
    out
}
