//! Real Cyrus slaves come, go and stall while names of every sort are edited, and the master restarts; whenever all is
//! quiet they have the master's list.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::Slave;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

const ROUNDS: u32 = 12;
const EDITS_PER_ROUND: u32 = 120;

/// What is hard to put in order: octets below and above the separator and the `^`.
const PARTS: [&str; 10] = [
    "a", "a-b", "a b", "a=b", "a^b", "a2", "aB", "a_b", "a+", "b",
];

#[test]
fn slaves_have_the_masters_list() -> Result<()> {
    let seed = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut master = Master::start(Program::Ours, &[])?;
    // Both come from one address with one name, so neither is told from the other.
    let mut slaves = [Slave::make(master.port())?, Slave::make(master.port())?];
    for slave in &mut slaves {
        slave.start()?;
    }
    for round in 0..ROUNDS {
        let context = || format!("seed {seed}, round {round}");
        let mut away = [false; 2];
        for (slave, away) in slaves.iter_mut().zip(&mut away) {
            *away = random.random();
            if *away {
                slave.kill()?;
            }
        }
        let mut backend = master.logged_in()?;
        edit(&mut backend, &mut random).with_context(context)?;
        if random.random_ratio(1, 3) {
            if random.random() {
                master.kill()?;
            } else {
                master.stop()?;
            }
            master.launch()?;
            backend = master.logged_in()?;
            edit(&mut backend, &mut random).with_context(context)?;
        }
        for (slave, away) in slaves.iter_mut().zip(away) {
            if away {
                slave.start()?;
            }
        }
        if random.random_ratio(1, 4) {
            edit(&mut backend, &mut random).with_context(context)?;
        }
        for slave in &slaves {
            agree(&mut backend, slave).with_context(context)?;
        }
    }
    master.stop()
}

/// Edits that one slave after the other reads, with one of them stopped in between: it holds nobody up.
#[test]
fn a_stalled_slave_catches_up() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    let mut slaves = [Slave::make(master.port())?, Slave::make(master.port())?];
    for slave in &mut slaves {
        slave.start()?;
    }
    let mut backend = master.logged_in()?;
    let acl = "x".repeat(2000);
    let [first, second] = &slaves;
    for step in 0..3 {
        for slave in &slaves {
            agree(&mut backend, slave)?;
        }
        first.freeze()?;
        for number in 0..3000 {
            backend.ok(&format!(
                "ACTIVATE \"user.s{step}.f{number}\" \"be1!p1\" \"{acl}\tlrs\t\""
            ))?;
        }
        agree(&mut backend, second)?;
        first.thaw()?;
    }
    for slave in &slaves {
        agree(&mut backend, slave)?;
    }
    master.stop()
}

fn edit(backend: &mut Wire, random: &mut SmallRng) -> Result<()> {
    for _ in 0..EDITS_PER_ROUND {
        let depth = random.random_range(1..=3);
        let parts: Vec<&str> = (0..depth)
            .filter_map(|_| PARTS.choose(random).copied())
            .collect();
        let name = format!("user.{}", parts.join("."));
        match random.random_range(0..5) {
            0 | 1 => backend.ok(&format!("DELETE \"{name}\""))?,
            2 => drop(backend.command(&format!("RESERVE \"{name}\" \"be1!p1\""))?),
            _ => backend.ok(&format!(
                "ACTIVATE \"{name}\" \"be{}!p1\" \"\"",
                random.random_range(1..4)
            ))?,
        }
    }
    Ok(())
}

fn agree(backend: &mut Wire, slave: &Slave) -> Result<()> {
    wait_for("slave and master agree", || {
        let wanted = backend.listing("LIST")?;
        let shown = slave.logged_in()?.listing("LIST")?;
        let lost: Vec<_> = wanted
            .0
            .keys()
            .filter(|name| !shown.0.contains_key(*name))
            .collect();
        ensure!(lost.is_empty(), "the slave lacks {lost:?}");
        ensure!(
            shown == wanted,
            "the slave has more, or otherwise, than the master"
        );
        Ok(Some(()))
    })
}
