//! Whatever becomes of the master, a frontend's mail clients do not notice, and nothing is deleted that lives.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use mupdate_tests::cyrus::{ADMIN, PASSWORD, STRANGER};
use mupdate_tests::frontend::{Follower, Imap, Imapd, MailHost, Relay, ScriptedMaster};
use mupdate_tests::listing::Listing;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::ports::free_port;
use mupdate_tests::scratch::Scratch;
use mupdate_tests::wait::wait_for;

/// Mailboxes of the client, besides its INBOX.
const BOXES: u32 = 4;
/// Mailboxes of others; with these a dump is long enough to be cut.
const OTHERS: u32 = 600;
/// Octets after which dumps stop: in the log-in or the first lines, and later.
const EARLY_ENDS: [usize; 3] = [200, 5_000, 40_000];
/// Mailboxes that are made on the backend and selected through the frontend at once.
const KICKS: u32 = 200;

/// A murder with a real backend, a real frontend's imapd on our slave, and a link between slave and master that can
/// fail.
struct Site {
    master: Master,
    relay: Relay,
    slave: Follower,
    imapd: Imapd,
    host: MailHost,
    _backend: Scratch,
}

#[test]
fn links_that_fail() -> Result<()> {
    let mut site = Site::start()?;
    let client = site.client()?;
    for number in 0..12 {
        site.relay.cut();
        sleep(Duration::from_millis(rand::random_range(0..250)));
        site.edit(number)?;
    }
    site.settles().context("after cut connections")?;
    for number in 12..15 {
        site.master.kill()?;
        site.master.launch()?;
        site.edit(number)?;
    }
    site.settles().context("after kills of the master")?;
    for number in 15..20 {
        site.slave.kill()?;
        site.slave.start()?;
        sleep(Duration::from_millis(rand::random_range(0..250)));
        site.edit(number)?;
    }
    site.settles().context("after kills of the slave")?;
    client.end(&site)?;
    site.stop()
}

/// From a master that only knows UPDATE.
#[test]
fn dumps_that_end_early() -> Result<()> {
    let options = [("mupdate_resync", "no")];
    let (mut site, ()) = Site::start_with(&options, |_| Ok(()))?;
    let client = site.client()?;
    for (number, octets) in (0..).zip(EARLY_ENDS) {
        dump_that_ends(&mut site, number, octets, |site| {
            site.relay.cut();
            Ok(())
        })?;
    }
    client.end(&site)?;
    site.stop()
}

/// From ours, which an operator has asked for everything.
#[test]
fn whole_resyncs_that_end_early() -> Result<()> {
    let mut site = Site::start()?;
    let client = site.client()?;
    for (number, octets) in (0..).zip(EARLY_ENDS) {
        let mut asked = None;
        dump_that_ends(&mut site, number, octets, |site| {
            asked = Some(site.slave.ask_for_all()?);
            Ok(())
        })?;
        asked.context("nobody asked")?.wait()?;
    }
    client.end(&site)?;
    site.stop()
}

/// A dump, begun by `ask`, that stops after some octets, and a master that dies then.
fn dump_that_ends(
    site: &mut Site,
    number: u32,
    octets: usize,
    ask: impl FnOnce(&Site) -> Result<()>,
) -> Result<()> {
    let before = site.master.logged_in()?.listing("LIST")?;
    site.relay.limit(octets);
    let full = site.relay.full();
    ask(site)?;
    wait_for("a dump that stops in the middle", || {
        Ok((site.relay.full() > full).then_some(()))
    })?;
    site.master.kill()?;
    site.relay.cut();
    let kept = site.slave.logged_in()?.listing("LIST")?;
    ensure!(kept == before, "the slave took half a dump for a list");
    site.master.launch()?;
    site.edit(number)?;
    site.relay.limit(usize::MAX);
    site.relay.cut();
    site.settles()
}

/// Our own master has lost its list and says so by streaming to nobody.
#[test]
fn a_master_in_recovery() -> Result<()> {
    let mut site = Site::start()?;
    let client = site.client()?;
    let before = site.master.logged_in()?.listing("LIST")?;
    site.master.stop()?;
    let backup = Backup::of(&site.master)?;
    site.master.lose_data()?;
    site.master.launch()?;
    let asked = |site: &Site| {
        site.master
            .log_tail()
            .matches("not open for streaming")
            .count()
    };
    wait_for("two attempts of the slave", || {
        Ok((asked(&site) >= 2).then_some(()))
    })
    .with_context(|| site.slave.log())?;
    site.slave.agrees(&before)?;
    site.master.stop()?;
    backup.restore(&site.master)?;
    site.master.launch()?;
    site.edit(1)?;
    site.settles()?;
    client.end(&site)?;
    site.stop()
}

/// A master as that of Cyrus: it has lost its list, and does not know.
#[test]
fn a_master_that_is_empty() -> Result<()> {
    let mut site = Site::start()?;
    let client = site.client()?;
    let before = site.master.logged_in()?.listing("LIST")?;
    site.master.stop()?;
    let empty = ScriptedMaster::start(site.master.port(), &Listing::default())?;
    wait_for("a whole resync with nothing in it", || {
        Ok((empty.rounds() >= 1).then_some(()))
    })
    .with_context(|| site.slave.log())?;
    site.slave.agrees(&before)?;
    site.relay.cut();
    let rounds = empty.rounds();
    wait_for(
        "another one",
        || Ok((empty.rounds() > rounds).then_some(())),
    )?;
    site.slave.agrees(&before)?;
    // Over a restart too.
    site.slave.kill()?;
    site.slave.launch()?;
    site.slave.agrees(&before)?;
    drop(empty);
    site.relay.cut();
    site.master.launch()?;
    site.edit(1)?;
    site.settles()?;
    client.end(&site)?;
    site.stop()
}

/// A master from a backup that lacks much of the list, and knows nothing of that.
#[test]
fn a_master_that_is_older() -> Result<()> {
    let (mut site, older) = Site::start_with(&[], |master| {
        let mut backend = master.logged_in()?;
        for number in 0..OTHERS / 2 {
            backend.ok(&activate(number, "old"))?;
        }
        master.stop()?;
        let older = Backup::of(master)?;
        master.launch()?;
        Ok(older)
    })?;
    let client = site.client()?;
    let before = site.master.logged_in()?.listing("LIST")?;
    site.master.stop()?;
    let newer = Backup::of(&site.master)?;
    older.restore(&site.master)?;
    // Another machine: nothing there tells that the list was longer once.
    fs::remove_file(site.master.marker())?;
    site.master.launch()?;
    let mut backend = site.master.logged_in()?;
    ensure!(
        backend.listing("LIST")?.0.len() < before.0.len() * 3 / 4,
        "the older list is not much shorter"
    );
    backend.ok(r#"ACTIVATE "user.unheard" "be9!p1" """#)?;
    let mut wanted = backend.listing("LIST")?;
    for (name, known) in &before.0 {
        wanted
            .0
            .entry(name.clone())
            .or_insert_with(|| known.clone());
    }
    site.slave.agrees(&wanted)?;
    site.master.stop()?;
    newer.restore(&site.master)?;
    site.master.launch()?;
    site.edit(1)?;
    site.settles()?;
    client.end(&site)?;
    site.stop()
}

/// A frontend's imapd that does not find a mailbox kicks the slave and looks again.
#[test]
fn what_was_just_made_is_found() -> Result<()> {
    let site = Site::start()?;
    let mut behind = Imap::logged_in(site.host.port(), STRANGER, PASSWORD)?;
    let mut before = Imap::logged_in(site.imapd.port(), STRANGER, PASSWORD)?;
    for number in 0..KICKS {
        behind.ok(&format!("CREATE INBOX/k{number}"))?;
        before
            .ok(&format!("SELECT INBOX/k{number}"))
            .with_context(|| site.slave.log())?;
    }
    site.settles()?;
    site.stop()
}

/// What is held goes when an operator says so.
#[test]
fn deletions_that_are_confirmed() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    for number in 0..300 {
        backend.ok(&activate(number, "a"))?;
    }
    let mut slave = Follower::make(master.port(), &[])?;
    slave.launch()?;
    let before = backend.listing("LIST")?;
    slave.agrees(&before)?;
    master.stop()?;
    let empty = ScriptedMaster::start(master.port(), &Listing::default())?;
    wait_for("a whole resync with nothing in it", || {
        Ok((empty.rounds() >= 1).then_some(()))
    })
    .with_context(|| slave.log())?;
    slave.agrees(&before)?;
    wait_for("a confirmation", || slave.confirm_deletes().map(Some))?;
    slave.agrees(&Listing::default())?;
    slave.stop()
}

impl Site {
    fn start() -> Result<Self> {
        Ok(Self::start_with(&[], |_| Ok(()))?.0)
    }

    /// A slave with further options. Calls `early` when the master is there and nobody has told it anything.
    fn start_with<T>(
        options: &[(&str, &str)],
        early: impl FnOnce(&mut Master) -> Result<T>,
    ) -> Result<(Self, T)> {
        let mut master = Master::start(Program::Ours, &[])?;
        let early = early(&mut master)?;
        let backend = Scratch::new()?;
        let host = MailHost::start(backend.path(), master.port())?;
        Imap::logged_in(host.port(), ADMIN, PASSWORD)?.ok(&format!("CREATE user/{STRANGER}"))?;
        let mut user = Imap::logged_in(host.port(), STRANGER, PASSWORD)?;
        for number in 0..BOXES {
            user.ok(&format!("CREATE INBOX/n{number}"))?;
        }
        let mut wire = master.logged_in()?;
        for number in 0..OTHERS {
            wire.ok(&activate(number, "first"))?;
        }
        let relay = Relay::start(master.port())?;
        let mut slave = Follower::make(relay.port(), options)?;
        let imapd = Imapd::start(slave.node(), free_port()?)?;
        slave.launch()?;
        slave.agrees(&wire.listing("LIST")?)?;
        let site = Self {
            master,
            relay,
            slave,
            imapd,
            host,
            _backend: backend,
        };
        Ok((site, early))
    }

    /// A mail client that lists and selects without a pause from here on.
    fn client(&self) -> Result<Client> {
        Client::start(self.imapd.port())
    }

    /// Changes, deletes and makes mailboxes of others.
    fn edit(&self, number: u32) -> Result<()> {
        let mut backend = self.master.logged_in()?;
        backend.ok(&activate(number, &format!("again{number}")))?;
        backend.ok(&format!("DELETE \"user.other.n{}\"", number + 100))?;
        backend.ok(&activate(number + 1000, "new"))
    }

    fn settles(&self) -> Result<()> {
        self.slave
            .agrees(&self.master.logged_in()?.listing("LIST")?)
            .with_context(|| format!("log of the master:\n{}", self.master.log_tail()))
    }

    fn stop(mut self) -> Result<()> {
        self.slave.stop()?;
        self.master.stop()
    }
}

/// A real mail client in a thread.
struct Client {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<Result<()>>,
}

impl Client {
    fn start(port: u16) -> Result<Self> {
        let (over, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&rounds));
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // A new connection each time: its imapd opens the database anew.
                read_mail(port).with_context(|| {
                    format!(
                        "in round {} of the mail client",
                        counts.load(Ordering::Relaxed)
                    )
                })?;
                counts.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let client = Self {
            over,
            rounds,
            thread,
        };
        wait_for("the mail client has read", || {
            let begun = client.rounds.load(Ordering::Relaxed) > 0 || client.thread.is_finished();
            Ok(begun.then_some(()))
        })?;
        Ok(client)
    }

    /// It has read all the time, without a failure.
    fn end(self, site: &Site) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let outcome = self.thread.join();
        outcome
            .map_err(|_| anyhow!("the mail client has panicked"))?
            .with_context(|| site.slave.log())?;
        let rounds = self.rounds.load(Ordering::Relaxed);
        ensure!(rounds > 3, "the mail client has read {rounds} times only");
        Ok(())
    }
}

/// Lists everything and selects each mailbox.
fn read_mail(port: u16) -> Result<()> {
    let mut imap = Imap::logged_in(port, STRANGER, PASSWORD)?;
    for _ in 0..5 {
        let listed = imap.list()?;
        for name in boxes() {
            ensure!(listed.contains(&name), "LIST lacks {name}: {listed:?}");
            imap.ok(&format!("SELECT {name}"))?;
        }
    }
    imap.ok("LOGOUT").map(drop).or_else(|error| {
        // The server says BYE before its answer.
        let said = format!("{error:#}");
        ensure!(said.contains("* BYE"), "{said}");
        Ok(())
    })
}

fn boxes() -> impl Iterator<Item = String> {
    let numbered = (0..BOXES).map(|number| format!("INBOX/n{number}"));
    std::iter::once("INBOX".to_owned()).chain(numbered)
}

/// `who` sorts before `other`: so `ctl_mboxlist -d` is read.
fn activate(number: u32, who: &str) -> String {
    format!("ACTIVATE \"user.other.n{number}\" \"be9!p1\" \"{who}\tlr\tother\tlrs\t\"")
}

/// A copy of everything that a master keeps.
struct Backup(Scratch);

impl Backup {
    /// Of a master that does not run.
    fn of(master: &Master) -> Result<Self> {
        let scratch = Scratch::new()?;
        copy(&master.data(), &scratch.join("data"))?;
        copy(&master.marker(), &scratch.join("marker"))?;
        Ok(Self(scratch))
    }

    fn restore(&self, master: &Master) -> Result<()> {
        fs::remove_dir_all(master.data())?;
        copy(&self.0.join("data"), &master.data())?;
        fs::remove_file(master.marker())?;
        copy(&self.0.join("marker"), &master.marker())
    }
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}
