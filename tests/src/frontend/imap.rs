//! An IMAP client that says what it likes and understands as much as the tests need.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context as _, Result, bail, ensure};

use crate::wait::PATIENCE;

/// A connection to an IMAP server on loopback, past its greeting.
#[derive(Debug)]
pub struct Imap {
    socket: BufReader<TcpStream>,
    commands: u32,
}

/// What answers one command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `OK`, `NO` or `BAD`.
    pub word: String,
    /// The rest of that line.
    pub text: String,
    /// The untagged responses before it, literals included.
    pub data: Vec<String>,
}

impl Imap {
    /// Connects and reads the greeting.
    pub fn connect(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("connect to IMAP port {port}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut imap = Self {
            socket: BufReader::new(socket),
            commands: 0,
        };
        let greeting = imap.response()?;
        ensure!(
            greeting.starts_with("* OK "),
            "IMAP server greeted with {greeting:?}"
        );
        Ok(imap)
    }

    /// Connects and logs in.
    pub fn logged_in(port: u16, user: &str, password: &str) -> Result<Self> {
        let mut imap = Self::connect(port)?;
        imap.ok(&format!("LOGIN {user} {password}"))?;
        Ok(imap)
    }

    /// Sends one command without a tag, and reads up to its answer.
    pub fn command(&mut self, text: &str) -> Result<Answer> {
        self.commands += 1;
        let tag = format!("I{} ", self.commands);
        self.socket
            .get_mut()
            .write_all(format!("{tag}{text}\r\n").as_bytes())
            .with_context(|| format!("send {text}"))?;
        let mut data = Vec::new();
        loop {
            let response = self
                .response()
                .with_context(|| format!("answer to {text}, after {data:?}"))?;
            let Some(answer) = response.strip_prefix(&tag) else {
                ensure!(
                    !response.starts_with("* BYE"),
                    "{response} instead of an answer to {text}"
                );
                data.push(response);
                continue;
            };
            let (word, text) = answer.split_once(' ').unwrap_or((answer, ""));
            return Ok(Answer {
                word: word.to_owned(),
                text: text.to_owned(),
                data,
            });
        }
    }

    /// As [`Self::command`], demanding an OK.
    pub fn ok(&mut self, text: &str) -> Result<Vec<String>> {
        let answer = self.command(text)?;
        ensure!(
            answer.word == "OK",
            "{text} answered {} {}",
            answer.word,
            answer.text
        );
        Ok(answer.data)
    }

    /// The names that `LIST "" *` shows.
    pub fn list(&mut self) -> Result<Vec<String>> {
        let data = self.ok("LIST \"\" *")?;
        let rows = data.iter().filter(|row| row.starts_with("* LIST "));
        rows.map(|row| name_of(row)).collect()
    }

    /// One response, without its line end; a literal stands in it where its announcement was.
    fn response(&mut self) -> Result<String> {
        let mut response = String::new();
        loop {
            let mut line = Vec::new();
            self.socket.read_until(b'\n', &mut line)?;
            ensure!(
                line.ends_with(b"\n"),
                "the IMAP server has closed the connection"
            );
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let Some((head, length)) = literal(&line) else {
                response.push_str(&line);
                return Ok(response);
            };
            let mut octets = vec![0; length];
            self.socket.read_exact(&mut octets)?;
            response.push_str(head);
            response.push_str(&String::from_utf8_lossy(&octets));
        }
    }
}

/// What is before the announcement of a literal at the end of `line`, and its length.
fn literal(line: &str) -> Option<(&str, usize)> {
    let (head, length) = line.strip_suffix('}')?.rsplit_once('{')?;
    Some((head, length.parse().ok()?))
}

/// `* LIST (\HasNoChildren) "/" INBOX/box` or with a name in quotes.
fn name_of(row: &str) -> Result<String> {
    let Some((_, name)) = row.split_once(" \"/\" ") else {
        bail!("not a row of LIST with the separator /: {row}")
    };
    Ok(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_list() {
        let row = r#"* LIST (\HasNoChildren) "/" "INBOX/a b""#;
        assert_eq!(name_of(row).unwrap(), "INBOX/a b");
        assert_eq!(
            literal("* LIST () \"/\" {12}"),
            Some(("* LIST () \"/\" ", 12))
        );
        assert_eq!(literal("* OK {x}"), None);
    }
}
