//! Whatever a peer sends ends at most that peer's session.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::account::Account;
use mupdate_tests::certificates::Certificates;
use mupdate_tests::cyrus::ADMIN;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::scratch::Scratch;
use mupdate_tests::wire::Wire;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

/// A session that must be served whatever the others do.
struct Bystander {
    master: Master,
    wire: Wire,
    id: u32,
}

impl Bystander {
    fn start(options: &[(&str, &str)]) -> Result<Self> {
        // Failed log-ins would take their time.
        let options = [options, &[("failedloginpause", "0s")]].concat();
        let master = Master::start(Program::Ours, &options)?;
        let mut wire = master.logged_in()?;
        wire.ok(r#"ACTIVATE "user.amy" "be1!p1" "amy	lrs	""#)?;
        let id = master.id()?;
        Ok(Self { master, wire, id })
    }

    /// It is served, a new session is served, and the process is the one that was started.
    fn check(&mut self) -> Result<()> {
        for wire in [&mut self.wire, &mut self.master.logged_in()?] {
            wire.ok("NOOP")?;
            ensure!(
                wire.listing("FIND \"user.amy\"")?.0.len() == 1,
                "user.amy is not found"
            );
        }
        ensure!(
            self.master.is_running() && self.master.id()? == self.id,
            "the master has ended"
        );
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.check()
            .with_context(|| format!("log of the master:\n{}", self.master.log_tail()))?;
        let held = self.wire.listing("LIST")?;
        ensure!(held.names() == ["user.amy"], "the list is now {held:?}");
        self.master.stop()
    }
}

#[test]
fn random_octets() -> Result<()> {
    let mut bystander = Bystander::start(&[])?;
    let mut random = SmallRng::seed_from_u64(3656);
    for round in 0..300 {
        let mut wire = Wire::greeted(bystander.master.port())?;
        let mut noise = vec![0; random.random_range(1..4000)];
        random.fill_bytes(&mut noise);
        // The server may close at any time.
        if wire.send(&noise).is_ok() && random.random() {
            drop(wire.half_close().and_then(|()| wire.rest()));
        }
        if round % 50 == 0 {
            bystander.check()?;
        }
    }
    bystander.finish()
}

/// Pieces of commands in any order, before log-in and after it; nothing among them edits.
#[test]
fn shuffled_pieces() -> Result<()> {
    let mut bystander = Bystander::start(&[])?;
    let mut random = SmallRng::seed_from_u64(3905);
    for round in 0..300 {
        let mut wire = Wire::greeted(bystander.master.port())?;
        if random.random() {
            wire.log_in(ADMIN, mupdate_tests::cyrus::PASSWORD)?;
        }
        let mut noise = Vec::new();
        for _ in 0..random.random_range(1..60) {
            let piece = PIECES
                .get(random.random_range(0..PIECES.len()))
                .copied()
                .unwrap_or_default();
            noise.extend_from_slice(piece);
        }
        if wire.send(&noise).is_ok() {
            drop(wire.half_close().and_then(|()| wire.rest()));
        }
        if round % 50 == 0 {
            bystander.check()?;
        }
    }
    bystander.finish()
}

/// One octet at a time, and then nothing.
#[test]
fn half_commands() -> Result<()> {
    let mut bystander = Bystander::start(&[])?;
    let mut open = Vec::new();
    for end in 0..HALF.len() {
        let mut wire = bystander.master.logged_in()?;
        for octet in HALF.get(..end).unwrap_or_default() {
            wire.send(std::slice::from_ref(octet))?;
        }
        open.push(wire);
        // Half of them stay as they are, half of them go away.
        if open.len() > 20 {
            open.drain(..10);
            bystander.check()?;
        }
    }
    drop(open);
    bystander.finish()
}

#[test]
fn noise_instead_of_a_handshake() -> Result<()> {
    let scratch = Scratch::new()?;
    let certificates = Certificates::make(scratch.path(), ADMIN)?;
    let [certificate, key] =
        ["server.pem", "server.key"].map(|name| certificates.file(name).display().to_string());
    Account::of_cyrus()?.give(scratch.path())?;
    let mut bystander =
        Bystander::start(&[("tls_server_cert", &certificate), ("tls_server_key", &key)])?;
    let mut random = SmallRng::seed_from_u64(443);
    for round in 0..100 {
        let mut wire = Wire::greeted(bystander.master.port())?;
        wire.send(b"S01 STARTTLS\r\n")?;
        let answer = wire
            .line()?
            .context("closed instead of an answer to STARTTLS")?;
        ensure!(
            answer.starts_with(b"S01 OK"),
            "STARTTLS answered {}",
            String::from_utf8_lossy(&answer)
        );
        let mut noise = vec![0; random.random_range(0..300)];
        random.fill_bytes(&mut noise);
        if round % 3 == 0 {
            // The beginning of a handshake record, with nothing sensible in it.
            noise.splice(..0, *b"\x16\x03\x01\x01\x00\x01");
        }
        if wire.send(&noise).is_ok() && round % 2 == 0 {
            drop(wire.half_close().and_then(|()| wire.rest()));
        }
        if round % 20 == 0 {
            bystander.check()?;
        }
    }
    // A real handshake still works.
    let mut wire = Wire::greeted(bystander.master.port())?;
    wire.send(b"S01 STARTTLS\r\n")?;
    wire.line()?
        .context("closed instead of an answer to STARTTLS")?;
    wire.start_tls(None)?;
    wire.greeting()?;
    wire.log_in(ADMIN, mupdate_tests::cyrus::PASSWORD)?;
    bystander.finish()
}

/// Connections that come and go: at once, after the greeting, in the middle of a log-in.
#[test]
fn ten_thousand_connections() -> Result<()> {
    // The limit has tests of its own; here connections that are just going away must not stand in the way.
    let mut bystander = Bystander::start(&[("mupdate_connections_max", "1000")])?;
    let port = bystander.master.port();
    for batch in 0..200 {
        let mut open = Vec::new();
        for number in 0..50 {
            let mut wire = Wire::connect(port)?;
            match number % 5 {
                0 => wire.send(b"A01 AUTHENTICATE \"PLAIN\"\r\n")?,
                1 => wire.send(b"X NOOP\r\nL LOGOUT\r\n")?,
                2 => wire.half_close()?,
                _ => {}
            }
            open.push(wire);
        }
        // One of each batch is heard out, so that the server has seen the batch before the next one.
        let mut last = open.pop().context("an empty batch")?;
        last.greeting()?;
        if batch % 20 == 0 {
            bystander.check()?;
        }
    }
    bystander.finish()
}

const HALF: &[u8] = b"A1 ACTIVATE {8+}\r\nuser.bob \"be1!p1\" {8}\r\n";

const PIECES: &[&[u8]] = &[
    b"A1 ",
    b"FIND ",
    b"LIST",
    b" \"user.amy\"",
    b"\"",
    b"{3+}\r\nabc",
    b"{3}\r\n",
    b"{0+}\r\n",
    b"{99999999999}\r\n",
    b"{131073+}\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"*",
    b"T NOOP\r\n",
    b"L LIST \"be1!\"\r\n",
    b"U UPDATE\r\n",
    b"U UPDATE \"be1\" \"be2\"\r\n",
    b"Z COMPRESS \"DEFLATE\"\r\n",
    b"S STARTTLS\r\n",
    b"Q AUTHENTICATE \"PLAIN\"\r\n",
    b"Q AUTHENTICATE \"SCRAM-SHA-256\" {4+}\r\nbiws\r\n",
    b"R AUTHENTICATE \"EXTERNAL\" ={0+}\r\n\r\n",
    b"AHg=\r\n",
    b"\xff\xfe",
    b"\\",
    b"( ) [ ]",
    b"NOSUCH COMMAND\r\n",
];
