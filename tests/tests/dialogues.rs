//! Conversations of several peers with our master, `dialogues/*.txt`.

use std::collections::BTreeSet;
use std::thread::scope;

use anyhow::{Result, bail, ensure};
use mupdate_tests::dialogue::play;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::programs::package_file;

/// One test for each file.
macro_rules! dialogues {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() -> Result<()> {
                play($name)
            }
        )*

        const PLAYED: &[&str] = &[$($name),*];
    };
}

dialogues! {
    barrier: "barrier",
    connections: "connections",
    eviction: "eviction",
    find_rule: "find-rule",
    limits: "limits",
    names: "names",
    partial: "partial",
    recovery: "recovery",
    reservations: "reservations",
    restart: "restart",
    slow_reader: "slow-reader",
    stream: "stream",
    strict: "strict",
}

#[test]
fn every_dialogue_is_played() -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(package_file("dialogues"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        found.extend(name.strip_suffix(".txt").map(str::to_owned));
    }
    let played = PLAYED.iter().map(|name| (*name).to_owned()).collect();
    ensure!(
        found == played,
        "dialogues are {found:?}, played are {played:?}"
    );
    Ok(())
}

/// Of many backends that ask for one name at the same time, one gets it.
#[test]
fn reservation_race() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    for round in 0..ROUNDS {
        let wires = (0..RIVALS)
            .map(|_| master.logged_in())
            .collect::<Result<Vec<_>>>()?;
        let answers = scope(|scope| {
            let ask = |(number, mut wire): (usize, mupdate_tests::wire::Wire)| {
                scope.spawn(move || {
                    wire.command(&format!("RESERVE \"user.r{round}\" \"be{number}!p1\""))
                })
            };
            let rivals: Vec<_> = wires.into_iter().enumerate().map(ask).collect();
            let join = |rival: std::thread::ScopedJoinHandle<'_, _>| match rival.join() {
                Ok(answer) => answer,
                Err(_) => bail!("a rival panicked"),
            };
            rivals.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let winners: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| answer.word == "OK")
            .map(|(number, _)| number)
            .collect();
        let [winner] = winners.as_slice() else {
            bail!("in round {round} {winners:?} have it")
        };
        let (data, _) = master
            .logged_in()?
            .data(&format!("FIND \"user.r{round}\""))?;
        let location = data.first().and_then(|response| response.arguments.get(1));
        ensure!(
            location == Some(&format!("be{winner}!p1").into_bytes()),
            "{winner} has it, but FIND shows {data:?}"
        );
    }
    master.stop()
}

const ROUNDS: usize = 30;
const RIVALS: usize = 8;
