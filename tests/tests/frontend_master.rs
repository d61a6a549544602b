//! The frontend's host is the master: its imapd reads the `mailboxes.db` that our master writes, and a change is in
//! there before its OK.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mupdate_tests::cyrus::{ADMIN, PASSWORD, STRANGER};
use mupdate_tests::frontend::{
    Database, Imap, Imapd, LockHolder, MailHost, PROXY, PROXYING, add_user, upstream,
};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::ports::free_port;
use mupdate_tests::scratch::Scratch;
use mupdate_tests::wait::wait_for;

/// Mailboxes made and selected at once; all of them where there is time,
const MAILBOXES: u32 = 1000;
/// never fewer than these,
const MAILBOXES_MIN: u32 = 300;
/// and no more of them after this time.
const ENOUGH: Duration = Duration::from_secs(50);

#[test]
fn what_a_backend_has_made_can_be_selected() -> Result<()> {
    let mut master = exporting()?;
    // A frontend that does not find a mailbox would ask here and look again; it must not have to.
    fs::remove_file(master.node().config_directory().join(KICKS)).context("no kick socket")?;
    let imapd = Imapd::start(master.node(), free_port()?)?;
    let backend = Scratch::new()?;
    let host = MailHost::start(backend.path(), master.port())?;
    Imap::logged_in(host.port(), ADMIN, PASSWORD)?.ok(&format!("CREATE user/{STRANGER}"))?;

    let mut behind = Imap::logged_in(host.port(), STRANGER, PASSWORD)?;
    let mut before = Imap::logged_in(imapd.port(), STRANGER, PASSWORD)?;
    before
        .ok("SELECT INBOX")
        .with_context(|| format!("log of imapd:\n{}", imapd.log_tail()))?;
    let (start, mut missed, mut made) = (Instant::now(), Vec::new(), 0);
    while made < MAILBOXES && (made < MAILBOXES_MIN || start.elapsed() < ENOUGH) {
        behind.ok(&format!("CREATE INBOX/n{made}"))?;
        let answer = before.command(&format!("SELECT INBOX/n{made}"))?;
        if answer.word != "OK" {
            missed.push(format!("n{made}: {} {}", answer.word, answer.text));
        }
        made += 1;
    }
    ensure!(
        missed.is_empty(),
        "{} of {made} were not found at once: {:?}\nlog of the master:\n{}",
        missed.len(),
        missed.get(..missed.len().min(5)),
        master.log_tail()
    );
    let listed = Database(master.node()).listing()?;
    ensure!(
        listed == master.logged_in()?.listing("LIST")?,
        "file and list differ in the end"
    );
    master.stop()
}

#[test]
fn a_stopped_process_with_the_lock_stops_no_edit() -> Result<()> {
    let mut master = exporting()?;
    let mut backend = master.logged_in()?;
    let database = Database(master.node());
    backend.ok(r#"ACTIVATE "user.before" "be1!p1" "a	lrs	""#)?;
    ensure!(
        database.listing()? == backend.listing("LIST")?,
        "not in the file at its OK"
    );
    let scratch = Scratch::new()?;
    let account = master.node().account();
    let holder = LockHolder::of(&database.path(), account, &scratch.join("holder.txt"))?;
    for edit in [
        r#"RESERVE "user.held" "be1!p1""#,
        r#"ACTIVATE "user.held" "be1!p1" "b	lrs	""#,
        r#"DELETE "user.before""#,
        r#"RESERVE "user.reserved" "be2!p1""#,
    ] {
        backend.ok(edit)?;
    }
    // Others are not held up either.
    ensure!(
        master.logged_in()?.listing("LIST")?.names() == ["user.held", "user.reserved"],
        "the edits are not in the list"
    );
    ensure!(
        master.log_tail().contains("holds the lock of mailboxes.db"),
        "no alarm:\n{}",
        master.log_tail()
    );
    holder.end()?;
    let wanted = backend.listing("LIST")?;
    wait_for("the export catches up", || {
        let listed = database.listing()?;
        if listed == wanted {
            return Ok(Some(()));
        }
        bail!("the file has {:?}", listed.names())
    })
    .with_context(|| format!("log of the master:\n{}", master.log_tail()))?;
    backend.ok(r#"ACTIVATE "user.after" "be1!p1" "a	lrs	""#)?;
    ensure!(
        database.listing()? == backend.listing("LIST")?,
        "not in the file at its OK, after the alarm"
    );
    master.stop()
}

/// Our master, with everything on its host that a frontend's imapd needs.
fn exporting() -> Result<Master> {
    let mut master = Master::make(Program::Ours, &[])?;
    let server = format!("127.0.0.1:{}", master.port());
    let mut options = upstream(&server).to_vec();
    options.extend(PROXYING);
    options.push(("mupdate_export", "before-ok"));
    let node = master.node();
    node.configure(&options)?;
    node.prepare()?;
    add_user(node, SERVERNAME, PROXY)?;
    master.launch()?;
    Ok(master)
}

/// Below the `configdirectory`.
const KICKS: &str = "socket/mupdate.target";
const SERVERNAME: &str = "master.murder.test";
