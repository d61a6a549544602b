//! One end of a MUPDATE dialogue, octet by octet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::link::{Identity, Link};
use crate::listing::Listing;
use crate::response::Response;
use crate::wait::PATIENCE;

/// A connection of a test to a server.
#[derive(Debug)]
pub struct Wire {
    link: Link,
    inbox: Vec<u8>,
    ended: bool,
    commands: u32,
}

impl Wire {
    /// Connects and leaves the greeting to the caller.
    pub fn connect(port: u16) -> Result<Self> {
        Self::connect_to((Ipv4Addr::LOCALHOST, port).into())
    }

    /// As [`Self::connect`], with an address.
    pub fn connect_to(address: SocketAddr) -> Result<Self> {
        let link = Link::connect_to(address, READ_STEP)
            .with_context(|| format!("connect to {address}"))?;
        Ok(Self {
            link,
            inbox: Vec::new(),
            ended: false,
            commands: 0,
        })
    }

    /// Connects and reads the greeting.
    pub fn greeted(port: u16) -> Result<Self> {
        let mut wire = Self::connect(port)?;
        wire.greeting()?;
        Ok(wire)
    }

    /// Connects and logs in with PLAIN.
    pub fn logged_in(port: u16, user: &str, password: &str) -> Result<Self> {
        let mut wire = Self::greeted(port)?;
        wire.log_in(user, password)?;
        Ok(wire)
    }

    /// As [`Self::logged_in`], with an address.
    pub fn logged_in_at(address: SocketAddr, user: &str, password: &str) -> Result<Self> {
        let mut wire = Self::connect_to(address)?;
        wire.greeting()?;
        wire.log_in(user, password)?;
        Ok(wire)
    }

    /// The greeting, line by line, up to `* OK`.
    pub fn greeting(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self
                .line()?
                .context("closed before the greeting was complete")?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let last = text.starts_with("* OK ");
            ensure!(last || !text.starts_with("* BYE"), "greeted with {text}");
            lines.push(text);
            if last {
                return Ok(lines);
            }
        }
    }

    /// AUTHENTICATE with PLAIN and an initial response.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let token = STANDARD.encode(format!("\0{user}\0{password}"));
        let answer = self.command(&format!("AUTHENTICATE \"PLAIN\" \"{token}\""))?;
        ensure!(
            answer.word == "OK",
            "log-in answered {} {}",
            answer.word,
            answer.text()
        );
        Ok(())
    }

    /// Sends octets as they are.
    pub fn send(&mut self, data: &[u8]) -> Result<()> {
        self.link.send(data).context("send")
    }

    /// Sends `<tag> <text>` CRLF with a tag of its own choice and returns the answer; data before it are dropped.
    pub fn command(&mut self, text: &str) -> Result<Response> {
        Ok(self.data(text)?.1)
    }

    /// As [`Self::command`], demanding an OK.
    pub fn ok(&mut self, text: &str) -> Result<()> {
        let answer = self.command(text)?;
        ensure!(
            answer.word == "OK",
            "{text} answered {} {}",
            answer.word,
            answer.text()
        );
        Ok(())
    }

    /// As [`Self::command`], with the data before the answer.
    pub fn data(&mut self, text: &str) -> Result<(Vec<Response>, Response)> {
        self.commands += 1;
        let tag = format!("T{}", self.commands);
        self.send(format!("{tag} {text}\r\n").as_bytes())?;
        let mut data = Vec::new();
        loop {
            let response = self
                .response()?
                .with_context(|| format!("closed instead of an answer to {text}"))?;
            if response.ends(&tag) {
                return Ok((data, response));
            }
            ensure!(
                response.word != "BYE",
                "BYE {} instead of an answer to {text}",
                response.text()
            );
            data.push(response);
        }
    }

    /// What LIST (with its argument, if any), FIND or UPDATE shows.
    pub fn listing(&mut self, text: &str) -> Result<Listing> {
        let (data, answer) = self.data(text)?;
        ensure!(
            answer.word == "OK",
            "{text} answered {} {}",
            answer.word,
            answer.text()
        );
        let mut listing = Listing::default();
        for response in &data {
            ensure!(
                listing.apply(response)?,
                "{text} shows {}",
                String::from_utf8_lossy(&response.raw)
            );
        }
        Ok(listing)
    }

    /// The next response; `None` at the end of the stream.
    pub fn response(&mut self) -> Result<Option<Response>> {
        self.take(Response::parse)
    }

    /// The next line with its line end; `None` at the end of the stream.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>> {
        self.take(|inbox| {
            let end = inbox
                .iter()
                .position(|&octet| octet == b'\n')
                .map(|at| at + 1);
            Ok(end.map(|end| (inbox.get(..end).unwrap_or_default().to_vec(), end)))
        })
    }

    /// Waits for the end of the stream; what came before it is returned.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        self.take(|_| Ok(None::<((), usize)>))?;
        Ok(std::mem::take(&mut self.inbox))
    }

    /// A response that is already here or comes within `limit`.
    pub fn response_within(&mut self, limit: Duration) -> Result<Option<Response>> {
        let end = Instant::now() + limit;
        loop {
            if let Some((response, length)) = Response::parse(&self.inbox)? {
                self.inbox.drain(..length);
                return Ok(Some(response));
            }
            if self.ended || Instant::now() > end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Shakes hands for TLS; octets that came before it in clear are dropped.
    pub fn start_tls(&mut self, identity: Option<Identity<'_>>) -> Result<()> {
        self.inbox.clear();
        self.link.start_tls(identity)
    }

    /// DEFLATE in both directions from here on.
    pub fn start_deflate(&mut self) {
        self.link.start_deflate();
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) -> Result<()> {
        self.link.half_close().context("half-close")
    }

    /// Whether the server has closed the connection and all it said was read.
    pub fn is_over(&self) -> bool {
        self.ended && self.inbox.is_empty()
    }

    fn take<T>(
        &mut self,
        mut parse: impl FnMut(&[u8]) -> Result<Option<(T, usize)>>,
    ) -> Result<Option<T>> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some((value, length)) = parse(&self.inbox)? {
                self.inbox.drain(..length);
                return Ok(Some(value));
            }
            if self.ended {
                return Ok(None);
            }
            if Instant::now() > end {
                bail!(
                    "nothing for {PATIENCE:?}, after {:?}",
                    String::from_utf8_lossy(&self.inbox)
                );
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        match self.link.receive(&mut self.inbox) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            // A server that closes with our octets unread resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.ended = true,
            Err(error) => return Err(error).context("receive"),
        }
        Ok(())
    }
}

const READ_STEP: Duration = Duration::from_millis(50);
