//! A master that knows neither recovery nor guard, and shows what it was told to show.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::listing::{Known, Listing};
use crate::wait::wait_for;

/// A master with a list that does not change, and no more of the protocol than slaves use. Ends with this value.
#[derive(Debug)]
pub struct ScriptedMaster {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dump: String,
    rounds: AtomicUsize,
    over: AtomicBool,
}

impl ScriptedMaster {
    /// Listens on `port`, which must be free or become so.
    pub fn start(port: u16, listing: &Listing) -> Result<Self> {
        let listener = wait_for("port of the scripted master", || {
            Ok(Some(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?))
        })?;
        let shared = Arc::new(Shared {
            dump: dump(listing)?,
            rounds: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for peer in listener.incoming().map_while(Result::ok) {
                if ours.over.load(Ordering::Relaxed) {
                    return;
                }
                let ours = Arc::clone(&ours);
                // A peer that goes away in the middle is no concern of the master.
                thread::spawn(move || drop(ours.talk(peer)));
            }
        });
        Ok(Self { port, shared })
    }

    /// How many NOOPs it has answered after a dump.
    pub fn rounds(&self) -> usize {
        self.shared.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for ScriptedMaster {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn talk(&self, mut peer: TcpStream) -> Result<()> {
        peer.set_read_timeout(Some(STEP))?;
        peer.write_all(GREETING)?;
        let mut input = BufReader::new(peer.try_clone()?);
        let mut dumped = false;
        while let Some(line) = self.line(&mut input)? {
            let mut words = line.split_whitespace();
            let (tag, word) = (words.next().context("tag")?, words.next().context("word")?);
            let answer = match word.to_ascii_uppercase().as_str() {
                "AUTHENTICATE" => format!("{tag} OK \"Authenticated\"\r\n"),
                "UPDATE" => {
                    dumped = true;
                    let dump = self.dump.replace("TAG ", &format!("{tag} "));
                    format!("{dump}{tag} OK \"streaming starts\"\r\n")
                }
                "NOOP" => format!("{tag} OK \"Noop done\"\r\n"),
                "LOGOUT" => return Ok(()),
                _ => format!("{tag} BAD \"Unrecognized command\"\r\n"),
            };
            peer.write_all(answer.as_bytes())?;
            if dumped && word.eq_ignore_ascii_case("NOOP") {
                self.rounds.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// A command with its literals in it; `None` at the end.
    fn line(&self, input: &mut BufReader<TcpStream>) -> Result<Option<String>> {
        let mut octets = Vec::new();
        loop {
            match input.read_until(b'\n', &mut octets) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(_) if !self.over.load(Ordering::Relaxed) => continue,
                Err(error) => return Err(error.into()),
            }
            let text = String::from_utf8_lossy(&octets).trim_end().to_owned();
            let Some(length) = literal(&text) else {
                return Ok(Some(text));
            };
            let mut content = vec![0; length];
            input.read_exact(&mut content)?;
            octets.extend(content);
        }
    }
}

fn literal(line: &str) -> Option<usize> {
    let (_, length) = line.strip_suffix("+}")?.rsplit_once('{')?;
    length.parse().ok()
}

/// Lines as Cyrus writes them, each with the tag `TAG`.
fn dump(listing: &Listing) -> Result<String> {
    let mut out = String::new();
    for (name, known) in &listing.0 {
        let (word, strings) = match known {
            Known::Active(location, acl) => ("MAILBOX", vec![name, location, acl]),
            Known::Reserved(location) => ("RESERVE", vec![name, location]),
        };
        write!(out, "TAG {word}")?;
        for string in strings {
            write!(out, " {{{}+}}\r\n{string}", string.len())?;
        }
        out.push_str("\r\n");
    }
    Ok(out)
}

const GREETING: &[u8] = b"* AUTH \"PLAIN\"\r\n\
    * PARTIAL-UPDATE\r\n\
    * OK MUPDATE \"old.murder.test\" \"Cyrus IMAP\" \"3.6.1\" \"(master)\"\r\n";
const STEP: Duration = Duration::from_millis(100);
