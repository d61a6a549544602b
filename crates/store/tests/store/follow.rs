//! A list that follows another one, through restarts and power cuts, and who follows that in turn.

mod digests;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proto::{Edit, EditKind, Entry, MailboxName};
use store::sim::{SimDisk, Tear};
use store::{Feed, Following, Mismatch, Place, Standing, Stepped, Store, Sum, Version};

use crate::common::{batch, drive, group, open, origin};
pub(crate) use digests::check_digests;
use step::{Step, step};

type List = BTreeMap<MailboxName, Entry>;

/// The list as digests and clients of RESYNC see it.
fn told(version: &Version) -> List {
    let counted = version.iter().filter(|(_, stored)| !stored.held);
    counted
        .map(|(name, stored)| (name.clone(), wire(&stored.entry)))
        .collect()
}

/// What the wire tells of an entry: not what made it a reservation.
fn wire(entry: &Entry) -> Entry {
    match entry {
        Entry::Active { .. } => entry.clone(),
        Entry::Reserved { location, .. } => Entry::Reserved {
            location: location.clone(),
            by: proto::ReservedBy::Reserve,
        },
    }
}

fn line(mailbox: &MailboxName, version: &Version) -> Edit {
    let stored = version.get(mailbox).filter(|stored| !stored.held);
    let kind = match stored.map(|stored| wire(&stored.entry)) {
        None => EditKind::Delete,
        Some(Entry::Active { location, acl }) => EditKind::Activate { location, acl },
        Some(Entry::Reserved { location, .. }) => EditKind::Reserve { location },
    };
    Edit {
        mailbox: mailbox.clone(),
        kind,
    }
}

struct Client {
    list: List,
    /// Where it can resume; `None`: it has to compare.
    place: Option<Place>,
    feed: Option<Feed>,
}

struct World {
    owner: Stepped,
    /// Lists of the owner's at all its places.
    stages: Vec<(Place, List)>,
    disk: SimDisk,
    relay: Option<Stepped>,
    /// The relay's connection to the owner.
    feed: Option<Feed>,
    /// All changes since the place on record came as lines of a log.
    continues: bool,
    client: Client,
}

impl World {
    fn new() -> Self {
        let owner = open(&SimDisk::new()).unwrap();
        let disk = SimDisk::new();
        let mut relay = open(&disk).unwrap();
        let key = *owner.store.current().lineage().key();
        let store = relay.store.clone();
        drive(store.adopt(key), || _ = relay.writer.step()).unwrap();
        let stage = (owner.store.current().place(), List::new());
        Self {
            owner,
            stages: vec![stage],
            disk,
            relay: Some(relay),
            feed: None,
            continues: false,
            client: Client {
                list: List::new(),
                place: None,
                feed: None,
            },
        }
    }

    fn relay(&self) -> Store {
        self.relay.as_ref().unwrap().store.clone()
    }

    fn with_relay<T>(&mut self, ask: impl AsyncFnOnce(Store) -> T) -> T {
        let relay = self.relay.as_mut().unwrap();
        let store = relay.store.clone();
        drive(ask(store), || _ = relay.writer.step())
    }

    fn perform(&mut self, step: &Step) {
        match step {
            Step::Edits(edits) => self.owner_edits(edits),
            Step::Chunk { changes_max, hold } => self.chunk(*changes_max, *hold),
            Step::Reconnect => self.reconnect(),
            Step::Compare => self.compare(),
            Step::Unfollow(edits) => self.unfollow(edits),
            Step::OwnerForks => {
                let writer = &mut self.owner.writer;
                let forked = drive(self.owner.store.new_epoch(), || _ = writer.step());
                let version = forked.unwrap().unwrap();
                self.stages.push((version.place(), told(&version)));
                self.feed = None;
            }
            Step::Confirm(keep) => {
                let keep = *keep;
                self.with_relay(async move |store| {
                    if keep {
                        store.keep_held(origin()).await
                    } else {
                        store.confirm(origin()).await
                    }
                })
                .unwrap();
                assert_eq!(self.relay().current().held(), 0);
                if keep {
                    // The list has more than the owner's now.
                    self.compare();
                }
            }
            Step::Snapshot => self.relay.as_mut().unwrap().snapshotter.step().unwrap(),
            Step::Restart { power_cut, history } => self.restart(*power_cut, *history),
            Step::OtherKey => self.other_key(),
            Step::Client(changes_max) => self.client_chunk(*changes_max),
            Step::ClientReconnect => self.client_connects(),
            Step::ClientFromOwner(ago) => {
                let at = self.stages.len().saturating_sub(1 + ago);
                let (place, list) = self.stages[at].clone();
                self.client.place = Some(place);
                self.client.list = list;
                self.client_connects();
            }
        }
        let version = self.relay().current();
        check_digests(&version);
        if version.is_exact() && version.owner_history().epoch != version.epoch() {
            let place = version.place();
            let stage = self.stages.iter().find(|(at, _)| *at == place);
            if let Some((_, list)) = stage {
                assert_eq!(&told(&version), list, "at {place:?}");
            }
        }
    }

    fn owner_edits(&mut self, edits: &[Edit]) {
        for edit in edits {
            group(&mut self.owner, &[batch(vec![edit.clone()])])
                .remove(0)
                .unwrap();
            let version = self.owner.store.current();
            if self.stages.last().map(|(place, _)| *place) != Some(version.place()) {
                self.stages.push((version.place(), told(&version)));
            }
        }
    }

    fn reconnect(&mut self) {
        let owner = self.owner.store.current();
        self.feed = match owner.local_position(&self.relay().current().place()) {
            Standing::From(position) => Some(self.owner.store.feed(position)),
            Standing::Behind => panic!("the owner is behind its relay"),
            Standing::Unknown => None,
        };
    }

    fn following(&self, place: Place, expected: Option<Sum>) -> Following {
        Following {
            place,
            forks: Arc::from(self.owner.store.current().lineage().forks()),
            continues: self.continues,
            expected,
        }
    }

    fn chunk(&mut self, changes_max: usize, hold: bool) {
        let Some(feed) = &mut self.feed else {
            return self.reconnect();
        };
        let chunk = feed.next_chunk(None, changes_max).unwrap();
        let mut edits: Vec<Edit> = chunk
            .lines
            .iter()
            .map(|name| line(name, &chunk.version))
            .collect();
        if hold {
            let gone = |edit: &Edit| edit.kind == EditKind::Delete;
            let names = edits.extract_if(.., |edit| gone(edit));
            let names: Vec<MailboxName> = names.map(|edit| edit.mailbox).collect();
            self.with_relay(async |store| store.hold(origin(), &names).await)
                .unwrap();
        }
        let sum = chunk.exact.then(|| chunk.version.sum());
        let reached = self.following(chunk.place.unwrap(), sum);
        let place = reached.place;
        let followed = self.with_relay(async |store| {
            let edits = batch(edits);
            store.follow(edits, Some(reached)).await
        });
        let followed = followed.unwrap().unwrap();
        let version = self.relay().current();
        assert_eq!(
            (version.place(), version.is_exact()),
            (place, followed.exact)
        );
        assert!(followed.exact || sum.is_none());
        assert_eq!(followed.sequence, version.sequence());
        self.continues = true;
    }

    /// As a resync by digests ends: differences, then the owner's sum.
    fn compare(&mut self) {
        let (owner, relay) = (self.owner.store.current(), self.relay().current());
        let (theirs, ours) = (told(&owner), told(&relay));
        let names = theirs.keys().chain(ours.keys());
        let differing = names.filter(|name| theirs.get(*name) != ours.get(*name));
        let edits: Vec<Edit> = differing.map(|name| line(name, &owner)).collect();
        self.continues = false;
        let wrong = owner.sum()
            + Sum {
                count: 1,
                ..Sum::default()
            };
        let reached = self.following(owner.place(), Some(wrong));
        let (asked, lines) = (reached.clone(), batch(edits.clone()));
        let refused = self.with_relay(async |store| store.follow(lines, Some(asked)).await);
        let mismatch = Mismatch {
            found: owner.sum(),
            expected: wrong,
        };
        assert_eq!(refused.unwrap(), Err(mismatch));
        assert!(
            Arc::ptr_eq(&relay, &self.relay().current()),
            "nothing was done"
        );
        let reached = Following {
            expected: Some(owner.sum()),
            ..reached
        };
        let done = self.with_relay(async |store| store.follow(batch(edits), Some(reached)).await);
        assert!(done.unwrap().unwrap().exact);
        assert_eq!(self.relay().current().place(), owner.place());
        self.feed = Some(self.owner.store.feed(owner.sequence()));
        self.continues = true;
    }

    fn unfollow(&mut self, edits: &[Edit]) {
        self.with_relay(async |store| store.unfollow(origin()).await)
            .unwrap();
        group(self.relay.as_mut().unwrap(), &[batch(edits.to_vec())])
            .remove(0)
            .unwrap();
        let version = self.relay().current();
        let own = Place {
            epoch: version.epoch(),
            sequence: version.sequence(),
        };
        assert_eq!((version.place(), version.is_exact()), (own, true));
        self.feed = None;
        self.continues = false;
        self.compare();
    }

    fn other_key(&mut self) {
        let before = self.relay().current();
        let key = *before.lineage().key();
        self.with_relay(async |store| store.adopt([7; 32]).await)
            .unwrap();
        let version = self.relay().current();
        check_digests(&version);
        assert!(version.root() != before.root() || version.count() == 0);
        self.restart(None, true);
        self.with_relay(async |store| store.adopt(key).await)
            .unwrap();
        let after = self.relay().current();
        assert_eq!((after.sum(), after.place()), (before.sum(), before.place()));
    }

    /// All of what was acknowledged is there again.
    fn restart(&mut self, power_cut: Option<u64>, history: bool) {
        let before = self.relay().current();
        self.relay = None;
        self.client.feed = None;
        if let Some(seed) = power_cut {
            self.disk.reboot(Tear::Mix, seed);
        }
        let mut relay = open(&self.disk).unwrap();
        if history {
            relay.read_history();
        }
        assert!(relay.report.findings.is_empty(), "{:?}", relay.report);
        let after = relay.store.current();
        assert!(after.iter().eq(before.iter()) && after.held_names().eq(before.held_names()));
        assert_eq!(
            (after.place(), after.is_exact(), after.sequence()),
            (before.place(), before.is_exact(), before.sequence())
        );
        assert_eq!(after.owner_history(), before.owner_history());
        if history {
            for (place, _) in &self.stages {
                let (then, now) = (before.local_position(place), after.local_position(place));
                // What was known is known; but of the places at the begin of the history only the
                // last may be left.
                let begin = Standing::From(after.history().start());
                let forgotten = now == Standing::Unknown && then == begin;
                assert!(
                    now == then || then == Standing::Unknown || forgotten,
                    "{place:?}: {then:?}, after the restart {now:?}"
                );
            }
        }
        self.relay = Some(relay);
        self.client_connects();
    }

    fn client_connects(&mut self) {
        let version = self.relay().current();
        let standing = self
            .client
            .place
            .map(|place| version.local_position(&place));
        match standing {
            Some(Standing::From(position)) => {
                self.client.feed = Some(self.relay().resume(position, &version));
            }
            Some(Standing::Behind) => self.client.feed = None,
            None | Some(Standing::Unknown) => {
                self.client.list = told(&version);
                self.client.place = version.is_exact().then(|| version.place());
                self.client.feed = Some(self.relay().feed(version.sequence()));
            }
        }
    }

    fn client_chunk(&mut self, changes_max: usize) {
        let Some(feed) = &mut self.client.feed else {
            return self.client_connects();
        };
        let Ok(chunk) = feed.next_chunk(None, changes_max) else {
            // The relay has compared its list meanwhile.
            return self.client_connects();
        };
        for name in &chunk.lines {
            let stored = chunk.version.get(name).filter(|stored| !stored.held);
            match stored {
                Some(stored) => _ = self.client.list.insert(name.clone(), wire(&stored.entry)),
                None => _ = self.client.list.remove(name),
            }
        }
        if let Some(place) = chunk.place {
            let back = self
                .client
                .place
                .filter(|before| before.epoch == place.epoch && before.sequence > place.sequence);
            self.client.place = Some(back.unwrap_or(place));
        }
        let drained = chunk.through == chunk.version.sequence();
        assert_eq!(chunk.exact, drained && chunk.version.is_exact());
        // Elsewhere the client may know of a change that the relay is told with a later one.
        if chunk.exact {
            let expected = told(&chunk.version);
            assert_eq!(self.client.list, expected, "a change was skipped");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_relay_is_a_stage_of_its_owner(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.perform(step);
        }
        world.client_connects();
        world.reconnect();
        if world.feed.is_none() {
            world.compare();
        }
        while !world.relay().current().is_exact() || world.relay().current().place() != world.owner.store.current().place() {
            world.chunk(5, false);
        }
        world.client_connects();
        for _ in 0..200 {
            world.client_chunk(3);
        }
        prop_assert_eq!(&world.client.list, &told(&world.relay().current()));
        world.compare();
        let (relay, owner) = (world.relay().current(), world.owner.store.current());
        prop_assert_eq!((told(&relay), relay.place()), (told(&owner), owner.place()));
        prop_assert_eq!(relay.sum(), owner.sum());
    }
}
