//! Power cuts after every file call of a run, and every file call failing.

use std::io::ErrorKind;

use crate::common::{
    Answers, Model, activate, batch, check, deactivate, delete, drive, group, open, reserve,
};
use proto::Refusal;
use store::sim::{SimDisk, Tear};
use store::{Batch, EditError, Health, Stepped};

/// What may be there: all that was acknowledged, and perhaps the one group whose end nobody saw.
struct Expected {
    acknowledged: Model,
    perhaps: Option<Model>,
}

impl Expected {
    fn new() -> Self {
        Self {
            acknowledged: Model::default(),
            perhaps: None,
        }
    }

    fn learn(&mut self, batches: &[Batch], answers: &[Answers]) {
        let mut after = self.acknowledged.clone();
        for edit in batches.iter().flat_map(|batch| &batch.edits) {
            after.edit(edit);
        }
        let unknown = answers.contains(&Err(EditError::OutcomeUnknown));
        let full = |a: &Answers| a.iter().flatten().any(|one| *one == Err(Refusal::Storage));
        if unknown {
            assert!(answers.iter().all(|a| *a == Err(EditError::OutcomeUnknown)));
            self.perhaps = Some(after);
        } else if answers.iter().any(full) {
            let all = answers.iter().flatten().flatten();
            assert!(all.into_iter().all(|one| *one == Err(Refusal::Storage)));
        } else {
            self.acknowledged = after;
        }
    }

    /// What is there is one of both, and is the truth from now on.
    fn settle(&mut self, stepped: &Stepped, context: &str) {
        let version = stepped.store.current();
        check(&version);
        let found = Model::of(&version);
        let perhaps = self.perhaps.take();
        assert!(
            found == self.acknowledged || Some(&found) == perhaps.as_ref(),
            "{context}: {found:?} is neither {:?} nor {perhaps:?}",
            self.acknowledged
        );
        self.acknowledged = found;
    }
}

fn script(round: usize) -> Vec<Vec<Batch>> {
    let at = |i: usize| format!("be{}!p", (round + i) % 3);
    let user = |i: usize| format!("user.u{i}");
    let one = |edit| vec![batch(vec![edit])];
    let mut groups = vec![
        one(reserve(&user(round), &at(0))),
        vec![
            batch(vec![
                activate(&user(round), &at(0)),
                activate(&user(7), &at(1)),
            ]),
            batch(vec![reserve(&user(7), &at(2)), delete("user.nobody")]),
            batch(vec![activate(&format!("user.u7.{round}"), &at(1))]),
        ],
        one(deactivate(&user(7), &at(1))),
        vec![batch(vec![]), batch(vec![delete(&user(round))])],
    ];
    groups.extend((0..4).map(|i| one(activate(&user(i), &at(i)))));
    groups.retain(|batches| batches.iter().all(|batch| !batch.edits.is_empty()));
    groups
}

/// Opens, edits, takes snapshots, closes, three times. Ends early when the power is gone.
fn run(disk: &SimDisk, expected: &mut Expected, context: &str) {
    for round in 0..3 {
        let Ok(mut stepped) = open(disk) else {
            continue;
        };
        expected.settle(&stepped, context);
        for (i, batches) in script(round).into_iter().enumerate() {
            let answers = group(&mut stepped, &batches);
            expected.learn(&batches, &answers);
            if i % 3 == 2 {
                // May fail, and then must do no harm.
                drop(stepped.snapshotter.step());
            }
        }
        if round == 1 {
            let store = stepped.store.clone();
            let writer = &mut stepped.writer;
            drive(store.new_epoch(), || _ = writer.step()).unwrap().ok();
        }
        if disk.is_dark() {
            return;
        }
    }
}

fn calls_of_a_run() -> u64 {
    let disk = SimDisk::new();
    let mut expected = Expected::new();
    run(&disk, &mut expected, "undisturbed");
    assert!(expected.perhaps.is_none());
    let files = disk.files();
    let many = |what: &str| {
        files
            .iter()
            .filter(|f| f.to_str().unwrap().contains(what))
            .count()
    };
    assert_eq!(many("snapshot"), 2, "{files:?}");
    assert!(many("log") > 2, "{files:?}");
    disk.calls()
}

/// After whatever happened: the list is right, and goes on.
fn aftermath(disk: &SimDisk, mut expected: Expected, context: &str) {
    let mut stepped = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    expected.settle(&stepped, context);
    let batches = [batch(vec![
        activate("user.after", "be1!p"),
        delete("user.u7"),
    ])];
    let answers = group(&mut stepped, &batches);
    expected.learn(&batches, &answers);
    assert!(
        expected.perhaps.is_none() && answers[0].as_ref().unwrap()[0].is_ok(),
        "{context}"
    );
    drop(stepped);
    let stepped = open(disk).unwrap_or_else(|error| panic!("{context}, later: {error}"));
    assert!(
        stepped.report.findings.is_empty(),
        "{context}: {:?}",
        stepped.report.findings
    );
    expected.settle(&stepped, context);
}

fn cut_everywhere(tear: Tear, seeds: u64) {
    for call in 0..=calls_of_a_run() {
        for seed in 0..seeds {
            let context = format!("power cut after call {call}, {tear:?}, seed {seed}");
            let disk = SimDisk::new();
            disk.cut_power_after(call);
            let mut expected = Expected::new();
            run(&disk, &mut expected, &context);
            disk.reboot(tear, seed.wrapping_add(call * 1000));
            aftermath(&disk, expected, &context);
        }
    }
}

#[test]
fn power_cut_after_every_call_losing_what_is_not_synced() {
    cut_everywhere(Tear::Lose, 1);
}

#[test]
fn power_cut_after_every_call_keeping_what_is_not_synced() {
    cut_everywhere(Tear::Keep, 1);
}

#[test]
fn power_cut_after_every_call_tearing_and_reordering() {
    cut_everywhere(Tear::Mix, 6);
}

fn fail_everywhere(kind: ErrorKind) {
    for call in 1..=calls_of_a_run() {
        for reboot in [None, Some(Tear::Lose), Some(Tear::Mix)] {
            let context = format!("{kind:?} in call {call}, then {reboot:?}");
            let disk = SimDisk::new();
            disk.fail_call(call, kind);
            let mut expected = Expected::new();
            run(&disk, &mut expected, &context);
            if let Some(tear) = reboot {
                disk.reboot(tear, call);
            }
            aftermath(&disk, expected, &context);
        }
    }
}

#[test]
fn every_call_failing_with_a_broken_disk() {
    fail_everywhere(ErrorKind::Other);
}

#[test]
fn every_call_failing_with_a_full_disk() {
    fail_everywhere(ErrorKind::StorageFull);
}

#[test]
fn full_disk_refuses_edits_until_there_is_space() {
    let disk = SimDisk::new();
    let mut stepped = open(&disk).unwrap();
    let first = [batch(vec![activate("user.a", "be1!p")])];
    let before = group(&mut stepped, &first)[0].clone().unwrap()[0]
        .clone()
        .unwrap();
    let used = |disk: &SimDisk| {
        disk.files()
            .iter()
            .map(|f| disk.content(f).len())
            .sum::<usize>()
    };
    let size = used(&disk);
    disk.set_capacity(Some(size + 20));
    for _ in 0..3 {
        let full = [batch(vec![delete("user.a"), reserve("user.a", "be2!p")])];
        let answers = group(&mut stepped, &full)[0].clone().unwrap();
        assert_eq!(answers, [Err(Refusal::Storage), Err(Refusal::Storage)]);
        assert_eq!(stepped.store.health(), Health::Full);
        assert_eq!(
            (used(&disk), stepped.store.current().sequence()),
            (size, before.sequence)
        );
    }
    disk.set_capacity(None);
    let again = [batch(vec![delete("user.a")])];
    let after = group(&mut stepped, &again)[0].clone().unwrap()[0]
        .clone()
        .unwrap();
    assert_eq!(
        (after.sequence, stepped.store.health()),
        (before.sequence.next(), Health::Writable)
    );
}

#[test]
fn failed_sync_ends_the_sessions_and_all_edits_until_a_restart() {
    let disk = SimDisk::new();
    let mut stepped = open(&disk).unwrap();
    let edits = [batch(vec![activate("user.a", "be1!p")])];
    disk.fail_call(disk.calls() + 2, ErrorKind::Other);
    assert_eq!(
        group(&mut stepped, &edits)[0],
        Err(EditError::OutcomeUnknown)
    );
    assert_eq!(stepped.store.health(), Health::Failed);
    assert!(stepped.store.current().is_empty());
    let calls = disk.calls();
    assert_eq!(
        group(&mut stepped, &edits)[0],
        Ok(vec![Err(Refusal::Storage)])
    );
    assert_eq!(
        disk.calls(),
        calls,
        "a disk that failed is not written any more"
    );
    drop(stepped);
    // The page cache still has the group: it counts, and is made durable before anything else.
    let stepped = open(&disk).unwrap();
    assert_eq!(stepped.store.current().len(), 1);
    drop(stepped);
    disk.reboot(Tear::Lose, 0);
    assert_eq!(open(&disk).unwrap().store.current().len(), 1);
}
