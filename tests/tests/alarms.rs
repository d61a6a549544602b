//! What is not as it should be is found, said, and mended where that can be: a slave's list that is not the master's,
//! a store that has gone bad.

use std::path::{Path, PathBuf};

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

#[test]
fn an_empty_slave_begins_with_an_old_mailboxes_db() -> Result<()> {
    let master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    for number in 0..MAILBOXES {
        backend.ok(&format!(
            "ACTIVATE \"user.u{number}\" \"be1!p1\" \"u{number}\tlrs\t\""
        ))?;
    }
    let mut slave = Follower::make(master.port(), &[])?;
    slave.launch()?;
    slave.agrees(&backend.listing("LIST")?)?;
    slave.stop()?;
    ensure!(slave.logged("way=Full") == 1, "{}", slave.log());

    std::fs::remove_dir_all(slave.directory().join("conf/mupdate"))?;
    slave
        .database()
        .set("Nuser\x1fstale", "%(T er P p1 S be9 M 1 A %())")?;
    for change in [
        r#"ACTIVATE "user.new" "be2!p1" """#,
        r#"ACTIVATE "user.u3" "be2!p1" """#,
        r#"DELETE "user.u7""#,
    ] {
        backend.ok(change)?;
    }
    slave.launch()?;
    slave.agrees(&backend.listing("LIST")?)?;
    ensure!(
        slave.logged("way=Full") == 1,
        "took the whole list again; {}",
        slave.log()
    );
    ensure!(
        slave.logged("way=Digest") == 1,
        "not compared; {}",
        slave.log()
    );
    ensure!(slave.logged("ALARM") == 0, "an alarm; {}", slave.log());
    slave.stop()
}

#[test]
fn what_goes_bad_on_disk_is_shown() -> Result<()> {
    let options = [
        ("mupdate_scrub_interval", "1s"),
        ("mupdate_scrub_rate", "1000000"),
    ];
    let master = Master::start(Program::Ours, &options)?;
    let mut backend = master.logged_in()?;
    for number in 0..MAILBOXES {
        backend.ok(&format!("ACTIVATE \"user.u{number}\" \"be1!p1\" \"\""))?;
    }
    wait_for("a look through everything", || {
        Ok(shown(&master)?.contains("scrubbed  2").then_some(()))
    })?;
    let log = segment(&master.data().join("store"))?;
    let mut octets = std::fs::read(&log)?;
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    std::fs::write(&log, octets)?;
    wait_for("the damage in the status", || {
        let status = shown(&master)?;
        let name = log.display().to_string();
        Ok((status.contains("DAMAGED") && status.contains(&name)).then_some(()))
    })?;
    backend.ok("ACTIVATE \"user.more\" \"be1!p1\" \"\"")?;
    Ok(())
}

fn shown(master: &Master) -> Result<String> {
    let conf = master.node().conf().display().to_string();
    master.control(&["status", "-C", &conf], "")
}

fn segment(store: &Path) -> Result<PathBuf> {
    let found = std::fs::read_dir(store)?.filter_map(Result::ok);
    let mut logs = found.filter(|file| file.file_name().to_string_lossy().starts_with("log."));
    Ok(logs.next().context("no log segment")?.path())
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
