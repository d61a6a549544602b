//! A master that has not what it had says so to nobody who would delete by it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::Slave;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;

/// A backup is put back: what came after it is missing.
#[test]
fn an_older_list_is_noticed() -> Result<()> {
    let mut master = filled()?;
    master.stop()?;
    let backup = master.node().directory().join("backup");
    copy(&master.data(), &backup)?;
    master.launch()?;
    master
        .logged_in()?
        .ok(r#"ACTIVATE "user.late" "be1!p1" """#)?;
    master.stop()?;
    fs::remove_dir_all(master.data())?;
    copy(&backup, &master.data())?;
    in_recovery(&mut master)
}

#[test]
fn an_empty_list_is_noticed() -> Result<()> {
    let mut master = filled()?;
    master.stop()?;
    fs::remove_dir_all(master.data())?;
    fs::create_dir(master.data())?;
    master.node().account().give(&master.data())?;
    in_recovery(&mut master)
}

/// Somebody else's list, of the same length.
#[test]
fn another_list_is_noticed() -> Result<()> {
    let mut master = filled()?;
    let mut other = filled()?;
    master.stop()?;
    other.stop()?;
    fs::remove_dir_all(master.data())?;
    copy(&other.data(), &master.data())?;
    in_recovery(&mut master)
}

/// A store that is brought back as it was when it stopped lacks nothing, but somebody else may go on
/// with its history: it goes on in another one, once.
#[test]
fn a_copied_store_takes_a_new_epoch() -> Result<()> {
    let mut master = filled()?;
    let listed = master.logged_in()?.listing("LIST")?;
    let epoch = master.status("epoch")?;
    master.stop()?;
    let backup = master.node().directory().join("backup");
    copy(&master.data(), &backup)?;
    fs::remove_dir_all(master.data())?;
    copy(&backup, &master.data())?;
    master.launch()?;
    let after = master.status("epoch")?;
    ensure!(after != epoch, "still in epoch {epoch}");
    ensure!(master.log_tail().contains("goes on in a new epoch"));
    ensure!(
        master.status("recovery")? == "null",
        "in recovery though nothing is missing"
    );
    ensure!(master.logged_in()?.listing("LIST")? == listed);
    master.stop()?;
    master.launch()?;
    ensure!(master.status("epoch")? == after, "another epoch each time");
    master.stop()
}

/// A kill is no loss, and a new site has nothing to recover.
#[test]
fn a_kill_is_no_loss() -> Result<()> {
    let mut master = filled()?;
    ensure!(
        master.status("recovery")? == "null",
        "a new site is in recovery"
    );
    master.kill()?;
    master.launch()?;
    ensure!(
        master.status("recovery")? == "null",
        "in recovery after a kill"
    );
    master.stop()
}

/// A real slave keeps its list while the master has lost its own, and follows it again afterwards.
#[test]
fn a_slave_keeps_its_list() -> Result<()> {
    let mut master = filled()?;
    let wanted = master.logged_in()?.listing("LIST")?;
    let mut slave = Slave::make(master.port())?;
    slave.start()?;
    let shows = |slave: &Slave| slave.logged_in()?.listing("LIST");
    wait_for("the first list", || {
        Ok((shows(&slave)? == wanted).then_some(()))
    })?;

    master.stop()?;
    master.lose_data()?;
    master.launch()?;
    // It asks again and again; each time it is sent away without a word.
    let asked = || master.log_tail().matches("not open for streaming").count();
    wait_for("two attempts of the slave", || {
        Ok((asked() >= 2).then_some(()))
    })
    .with_context(|| format!("log of the master:\n{}", master.log_tail()))?;
    ensure!(
        shows(&slave)? == wanted,
        "the slave lost what the master had lost"
    );

    let mut backend = master.logged_in()?;
    backend.ok(r#"ACTIVATE "user.amy" "be1!p1" """#)?;
    master.end_recovery()?;
    let left = backend.listing("LIST")?;
    wait_for("the list of after", || {
        Ok((shows(&slave)? == left).then_some(()))
    })
}

fn filled() -> Result<Master> {
    let master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    backend.ok(r#"ACTIVATE "user.amy" "be1!p1" """#)?;
    backend.ok(r#"RESERVE "user.bob" "be2!p1""#)?;
    Ok(master)
}

fn in_recovery(master: &mut Master) -> Result<()> {
    master.launch()?;
    ensure!(master.status("recovery")? != "null", "not in recovery");
    let mut slave = master.logged_in()?;
    slave.send(b"U1 UPDATE\r\n")?;
    let heard = slave.rest()?;
    ensure!(
        heard.is_empty(),
        "UPDATE was answered with {}",
        String::from_utf8_lossy(&heard)
    );
    master.end_recovery()?;
    ensure!(master.status("recovery")? == "null", "still in recovery");
    let answer = master.logged_in()?.command("UPDATE")?;
    ensure!(
        answer.word == "OK",
        "UPDATE was answered with {}",
        answer.word
    );
    master.stop()
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}
