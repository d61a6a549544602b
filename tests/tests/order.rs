//! Names whose order as octets is not that of Cyrus's database, deleted and made while a frontend comes and goes: its
//! `mailboxes.db` is the master's list whenever all is quiet.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::frontend::Follower;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wire::Wire;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

const ROUNDS: u32 = 20;
const LOCATIONS: [&str; 3] = ["be1!default", "be2!p2", "be3"];
const ACLS: [&str; 3] = ["", "amy\tlrs\t", "amy\tlrs\tanyone\tlr\t"];

#[test]
fn file_and_list_are_the_masters() -> Result<()> {
    let seed = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut master = Master::start(Program::Ours, &[])?;
    let mut slave = Follower::make(master.port(), &[("virtdomains", "userid")])?;
    let mut backend = master.logged_in()?;
    let names = names();
    ensure!(names.len() > 350, "only {} names", names.len());
    // All of them at first, so that the first rounds mostly delete.
    for name in &names {
        activate(&mut backend, name, &mut random)?;
    }
    slave.launch()?;
    slave.agrees(&backend.listing("LIST")?)?;
    for round in 0..ROUNDS {
        step(&mut master, &mut slave, &names, &mut random)
            .and_then(|()| slave.agrees(&master.logged_in()?.listing("LIST")?))
            .with_context(|| format!("seed {seed}, round {round}"))?;
    }
    slave.stop()?;
    master.stop()
}

/// Edits before, while and after the slave, or the master, is away.
fn step(
    master: &mut Master,
    slave: &mut Follower,
    names: &[String],
    random: &mut SmallRng,
) -> Result<()> {
    edit(&mut master.logged_in()?, names, random)?;
    match random.random_range(0..5) {
        0 => {
            slave.kill()?;
            edit(&mut master.logged_in()?, names, random)?;
            slave.start()?;
        }
        1 => {
            slave.stop()?;
            edit(&mut master.logged_in()?, names, random)?;
            slave.start()?;
        }
        2 => {
            master.kill()?;
            master.launch()?;
        }
        3 => {
            slave.kill()?;
            edit(&mut master.logged_in()?, names, random)?;
            master.stop()?;
            slave.start()?;
            master.launch()?;
        }
        _ => {}
    }
    edit(&mut master.logged_in()?, names, random)
}

/// Deletes a handful of families of names, and edits single ones.
fn edit(backend: &mut Wire, names: &[String], random: &mut SmallRng) -> Result<()> {
    let count = names.len();
    let deleted_from = random.random_range(0..count);
    let run = random.random_range(0..count.min(60));
    for name in names.iter().skip(deleted_from).take(run) {
        if random.random_ratio(2, 3) {
            delete(backend, name)?;
        }
    }
    let mut some: Vec<&String> = names.sample(random, 60).collect();
    some.shuffle(random);
    for name in some {
        match random.random_range(0..6) {
            0 => delete(backend, name)?,
            // Refused where it exists.
            1 => drop(send(backend, "RESERVE", &[name, "be2!p2"])?),
            _ => activate(backend, name, random)?,
        }
    }
    Ok(())
}

fn activate(backend: &mut Wire, name: &str, random: &mut SmallRng) -> Result<()> {
    let location = LOCATIONS.choose(random).context("no location")?;
    let acl = ACLS.choose(random).context("no ACL")?;
    demand(backend, "ACTIVATE", &[name, location, acl])
}

fn delete(backend: &mut Wire, name: &str) -> Result<()> {
    demand(backend, "DELETE", &[name])
}

fn demand(backend: &mut Wire, word: &str, strings: &[&str]) -> Result<()> {
    let answer = send(backend, word, strings)?;
    ensure!(answer == "OK", "{word} {strings:?} answered {answer}");
    Ok(())
}

/// As literals, since names hold what ends a quoted string.
fn send(backend: &mut Wire, word: &str, strings: &[&str]) -> Result<String> {
    let literals = strings
        .iter()
        .map(|string| format!(" {{{}+}}\r\n{string}", string.len()));
    let command = format!("{word}{}", literals.collect::<String>());
    Ok(backend.command(&command)?.word)
}

/// Every octet from 0x20 to 0x2F, `^`, digits and letters of both cases, before, after and in the place of a dot; the
/// same with domains, and as deleted mailboxes.
fn names() -> Vec<String> {
    let mut names = BTreeSet::new();
    let octets = (0x20..=0x2f_u8).chain(*b"^09AZaz_~");
    for octet in octets
        .filter(|octet| !b".!".contains(octet))
        .map(char::from)
    {
        for name in [
            format!("user.amy{octet}"),
            format!("user.amy{octet}x"),
            format!("user.amy{octet}.x"),
            format!("user.amy.{octet}"),
            format!("user.amy.{octet}x"),
            format!("user.amy.x{octet}"),
            format!("user.amy.x{octet}y"),
            format!("user.amy.x.{octet}y"),
            format!("user.amy^x{octet}y"),
            format!("amy{octet}x"),
            format!("example.org!user.amy{octet}x"),
            format!("example.org!user.amy.{octet}x"),
            format!("example{octet}org!user.amy"),
            format!("DELETED.user.amy{octet}x.5F3C1A2B"),
            format!("DELETED.user.amy.x{octet}.5F3C1A2B"),
        ] {
            names.insert(name);
        }
    }
    for name in [
        "user",
        "user.amy",
        "user.amy.x",
        "user.amy.x.y",
        "user.amy^x",
        "user.amy^",
        "amy",
        "example.org!user.amy",
        "example.org!user.amy.x",
        "example.org!user",
        "DELETED.user.amy.5F3C1A2B",
        "DELETED.user.amy.5F3C1A2C",
        "DELETED.user.amy.x.5F3C1A2B",
        "example.org!DELETED.user.amy.x.5F3C1A2B",
        "DELETED-x.user.amy",
        "DELETED.x",
    ] {
        names.insert(name.to_owned());
    }
    names.into_iter().collect()
}
