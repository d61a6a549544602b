//! Slaves of slaves: they come back with what they missed, whoever goes away above them, and a stock slave below ours
//! notices nothing.

use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use mupdate_tests::cyrus::Slave;
use mupdate_tests::frontend::Follower;
use mupdate_tests::listing::Listing;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

/// Mailboxes at the start: enough for a dump to be more than a few lines.
const MAILBOXES: u32 = 2_000;
/// How often the middle is killed.
const KILLS: u32 = 50;
/// Edits around each kill.
const EDITS: u32 = 80;
/// How often the master goes away above a relay.
const RESTARTS: u32 = 20;
/// What a slave logs when a resync has come to its verified end by a full dump.
const FULL: &str = "way=Full";

#[test]
fn a_middle_that_is_killed_fifty_times() -> Result<()> {
    let master = filled()?;
    let options = [("mupdate_retry_delay", "1")];
    let mut middle = Follower::make_relay(master.port(), &options)?;
    middle.launch()?;
    let mut leaves = [
        Follower::make_relay(middle.port(), &options)?,
        Follower::make_relay(middle.port(), &options)?,
    ];
    for leaf in &mut leaves {
        leaf.launch()?;
    }
    let mut backend = master.logged_in()?;
    for round in 0..KILLS {
        let writer = thread::spawn(move || write(backend, round));
        sleep(Duration::from_millis(rand::random_range(0..60)));
        middle.kill()?;
        middle.launch()?;
        backend = writer
            .join()
            .map_err(|_| anyhow!("the writer panicked"))??;
        let wanted = backend.listing("LIST")?;
        for leaf in &leaves {
            leaf.lists(&wanted).with_context(|| middle.log())?;
        }
    }
    for node in leaves.iter().chain([&middle]) {
        let full = node.logged(FULL);
        ensure!(full == 1, "{full} full dumps; {}", node.log());
    }
    for mut node in leaves {
        node.stop()?;
    }
    middle.stop()
}

#[test]
fn a_stock_slave_below_ours_never_resyncs() -> Result<()> {
    let mut master = filled()?;
    let mut relay = Follower::make_relay(master.port(), &[("mupdate_retry_delay", "1")])?;
    relay.launch()?;
    let mut stock = Slave::make(relay.port())?;
    stock.start()?;
    agree(&stock, &master.logged_in()?.listing("LIST")?)?;
    for round in 0..RESTARTS {
        if round % 2 == 0 {
            master.stop()?;
        } else {
            master.kill()?;
        }
        master.launch()?;
        let mut backend = write(master.logged_in()?, round)?;
        agree(&stock, &backend.listing("LIST")?)
            .with_context(|| relay.log())
            .with_context(|| format!("after restart {round}"))?;
    }
    let dumps = relay.logged("dump begins");
    ensure!(dumps == 1, "the stock slave dumped {dumps} times");
    relay.stop()
}

#[test]
fn a_stock_slave_and_ours_on_one_master() -> Result<()> {
    let mut master = filled()?;
    let mut ours = Follower::make(master.port(), &[])?;
    ours.launch()?;
    let mut stock = Slave::make(master.port())?;
    stock.start()?;
    for round in 0..6 {
        match round % 3 {
            0 => {}
            1 => {
                ours.kill()?;
                ours.launch()?;
            }
            _ => {
                master.kill()?;
                master.launch()?;
            }
        }
        let mut backend = write(master.logged_in()?, round)?;
        let wanted = backend.listing("LIST")?;
        ours.agrees(&wanted)?;
        agree(&stock, &wanted)?;
    }
    ours.stop()
}

fn filled() -> Result<Master> {
    let master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    for number in 0..MAILBOXES {
        backend.ok(&format!("ACTIVATE \"{}\" \"be1!p1\" \"\"", name(number)))?;
    }
    Ok(master)
}

/// Edits old and new mailboxes, one after the other.
fn write(mut backend: Wire, round: u32) -> Result<Wire> {
    for _ in 0..EDITS {
        let number: u32 = rand::random_range(0..MAILBOXES);
        let name = name(number);
        match rand::random_range(0..4) {
            // The name may be gone already, or be another backend's, which is refused.
            0 => drop(backend.command(&format!("DELETE \"{name}\""))?),
            1 => backend.ok(&format!(
                "ACTIVATE \"{name}\" \"be2!p1\" \"u{round}\tlrs\t\""
            ))?,
            2 => backend.ok(&format!(r#"ACTIVATE "{name}.new{round}" "be1!p1" """#))?,
            _ => drop(backend.command(&format!(r#"DEACTIVATE "{name}" "be1!p1""#))?),
        }
    }
    Ok(backend)
}

fn name(number: u32) -> String {
    format!("user.u{}.f{}", number / 10, number % 10)
}

fn agree(slave: &Slave, wanted: &Listing) -> Result<()> {
    wait_for("stock slave and master agree", || {
        let shown = slave.logged_in()?.listing("LIST")?;
        Ok((shown == *wanted).then_some(()))
    })
}
