//! Operators see whether servers have the same list, and where they differ.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{ADMIN, PASSWORD};
use mupdate_tests::frontend::Follower;
use mupdate_tests::master::{Master, Program};

const MAILBOXES: u32 = 500;

#[test]
fn a_cascade_agrees() -> Result<()> {
    let master = filled(Program::Ours)?;
    let mut middle = Follower::make_relay(master.port(), &[])?;
    middle.launch()?;
    let mut leaf = Follower::make_relay(middle.port(), &[])?;
    leaf.launch()?;
    leaf.lists(&master.logged_in()?.listing("LIST")?)?;
    let (master_at, middle_at, leaf_at) = (at(master.port()), at(middle.port()), at(leaf.port()));
    let said = ask(&master, "verify", &[&master_at, &middle_at, &leaf_at])?;
    ensure!(said.contains("the lists are the same"), "{said}");
    ensure!(said.contains("500 mailboxes"), "{said}");
    let said = ask(&master, "diff", &[&master_at, &leaf_at])?;
    ensure!(said.is_empty(), "{said}");
    leaf.stop()?;
    middle.stop()
}

#[test]
fn what_differs_is_named() -> Result<()> {
    let master = filled(Program::Ours)?;
    let mut slave = Follower::make_relay(master.port(), &[])?;
    slave.launch()?;
    slave.lists(&master.logged_in()?.listing("LIST")?)?;
    // The slave becomes a master of its own, with a history that forks there.
    slave.stop()?;
    slave.promote()?;
    let mut one = master.logged_in()?;
    one.ok(r#"ACTIVATE "user.u7" "be9!p1" """#)?;
    one.ok(r#"DELETE "user.u8""#)?;
    one.ok(r#"ACTIVATE "user.more" "be1!p1" """#)?;
    let (one_at, other_at) = (at(master.port()), at(slave.port()));
    let cause = ask(&master, "verify", &["--wait", "2", &one_at, &other_at]).unwrap_err();
    ensure!(
        format!("{cause:#}").contains("can't be compared"),
        "{cause:#}"
    );
    let cause = ask(&master, "diff", &[&one_at, &other_at]).unwrap_err();
    let said = format!("{cause:#}");
    ensure!(said.contains("3 mailboxes differ"), "{said}");
    ensure!(!said.contains("whole lists"), "{said}");
    for line in [
        "- user.u7\tactive\tbe9!p1",
        "+ user.u7\tactive\tbe1!p1",
        "+ user.u8\tactive\tbe1!p1",
        "- user.more\tactive\tbe1!p1",
    ] {
        ensure!(said.contains(line), "no {line:?} in {said}");
    }
    slave.stop()
}

#[test]
fn a_stock_server_is_compared_by_its_list() -> Result<()> {
    let (ours, cyrus) = (filled(Program::Ours)?, filled(Program::Cyrus)?);
    let (ours_at, cyrus_at) = (at(ours.port()), at(cyrus.port()));
    let cause = ask(&ours, "verify", &[&ours_at, &cyrus_at]).unwrap_err();
    ensure!(
        format!("{cause:#}").contains("does not offer RESYNC"),
        "{cause:#}"
    );
    let said = ask(&ours, "diff", &[&ours_at, &cyrus_at])?;
    ensure!(said.is_empty(), "{said}");
    cyrus.logged_in()?.ok(r#"ACTIVATE "user.u3" "be3!p1" """#)?;
    let cause = ask(&ours, "diff", &[&ours_at, &cyrus_at]).unwrap_err();
    ensure!(
        format!("{cause:#}").contains("+ user.u3\tactive\tbe3!p1"),
        "{cause:#}"
    );
    Ok(())
}

fn filled(program: Program) -> Result<Master> {
    let master = Master::start(program, &[])?;
    let mut backend = master.logged_in()?;
    for number in 0..MAILBOXES {
        backend.ok(&format!("ACTIVATE \"user.u{number}\" \"be1!p1\" \"\""))?;
    }
    Ok(master)
}

/// Standard output of a command, or both outputs as an error.
fn ask(master: &Master, command: &str, arguments: &[&str]) -> Result<String> {
    let mut all = vec!["--user", ADMIN, "--password-file", "-", command];
    all.extend(arguments);
    master
        .control(&all, PASSWORD)
        .with_context(|| format!("log of the master:\n{}", master.log_tail()))
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
