//! Random edits, restarts and power cuts against a map; feeds against what they should have told.

use std::collections::BTreeMap;

use crate::common::{
    Model, activate, batch, check, deactivate, delete, dir, drive, group, name, open,
    open_without_history, reserve, small,
};
use proptest::prelude::*;
use proto::{Edit, Entry, MailboxName};
use store::log::What;
use store::sim::{SimDisk, Tear};
use store::{Feed, FellBehind, HostFilter, Sequence, Stepped, Store};

#[derive(Debug, Clone)]
enum Step {
    Edits(Vec<Edit>),
    Snapshot,
    Restart,
    PowerCut(u64),
    /// The history from before the last restart arrives.
    History,
    NewEpoch,
    ForgetConflicts,
    /// Each feed takes a chunk of at most so many changes.
    Feeds(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = (0..3u8).prop_map(|host| format!("be{host}!p"));
    let mailbox = (0..12u8).prop_map(|i| format!("user.u{i}"));
    (mailbox, at, 0..6u8).prop_map(|(mailbox, at, kind)| match kind {
        0 => reserve(&mailbox, &at),
        1 => deactivate(&mailbox, &at),
        2 => delete(&mailbox),
        _ => activate(&mailbox, &at),
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(edit(), 1..8).prop_map(Step::Edits),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::PowerCut),
        2 => Just(Step::History),
        1 => Just(Step::NewEpoch),
        1 => Just(Step::ForgetConflicts),
        6 => (1..9usize).prop_map(Step::Feeds),
    ]
}

/// A subscriber and the list it has been told.
struct Follower {
    filter: Option<HostFilter>,
    position: Sequence,
    feed: Feed,
    list: BTreeMap<MailboxName, Entry>,
}

impl Follower {
    fn new(store: &Store, hosts: Option<&[&str]>) -> Self {
        let filter = |hosts: &[&str]| HostFilter::new(hosts.iter().map(|h| h.as_bytes().to_vec()));
        Self {
            filter: hosts.map(filter),
            position: Sequence(0),
            feed: store.feed(Sequence(0)),
            list: BTreeMap::new(),
        }
    }

    /// A chunk tells each name once.
    fn follow(&mut self, changes_max: usize) -> bool {
        self.try_follow(changes_max).unwrap()
    }

    fn try_follow(&mut self, changes_max: usize) -> Result<bool, FellBehind> {
        let chunk = self.feed.next_chunk(self.filter.as_ref(), changes_max)?;
        assert!(chunk.through >= self.position && chunk.lines.len() <= changes_max);
        let mut names = chunk.lines.clone();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), chunk.lines.len());
        for name in chunk.lines {
            match chunk.version.get(&name) {
                Some(stored) => self.list.insert(name, stored.entry.clone()),
                None => self.list.remove(&name),
            };
        }
        self.position = chunk.through;
        Ok(self.position < chunk.version.sequence())
    }

    /// Once drained, it knows exactly what is on its servers.
    fn drain(&mut self, store: &Store) {
        while self.follow(3) {}
        let wanted = |entry: &Entry| {
            self.filter
                .as_ref()
                .is_none_or(|f| f.matches(entry.location()))
        };
        let version = store.current();
        let all = version
            .iter()
            .map(|(name, stored)| (name.clone(), stored.entry.clone()));
        let expected: BTreeMap<_, _> = all.filter(|(_, entry)| wanted(entry)).collect();
        self.list.retain(|_, entry| wanted(entry));
        assert_eq!(self.list, expected);
        assert_eq!(self.position, version.sequence());
    }
}

struct World {
    disk: SimDisk,
    stepped: Option<Stepped>,
    /// Whether the history from before the last restart has arrived.
    history: bool,
    model: Model,
    followers: Vec<Follower>,
}

impl World {
    fn store(&self) -> Store {
        self.stepped.as_ref().unwrap().store.clone()
    }

    fn perform(&mut self, step: &Step) {
        let stepped = self.stepped.as_mut().unwrap();
        let store = stepped.store.clone();
        match step {
            Step::Edits(edits) => {
                let answers = group(stepped, &[batch(edits.clone())]).remove(0).unwrap();
                for (edit, answer) in edits.iter().zip(answers) {
                    assert_eq!(self.model.edit(edit), answer.is_ok(), "{edit:?}");
                }
            }
            Step::Snapshot => stepped.snapshotter.step().unwrap(),
            Step::NewEpoch => {
                let before = store.current();
                let after = drive(store.new_epoch(), || _ = stepped.writer.step())
                    .unwrap()
                    .unwrap();
                assert!(after.epoch() != before.epoch() && after.sequence() == before.sequence());
                assert!(after.lineage().includes(before.epoch(), before.sequence()));
                assert!(
                    !after
                        .lineage()
                        .includes(before.epoch(), before.sequence().next())
                );
            }
            Step::ForgetConflicts => {
                let asked = store.forget_conflicts(crate::common::origin());
                drive(asked, || _ = stepped.writer.step()).unwrap().unwrap();
                self.model.conflicts.clear();
            }
            Step::Feeds(changes_max) => {
                for follower in &mut self.followers {
                    let position = follower.position;
                    if follower.try_follow(*changes_max).is_err() {
                        assert!(!self.history, "history should reach back to {position}");
                    }
                }
            }
            Step::History => self.read_history(),
            Step::Restart => self.restart(None),
            Step::PowerCut(seed) => self.restart(Some(*seed)),
        }
        let version = self.store().current();
        check(&version);
        assert_eq!(Model::of(&version), self.model);
    }

    fn read_history(&mut self) {
        let stepped = self.stepped.as_mut().unwrap();
        stepped.read_history();
        assert_eq!(stepped.report.findings, []);
        assert!(*stepped.store.history_complete().borrow());
        let version = stepped.store.current();
        let held = version.history().since(Sequence(0)).unwrap().count();
        assert_eq!(u64::try_from(held).unwrap(), version.sequence().0);
        self.history = true;
    }

    fn restart(&mut self, power_cut: Option<u64>) {
        self.stepped = None;
        if let Some(seed) = power_cut {
            self.disk.reboot(Tear::Mix, seed);
        }
        let stepped = open_without_history(&self.disk).unwrap();
        self.history = false;
        assert!(
            stepped.report.findings.is_empty(),
            "{:?}",
            stepped.report.findings
        );
        for follower in &mut self.followers {
            // A subscriber that comes back starts where it was, with what it was owed still open.
            let filter = follower.filter.clone();
            if filter.is_some() {
                *follower = Follower::new(&stepped.store, None);
                follower.filter = filter;
            } else {
                follower.feed = stepped.store.feed(follower.position);
            }
        }
        self.stepped = Some(stepped);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn store_is_a_durable_map(steps in prop::collection::vec(step(), 1..60)) {
        let disk = SimDisk::new();
        let stepped = open(&disk).unwrap();
        let followers = [None, Some(&["be0"][..]), Some(&["be1", "be2"][..])];
        let followers = followers.map(|hosts| Follower::new(&stepped.store, hosts)).into();
        let mut world = World { disk, stepped: Some(stepped), history: true, model: Model::default(), followers };
        for step in &steps {
            world.perform(step);
        }
        world.read_history();
        let store = world.store();
        for follower in &mut world.followers {
            follower.drain(&store);
        }
        let groups = store::log::read(&world.disk, dir()).unwrap();
        let records = groups.flat_map(|group| group.unwrap().records);
        let changes = records.filter(|record| matches!(record.what, What::Change(_))).count();
        prop_assert_eq!(u64::try_from(changes).unwrap(), store.current().sequence().0);
    }
}

#[test]
fn history_is_bounded_but_not_behind_a_feed_before_the_hard_cap() {
    let disk = SimDisk::new();
    let config = store::StoreConfig {
        history_changes_max: 10,
        hard_cap_factor: 3,
        ..small()
    };
    let opened = Store::open_stepped(
        std::sync::Arc::new(disk.clone()),
        dir(),
        config,
        Box::new(crate::common::Plain),
    );
    let mut stepped = opened.unwrap();
    let one = |i: u64| [batch(vec![activate(&format!("user.u{i}"), "be1!p")])];
    let store = stepped.store.clone();
    let mut feed = store.feed(Sequence(0));
    for i in 1..=30 {
        group(&mut stepped, &one(i));
    }
    assert_eq!(store.current().history().len(), 30);
    assert_eq!(feed.next_chunk(None, 5).unwrap().through, Sequence(5));
    group(&mut stepped, &one(31));
    assert_eq!(store.current().history().start(), Sequence(5));
    for i in 32..=36 {
        group(&mut stepped, &one(i));
    }
    let fell = feed.next_chunk(None, 5).unwrap_err();
    assert_eq!((fell.position, fell.start), (Sequence(5), Sequence(6)));
    drop(feed);
    group(&mut stepped, &one(37));
    assert_eq!(store.current().history().len(), 10);
    for _ in 0..3 {
        stepped.snapshotter.step().unwrap();
    }
    let segments = segments(&disk);
    let groups = store::log::read(&disk, dir()).unwrap();
    let first = groups.map(|group| group.unwrap().first).min().unwrap();
    assert!(
        segments < 10 && first > Sequence(1) && first <= Sequence(28),
        "{segments} {first}"
    );
    drop(stepped);
    let history = open(&disk).unwrap().store.current().history().clone();
    assert!(history.start() <= Sequence(27) && history.since(Sequence(27)).unwrap().count() == 10);
    assert!(store.current().get(&name("user.u1")).is_some());
}

fn segments(disk: &SimDisk) -> usize {
    let files = disk.files();
    let logs = files
        .iter()
        .filter(|f| f.to_str().unwrap().contains("log."));
    logs.count()
}

#[test]
fn history_that_arrives_late_is_not_removed_before() {
    let disk = SimDisk::new();
    let one = |i: u64| [batch(vec![activate(&format!("user.u{i}"), "be1!p")])];
    let mut stepped = open(&disk).unwrap();
    for i in 1..=40 {
        group(&mut stepped, &one(i));
    }
    stepped.snapshotter.step().unwrap();
    drop(stepped);
    let before = segments(&disk);
    assert!(before > 3);

    let mut stepped = open_without_history(&disk).unwrap();
    let store = stepped.store.clone();
    assert!(!*store.history_complete().borrow());
    let mut feed = store.feed(Sequence(7));
    let behind = feed.next_chunk(None, 5).unwrap_err();
    assert_eq!((behind.position, behind.start), (Sequence(7), Sequence(40)));
    for i in 41..=60 {
        group(&mut stepped, &one(i));
        stepped.snapshotter.step().unwrap();
    }
    assert!(segments(&disk) > before);
    stepped.read_history();
    assert!(*store.history_complete().borrow());
    assert_eq!(store.current().history().start(), Sequence(0));
    let chunk = feed.next_chunk(None, 1000).unwrap();
    assert_eq!((chunk.lines.len(), chunk.through), (53, Sequence(60)));
    stepped.read_history();
    assert_eq!(store.current().history().len(), 60);
}

#[test]
fn history_that_the_bounds_leave_no_room_for_is_not_waited_for() {
    let disk = SimDisk::new();
    let config = |history_changes_max| store::StoreConfig {
        history_changes_max,
        hard_cap_factor: 1,
        ..small()
    };
    let open = |changes| {
        let rules = Box::new(crate::common::Plain);
        Store::open_stepped(
            std::sync::Arc::new(disk.clone()),
            dir(),
            config(changes),
            rules,
        )
    };
    let one = |i: u64| [batch(vec![activate(&format!("user.u{i}"), "be1!p")])];
    let mut stepped = open(10).unwrap();
    for i in 1..=40 {
        group(&mut stepped, &one(i));
    }
    stepped.snapshotter.step().unwrap();
    drop(stepped);
    let mut stepped = open(10).unwrap();
    for i in 41..=55 {
        group(&mut stepped, &one(i));
    }
    // What was cut off meanwhile leaves a gap between both.
    stepped.read_history();
    let history = stepped.store.current().history().clone();
    assert_eq!((history.start(), history.len()), (Sequence(45), 10));
    assert!(*stepped.store.history_complete().borrow());
    for _ in 0..3 {
        stepped.snapshotter.step().unwrap();
    }
    drop(stepped);
    let first = store::log::read(&disk, dir())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .first;
    assert!(first > Sequence(20), "{first}");

    let stepped = open(0).unwrap();
    assert!(*stepped.store.history_complete().borrow());
}
