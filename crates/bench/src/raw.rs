//! A connection that has logged in, spoken to in octets: nothing is made or parsed for each line.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use memchr::memchr;
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transport::Stream;

use crate::error::Error;
use crate::number::count;

/// A connection, with what has been read of it and not been looked at.
pub struct Raw {
    stream: Stream,
    server: Arc<str>,
    input: BytesMut,
    read: u64,
    quick: Option<socket2::Socket>,
}

/// A line of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// OK, behind the tag.
    Ok,
    /// NO or BAD behind the tag, or BYE.
    Refused,
    /// Anything else: data, or the middle of a literal.
    Data,
}

impl Raw {
    /// Over a stream on which `octets` have been read already. `quick` is a second handle of the same socket, by which
    /// every answer is acknowledged at once: a server that leaves Nagle's algorithm on (Cyrus's) would otherwise wait
    /// 40 ms for an ACK now and then, which says nothing of the server.
    pub fn new(
        stream: Stream,
        octets: &[u8],
        server: Arc<str>,
        quick: Option<socket2::Socket>,
    ) -> Self {
        // Needles begin with the end of the line before, and the first line has none.
        let mut input = BytesMut::from(&b"\n"[..]);
        input.extend_from_slice(octets);
        Self {
            stream,
            server,
            input,
            read: 0,
            quick,
        }
    }

    /// Sends octets.
    pub async fn send(&mut self, octets: &[u8], doing: &'static str) -> Result<(), Error> {
        let sent = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|cause| Error::Broken {
            server: self.server.clone(),
            doing,
            cause,
        })
    }

    /// Waits for more input.
    pub async fn fill(&mut self, doing: &'static str) -> Result<(), Error> {
        self.input.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.input).await;
        if let Some(socket) = &self.quick {
            // A server must not wait for us; where the system does not know it, the figures are a little worse.
            socket.set_tcp_quickack(true).unwrap_or_default();
        }
        let server = || self.server.clone();
        match read {
            Ok(0) => Err(Error::Closed {
                server: server(),
                doing,
            }),
            Ok(read) => {
                self.read += count(read);
                Ok(())
            }
            Err(cause) => Err(Error::Broken {
                server: server(),
                doing,
                cause,
            }),
        }
    }

    /// Waits for more input, takes at most so many octets, and throws them away.
    pub async fn sip(&mut self, octets: usize, doing: &'static str) -> Result<(), Error> {
        let mut buffer = vec![0; octets.max(1)];
        match self.stream.read(&mut buffer).await {
            Ok(0) => Err(Error::Closed {
                server: self.server.clone(),
                doing,
            }),
            Ok(read) => {
                self.read += count(read);
                Ok(())
            }
            Err(cause) => Err(Error::Broken {
                server: self.server.clone(),
                doing,
                cause,
            }),
        }
    }

    /// Octets that have been read so far.
    pub fn octets(&self) -> u64 {
        self.read
    }

    /// Sends one command and waits for its OK.
    pub async fn command(
        &mut self,
        octets: &[u8],
        tag: &str,
        doing: &'static str,
    ) -> Result<(), Error> {
        self.send(octets, doing).await?;
        self.answered(tag, doing).await
    }

    /// Waits for the OK of a command.
    pub async fn answered(&mut self, tag: &str, doing: &'static str) -> Result<(), Error> {
        loop {
            if self.answers(tag, 1, doing)? == 1 {
                return Ok(());
            }
            self.fill(doing).await?;
        }
    }

    /// How many OKs of commands with this tag there are in what has been read, at most so many; they are taken out.
    pub fn answers(&mut self, tag: &str, most: u64, doing: &'static str) -> Result<u64, Error> {
        let (mut found, mut at) = (0, 0);
        while found < most {
            let rest = self.input.get(at..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                break;
            };
            let line = rest.get(..end).unwrap_or_default();
            match classify(line, tag.as_bytes()) {
                Line::Ok => found += 1,
                Line::Data => {}
                Line::Refused => {
                    let line = String::from_utf8_lossy(line).trim_end().to_owned();
                    return Err(Error::Refused {
                        server: self.server.clone(),
                        doing,
                        line,
                    });
                }
            }
            at += end + 1;
        }
        self.input.advance(at);
        Ok(found)
    }

    /// Reads until `needle` has gone by, and throws all of it away.
    pub async fn seek(&mut self, needle: &Finder<'_>, doing: &'static str) -> Result<(), Error> {
        loop {
            if self.passed(needle) {
                return Ok(());
            }
            self.fill(doing).await?;
        }
    }

    /// Whether `needle` is in what has been read; all before its end, or what can't be its begin, is thrown away.
    pub fn passed(&mut self, needle: &Finder<'_>) -> bool {
        let octets = needle.needle().len();
        if let Some(at) = needle.find(&self.input) {
            self.input.advance(at + octets);
            return true;
        }
        let keep = octets.saturating_sub(1).min(self.input.len());
        self.input.advance(self.input.len() - keep);
        false
    }

    /// Everything read and not looked at, for whoever parses it.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }
}

/// What a line, without its LF, means to commands with this tag.
fn classify(line: &[u8], tag: &[u8]) -> Line {
    let Some(word) = line
        .strip_prefix(tag)
        .and_then(|rest| rest.strip_prefix(b" "))
    else {
        return if line.starts_with(b"* BYE") || line.starts_with(b"* BAD") {
            Line::Refused
        } else {
            Line::Data
        };
    };
    if word.starts_with(b"OK") {
        Line::Ok
    } else if [&b"NO"[..], b"BAD", b"BYE"]
        .iter()
        .any(|bad| word.starts_with(bad))
    {
        Line::Refused
    } else {
        Line::Data
    }
}

const READ_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for (line, expected) in [
            ("A OK \"done\"\r", Line::Ok),
            ("A NO \"no\"\r", Line::Refused),
            ("A BAD \"bad\"\r", Line::Refused),
            ("* BYE \"x\"\r", Line::Refused),
            ("A MAILBOX {3+}\r", Line::Data),
            ("AA OK \"other\"\r", Line::Data),
            ("B OK \"other\"\r", Line::Data),
            ("", Line::Data),
        ] {
            assert_eq!(classify(line.as_bytes(), b"A"), expected, "{line}");
        }
    }

    async fn pair() -> (Raw, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let raw = Raw::new(Stream::from_tcp(near), b"", "test".into(), None);
        (raw, far)
    }

    #[tokio::test]
    async fn needles_are_found_wherever_reads_are_cut() {
        let text = b"U01 MAILBOX x\r\nU01 OK \"done\"\r\nU01 MAILBOX y\r\nN OK \"done\"\r\n";
        let (end, noop) = (Finder::new(b"\nU01 OK "), Finder::new(b"\nN OK "));
        for cut in 1..text.len() {
            let (mut raw, mut far) = pair().await;
            let (one, two) = text.split_at(cut);
            far.write_all(one).await.unwrap();
            let sending = async {
                tokio::task::yield_now().await;
                far.write_all(two).await.unwrap();
            };
            let reading = async {
                raw.seek(&end, "UPDATE").await.unwrap();
                raw.seek(&noop, "NOOP").await.unwrap();
            };
            tokio::join!(sending, reading);
        }
    }

    #[tokio::test]
    async fn a_needle_may_be_the_first_line() {
        let (mut raw, mut far) = pair().await;
        far.write_all(b"U01 OK \"done\"\r\n").await.unwrap();
        raw.seek(&Finder::new(b"\nU01 OK "), "UPDATE")
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn answers_are_counted_and_a_no_is_an_error() {
        let (mut raw, mut far) = pair().await;
        far.write_all(b"A OK \"1\"\r\nA OK \"2\"\r\nA O")
            .await
            .unwrap();
        raw.fill("test").await.unwrap();
        assert_eq!(raw.answers("A", 1, "test").unwrap(), 1);
        assert_eq!(raw.answers("A", 9, "test").unwrap(), 1);
        far.write_all(b"K \"3\"\r\nA NO \"why\"\r\n").await.unwrap();
        raw.answered("A", "test").await.unwrap();
        let error = raw.answered("A", "ACTIVATE").await.unwrap_err();
        assert!(
            error.to_string().contains("ACTIVATE answered with \"A NO"),
            "{error}"
        );
        drop(far);
        let error = raw.answered("A", "NOOP").await.unwrap_err();
        assert!(
            matches!(error, Error::Refused { .. } | Error::Closed { .. }),
            "{error}"
        );
    }
}
