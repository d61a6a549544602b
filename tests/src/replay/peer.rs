//! One connection of a replayed transcript.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::masks::{Masks, escape};
use super::stream::Stream;
use crate::cyrus::PASSWORD;
use crate::scram::{Hash, prove};
use crate::wire::Wire;

#[derive(Debug)]
pub(super) struct Peer {
    wire: Wire,
    scram: Scram,
    /// The tag of an UPDATE that was sent, until it is answered.
    update: Option<Vec<u8>>,
    /// The dump so far.
    dump: Vec<u8>,
    stream: Option<Stream>,
    broken: bool,
}

/// What a SCRAM exchange must remember: its messages depend on the server's nonce.
#[derive(Debug, Default)]
struct Scram {
    hash: Option<Hash>,
    client_first: String,
    server_first: String,
    server_final: String,
}

impl Peer {
    pub(super) fn connect(port: u16) -> Result<Self> {
        Ok(Self {
            wire: Wire::connect(port)?,
            scram: Scram::default(),
            update: None,
            dump: Vec::new(),
            stream: None,
            broken: false,
        })
    }

    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    pub(super) fn skip_greeting(&mut self) -> Result<()> {
        self.wire.greeting().map(drop)
    }

    pub(super) fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        self.wire.log_in(user, password)
    }

    pub(super) fn send(&mut self, octets: &[u8]) -> Result<()> {
        let mut words = octets.splitn(3, |octet| *octet == b' ');
        let (tag, word) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if self.stream.is_none() && word.starts_with(b"UPDATE") {
            self.update = Some(tag.to_vec());
        }
        let octets = self.scram.spoken(octets)?;
        // A server that has had enough may close while it is still being written to.
        if self.wire.send(&octets).is_err() {
            self.broken = true;
        }
        Ok(())
    }

    pub(super) fn expect(&mut self, recorded: &[u8], masks: &Masks) -> Result<()> {
        if let Some(stream) = &mut self.stream {
            return stream.expect(recorded, &mut self.wire);
        }
        let Some(actual) = self.wire.line()? else {
            bail!("the server closed instead of {}", escape(recorded))
        };
        if !masks.agree(recorded, &actual) && !self.scram.heard(recorded, &actual)? {
            bail!("expected {}, got {}", escape(recorded), escape(&actual));
        }
        if let Some(tag) = &self.update {
            self.dump.extend_from_slice(&actual);
            if actual.starts_with(&[tag, b" OK ".as_slice()].concat()) {
                self.stream = Some(Stream::start(tag, &self.dump)?);
            }
            // A refused UPDATE is none.
            if self.stream.is_some() || actual.starts_with(&[tag, b" BAD ".as_slice()].concat()) {
                self.update = None;
                self.dump.clear();
            }
        }
        Ok(())
    }

    /// The server must have closed.
    pub(super) fn end(&mut self) -> Result<()> {
        let rest = self.wire.rest()?;
        self.check_rest(&rest)
    }

    /// Everything that a stream was expected to say must have been said.
    pub(super) fn settle(&mut self) -> Result<()> {
        match &mut self.stream {
            Some(stream) => stream.settle(&mut self.wire),
            None => Ok(()),
        }
    }

    /// Nothing unexpected may be left when the client closes.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.broken || self.wire.half_close().is_err() {
            return Ok(());
        }
        self.end()
    }

    fn check_rest(&mut self, rest: &[u8]) -> Result<()> {
        if let Some(stream) = &mut self.stream {
            return stream.end(rest);
        }
        ensure!(rest.is_empty(), "said more than expected: {}", escape(rest));
        Ok(())
    }
}

impl Scram {
    /// What the client says here in this exchange.
    fn spoken(&mut self, recorded: &[u8]) -> Result<Vec<u8>> {
        let text = String::from_utf8_lossy(recorded);
        for (name, hash) in [
            ("\"SCRAM-SHA-1\"", Hash::Sha1),
            ("\"SCRAM-SHA-256\"", Hash::Sha256),
        ] {
            if text.contains(name) {
                self.hash = Some(hash);
            }
        }
        let message = text.lines().last().and_then(decode).unwrap_or_default();
        if let Some(bare) = message.strip_prefix("n,,") {
            bare.clone_into(&mut self.client_first);
        }
        if message.starts_with("c=biws,r=") {
            let hash = self.hash.context("a proof without a mechanism")?;
            let proof = prove(hash, PASSWORD, &self.client_first, &self.server_first)?;
            self.server_final = proof.server_final;
            return Ok(format!("{}\r\n", STANDARD.encode(proof.client_final)).into_bytes());
        }
        Ok(recorded.to_vec())
    }

    /// Whether the server said in this exchange what it said in the recorded one.
    fn heard(&mut self, recorded: &[u8], actual: &[u8]) -> Result<bool> {
        let message = |octets: &[u8]| decode(&String::from_utf8_lossy(octets)).unwrap_or_default();
        let (recorded, actual) = (message(recorded), message(actual));
        if recorded.starts_with("r=") {
            ensure!(
                actual.starts_with("r="),
                "the server's first message is {actual:?}"
            );
            self.server_first = actual;
            return Ok(true);
        }
        Ok(recorded.starts_with("v=") && actual == self.server_final)
    }
}

fn decode(line: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(line.trim_end()).ok()?).ok()
}
