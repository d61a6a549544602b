//! Power cuts and failing calls while a list follows another one.

use std::io::ErrorKind;

use proto::MailboxName;
use store::sim::{SimDisk, Tear};
use store::{EditError, Epoch, Following, Fork, Place, Sequence, Stepped, Version};

use crate::common::{Model, activate, batch, check, delete, drive, name, open, origin, reserve};

/// Requests of a run, in lives of eight each.
const REQUESTS: u64 = 32;

/// What following leaves behind.
#[derive(Debug, Clone, PartialEq)]
struct State {
    place: Option<Place>,
    forks: Vec<Fork>,
    exact: bool,
    key: Option<[u8; 32]>,
    held: Vec<MailboxName>,
    model: Model,
}

impl State {
    fn of(version: &Version) -> Self {
        check(version);
        let follows = version.owner_history().epoch != version.epoch();
        // A store's own key is another one in each run.
        let key = *version.lineage().key();
        Self {
            place: follows.then(|| version.place()),
            forks: version.owner_history().forks.to_vec(),
            exact: version.is_exact(),
            key: key.iter().all(|octet| *octet == key[0]).then_some(key),
            held: version.held_names().cloned().collect(),
            model: Model::of(version),
        }
    }
}

/// One thing that a slave asks of its store.
fn ask(stepped: &mut Stepped, number: u64) -> Result<(), EditError> {
    let store = stepped.store.clone();
    let writer = &mut stepped.writer;
    let user = |i: u64| format!("user.u{}", i % 5);
    let octet = u8::try_from(number).unwrap();
    let reached = |expected| {
        let place = Place {
            epoch: Epoch([100; 16]),
            sequence: Sequence(10 + number),
        };
        let fork = Fork {
            epoch: Epoch([octet / 8; 16]),
            sequence: Sequence(5),
        };
        Some(Following {
            place,
            forks: [fork].into(),
            continues: !number.is_multiple_of(9),
            expected,
        })
    };
    let asked = async {
        let lines = match number % 8 {
            0 => return store.adopt([octet; 32]).await,
            1 => vec![activate(&user(number), "be1!p"), delete("user.none")],
            2 => vec![
                activate(&user(number), "be2!p"),
                reserve(&user(number + 1), "be2!p"),
                activate(&user(number + 2), "be2!p"),
            ],
            3 => {
                let names = [name(&user(number - 1)), name(&user(number)), name("user.x")];
                return store.hold(origin(), &names).await;
            }
            6 if number == 14 => return store.keep_held(origin()).await,
            6 => return store.confirm(origin()).await,
            7 if number == 15 => return store.unfollow(origin()).await,
            _ => Vec::new(),
        };
        let sum = store.current().sum();
        let reached = match number % 8 {
            1 => None,
            4 => reached(Some(sum)),
            _ => reached(None),
        };
        store.follow(batch(lines), reached).await.map(|done| {
            done.unwrap();
        })
    };
    drive(asked, || _ = writer.step())
}

/// Lives of eight requests each, until one fails. Returns how many were answered, and tells each
/// state on the way.
fn run(disk: &SimDisk, mut tell: impl FnMut(State)) -> u64 {
    let mut number = 0;
    while number < REQUESTS {
        let Ok(mut stepped) = open(disk) else {
            return number;
        };
        for _ in 0..8 {
            if ask(&mut stepped, number).is_err() {
                return number;
            }
            number += 1;
            tell(State::of(&stepped.store.current()));
            if number % 5 == 0 {
                // May fail, and then must do no harm.
                drop(stepped.snapshotter.step());
            }
        }
    }
    number
}

/// The states of an undisturbed run, and its calls.
fn undisturbed() -> (Vec<State>, u64) {
    let disk = SimDisk::new();
    let mut states = vec![State::of(&open(&disk).unwrap().store.current())];
    let begin = disk.calls();
    assert_eq!(run(&disk, |state| states.push(state)), REQUESTS);
    let seen = |is: fn(&State) -> bool| states.iter().any(is);
    assert!(seen(|s| s.exact && s.place.is_some()) && seen(|s| s.held.len() > 1));
    assert!(seen(|s| !s.exact && !s.forks.is_empty()));
    let files = disk.files();
    let segments = files
        .iter()
        .filter(|f| f.to_str().unwrap().contains("log."));
    assert!(segments.count() > 3);
    (states, disk.calls() - begin)
}

fn aftermath(disk: &SimDisk, states: &[State], answered: u64, context: &str) {
    let stepped = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = State::of(&stepped.store.current());
    let answered = usize::try_from(answered).unwrap();
    let possible = &states[answered..states.len().min(answered + 2)];
    assert!(
        possible.contains(&found),
        "{context}: {found:?}, not {possible:?}"
    );
    drop(stepped);
    let again = open(disk).unwrap_or_else(|error| panic!("{context}, later: {error}"));
    assert!(
        again.report.findings.is_empty(),
        "{context}: {:?}",
        again.report
    );
    assert_eq!(State::of(&again.store.current()), found, "{context}, later");
}

#[test]
fn power_cut_after_every_call() {
    let (states, calls) = undisturbed();
    for call in 0..=calls {
        for (tear, seeds) in [(Tear::Lose, 1), (Tear::Keep, 1), (Tear::Mix, 3)] {
            for seed in 0..seeds {
                let context = format!("power cut after call {call}, {tear:?}, seed {seed}");
                let disk = SimDisk::new();
                drop(open(&disk).unwrap());
                disk.cut_power_after(disk.calls() + call);
                let answered = run(&disk, |_| {});
                disk.reboot(tear, seed * 1000 + call);
                aftermath(&disk, &states, answered, &context);
            }
        }
    }
}

#[test]
fn every_call_failing() {
    let (states, calls) = undisturbed();
    for call in 1..=calls {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            for reboot in [None, Some(Tear::Lose), Some(Tear::Mix)] {
                let context = format!("{kind:?} in call {call}, then {reboot:?}");
                let disk = SimDisk::new();
                drop(open(&disk).unwrap());
                disk.fail_call(disk.calls() + call, kind);
                let answered = run(&disk, |_| {});
                if let Some(tear) = reboot {
                    disk.reboot(tear, call);
                }
                aftermath(&disk, &states, answered, &context);
            }
        }
    }
}
