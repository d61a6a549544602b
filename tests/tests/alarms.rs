//! A slave that has not heard everything finds out by itself, says so, and mends it.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::frontend::{Follower, Relay};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;

const MAILBOXES: u32 = 300;

#[test]
fn a_change_that_was_lost_on_the_way() -> Result<()> {
    let master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    for number in 0..MAILBOXES {
        backend.ok(&format!("ACTIVATE \"user.u{number}\" \"be1!p1\" \"\""))?;
    }
    let link = Relay::start(master.port())?;
    let mut slave = Follower::make(link.port(), &[])?;
    slave.launch()?;
    slave.agrees(&backend.listing("LIST")?)?;
    ensure!(
        mismatches(&slave)? == "0",
        "an alarm too early; {}",
        slave.log()
    );

    for change in [r#"ACTIVATE "user.lost" "be2!p1" """#, r#"DELETE "user.u7""#] {
        let before = mismatches(&slave)?;
        let name = change.split('"').nth(1).context("no name")?;
        link.swallow(name);
        backend.ok(change)?;
        wait_for("a change lost on the way", || {
            Ok(link.has_swallowed().then_some(()))
        })?;
        slave
            .agrees(&backend.listing("LIST")?)
            .with_context(|| format!("after {change}"))?;
        ensure!(mismatches(&slave)? != before, "no alarm; {}", slave.log());
    }
    ensure!(slave.logged("ALARM") >= 2, "no alarm in its log");
    slave.stop()
}

fn mismatches(slave: &Follower) -> Result<String> {
    let conf = slave.node().conf().display().to_string();
    let shown = slave.control(&["status", "--json", "-C", &conf], "")?;
    let line = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"mismatches\": "));
    let figure = line.with_context(|| format!("no mismatches in {shown}"))?;
    Ok(figure.trim_end_matches(',').to_owned())
}
