//! A real Cyrus slave compares a dump with its own list in an order that is not that of its list, and so deletes
//! mailboxes that are alive. Our master sends those again.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::Slave;
use mupdate_tests::listing::Listing;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

/// What is deleted while the slave is away, and what lives on.
struct Case {
    gone: &'static [&'static str],
    alive: &'static [&'static str],
}

/// A byte below `.` after the common beginning of both names.
const HYPHEN: Case = Case {
    gone: &["user.amy.Drafts"],
    alive: &["user.amy", "user.amy-x"],
};
const SPACE: Case = Case {
    gone: &["user.amy.Sent.2020"],
    alive: &["user.amy.Sent", "user.amy.Sent Items"],
};
/// A `^` is a dot in the slave's order, but compared as it is.
const CARET: Case = Case {
    gone: &["user.john^doe"],
    alive: &["user.john2", "user.johnA", "user.john"],
};
/// Nothing below `user.amy.` is left that could betray what was there.
const SUBTREE: Case = Case {
    gone: &["user.amy", "user.amy.Drafts", "user.amy.Sent"],
    alive: &["user.amy-x", "user.zoe"],
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum MasterMeanwhile {
    RunsOn,
    Restarts,
    IsKilled,
}

#[test]
fn cyrus_loses_after_a_hyphen() -> Result<()> {
    loses_under_cyrus(&HYPHEN)
}

#[test]
fn cyrus_loses_after_a_space() -> Result<()> {
    loses_under_cyrus(&SPACE)
}

#[test]
fn cyrus_loses_after_a_caret() -> Result<()> {
    loses_under_cyrus(&CARET)
}

#[test]
fn cyrus_loses_after_a_subtree() -> Result<()> {
    loses_under_cyrus(&SUBTREE)
}

#[test]
fn nothing_is_lost_after_a_hyphen() -> Result<()> {
    keeps_under_ours(&HYPHEN, MasterMeanwhile::RunsOn)
}

#[test]
fn nothing_is_lost_after_a_space() -> Result<()> {
    keeps_under_ours(&SPACE, MasterMeanwhile::RunsOn)
}

#[test]
fn nothing_is_lost_after_a_caret() -> Result<()> {
    keeps_under_ours(&CARET, MasterMeanwhile::RunsOn)
}

#[test]
fn nothing_is_lost_after_a_subtree() -> Result<()> {
    keeps_under_ours(&SUBTREE, MasterMeanwhile::RunsOn)
}

#[test]
fn nothing_is_lost_over_a_restart() -> Result<()> {
    keeps_under_ours(&HYPHEN, MasterMeanwhile::Restarts)?;
    keeps_under_ours(&CARET, MasterMeanwhile::Restarts)
}

#[test]
fn nothing_is_lost_over_a_kill() -> Result<()> {
    keeps_under_ours(&SUBTREE, MasterMeanwhile::IsKilled)?;
    keeps_under_ours(&SPACE, MasterMeanwhile::IsKilled)
}

/// The slave's own fault, which these tests would be worth nothing without.
fn loses_under_cyrus(case: &Case) -> Result<()> {
    let (master, slave) = while_slave_is_away(Program::Cyrus, case, MasterMeanwhile::RunsOn)?;
    // It greets when it has merged; what it then lacks stays lost.
    let left = wait_for("greeting of the slave", || list(&slave).map(Some))?;
    let wanted = master.logged_in()?.listing("LIST")?;
    ensure!(left != wanted, "the slave lost nothing: {left:?}");
    ensure!(
        left.0
            .iter()
            .all(|(name, known)| wanted.0.get(name) == Some(known)),
        "more than a loss: {left:?}"
    );
    Ok(())
}

fn keeps_under_ours(case: &Case, meanwhile: MasterMeanwhile) -> Result<()> {
    let (master, slave) = while_slave_is_away(Program::Ours, case, meanwhile)?;
    let wanted = master.logged_in()?.listing("LIST")?;
    ensure!(
        wanted.0.len() == case.alive.len(),
        "the master holds {wanted:?}"
    );
    agree(&slave, &wanted).with_context(|| format!("log of the master:\n{}", master.log_tail()))?;
    // And it goes on following.
    let mut backend = master.logged_in()?;
    backend.ok(r#"ACTIVATE "user.after" "be1!p1" """#)?;
    agree(&slave, &backend.listing("LIST")?)
}

/// Fills master and slave, takes the slave away, deletes, and starts it again.
fn while_slave_is_away(
    program: Program,
    case: &Case,
    meanwhile: MasterMeanwhile,
) -> Result<(Master, Slave)> {
    let mut master = Master::start(program, &[])?;
    let mut backend = master.logged_in()?;
    for name in case.gone.iter().chain(case.alive) {
        backend.ok(&format!("ACTIVATE \"{name}\" \"be1!p1\" \"\""))?;
    }
    let mut slave = Slave::make(master.port())?;
    slave.start()?;
    agree(&slave, &backend.listing("LIST")?)?;
    slave.kill()?;
    // A restart in the middle, so that the master knows of some deletions from its log and of others from before.
    let (before, after) = case.gone.split_at(case.gone.len() / 2);
    delete(&mut backend, before)?;
    match meanwhile {
        MasterMeanwhile::RunsOn => {}
        MasterMeanwhile::Restarts => master.stop()?,
        MasterMeanwhile::IsKilled => master.kill()?,
    }
    if meanwhile != MasterMeanwhile::RunsOn {
        master.launch()?;
        backend = master.logged_in()?;
    }
    delete(&mut backend, after)?;
    slave.start()?;
    Ok((master, slave))
}

fn delete(backend: &mut Wire, names: &[&str]) -> Result<()> {
    for name in names {
        backend.ok(&format!("DELETE \"{name}\""))?;
    }
    Ok(())
}

fn agree(slave: &Slave, wanted: &Listing) -> Result<()> {
    wait_for("slave and master agree", || {
        let shown = list(slave)?;
        ensure!(
            shown == *wanted,
            "the slave shows {shown:?} instead of {wanted:?}"
        );
        Ok(Some(()))
    })
}

fn list(slave: &Slave) -> Result<Listing> {
    slave.logged_in()?.listing("LIST")
}
