//! A master in this process, without a socket: whatever happens on either side, and wherever a stream is
//! cut, the lists are equal in the end, and nothing that the master has kept is ever missing here.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proto::{Acl, Edit, EditKind, Entry, Location};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use store::{AsTold, Batch, Feed, OsFileSystem, Standing, StoreConfig, Version};
use tempfile::TempDir;

use super::*;

type List = BTreeMap<MailboxName, Entry>;

fn open(dir: &Path) -> Store {
    let opened = Store::open(OsFileSystem, dir, StoreConfig::default(), Box::new(AsTold));
    opened.unwrap().0
}

fn list(version: &Version) -> List {
    let entries = version.iter();
    entries
        .map(|(name, stored)| (name.clone(), stored.entry.clone()))
        .collect()
}

fn origin(peer: &str) -> Origin {
    crate::replica::origin("test", peer)
}

fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

fn names() -> Vec<MailboxName> {
    let users = (0..60).flat_map(|user| {
        let folders = ["", ".Sent", ".Trash", "-x", ".Sent.2026"];
        folders.map(|folder| name(&format!("user.u{user:02}{folder}")))
    });
    users.collect()
}

fn random_edit(rng: &mut StdRng, names: &[MailboxName]) -> Edit {
    let location = format!("be{}!p", rng.random_range(1..4));
    let location = Location::try_from(location.as_bytes()).unwrap();
    let kind = match rng.random_range(0..8) {
        0..=3 => EditKind::Activate {
            location,
            acl: Acl::try_from(b"anyone\tlrs\t".as_slice()).unwrap(),
        },
        4 => EditKind::Reserve { location },
        _ => EditKind::Delete,
    };
    let mailbox = names.choose(rng).unwrap().clone();
    Edit { mailbox, kind }
}

/// Both sides, and the dice.
struct Play {
    rng: StdRng,
    names: Vec<MailboxName>,
    master: Store,
    slave: Store,
    replica: Mutex<Replica>,
    /// What both have had since the session began.
    kept: BTreeSet<MailboxName>,
    dirs: [TempDir; 2],
}

/// A session of the master's.
struct Session {
    pinned: Arc<Version>,
    feed: Feed,
}

/// Why a session ended.
#[derive(Debug)]
enum Ended {
    Cut,
    Link(LinkEnd),
}

impl From<LinkEnd> for Ended {
    fn from(end: LinkEnd) -> Self {
        Self::Link(end)
    }
}

impl Play {
    async fn new(seed: u64) -> Self {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (master, slave) = (
            open(&dirs[0].path().join("store")),
            open(&dirs[1].path().join("store")),
        );
        let replica = Replica::open(dirs[1].path(), slave.clone(), "m:1")
            .await
            .unwrap();
        Self {
            rng: StdRng::seed_from_u64(seed),
            names: names(),
            master,
            slave,
            replica: Mutex::new(replica),
            kept: BTreeSet::new(),
            dirs,
        }
    }

    async fn edit_master(&mut self, count: usize) {
        let edits: Vec<Edit> = (0..count)
            .map(|_| random_edit(&mut self.rng, &self.names))
            .collect();
        for edit in edits.iter().filter(|edit| edit.kind == EditKind::Delete) {
            self.kept.remove(&edit.mailbox);
        }
        let origin = origin("backend");
        self.master.edit(Batch { origin, edits }).await.unwrap();
    }

    /// Something that no line of the master's asked for.
    async fn damage_slave(&mut self) {
        let edits = vec![random_edit(&mut self.rng, &self.names)];
        let origin = origin("nobody");
        self.slave.edit(Batch { origin, edits }).await.unwrap();
    }

    /// Something may happen between any two lines.
    async fn happen(&mut self, cut: f64) -> Result<(), Ended> {
        if self.rng.random_bool(0.05) {
            let count = self.rng.random_range(1..6);
            self.edit_master(count).await;
        }
        if cut > 0.0 && self.rng.random_bool(cut) {
            return Err(Ended::Cut);
        }
        Ok(())
    }

    async fn flush_sometimes(&mut self, resync: &mut Resync<'_>) -> Result<(), Ended> {
        if self.rng.random_bool(0.2) {
            self.flush(resync).await?;
        }
        Ok(())
    }

    async fn flush(&self, resync: &mut Resync<'_>) -> Result<(), Ended> {
        let flushed = resync.flush().await;
        let version = self.slave.current();
        for name in &self.kept {
            assert!(version.get(name).is_some(), "{name} has been lost");
        }
        Ok(flushed?)
    }

    fn begin(&mut self) -> Session {
        let pinned = self.master.current();
        let slave = self.slave.current();
        let in_both = pinned.iter().map(|(name, _)| name);
        self.kept = in_both.filter(|name| slave.get(name).is_some()).collect();
        let feed = self.master.feed(pinned.sequence());
        Session { pinned, feed }
    }

    /// One link; `cut` is the chance that it ends before any line. `how`: more than the changes since.
    async fn session(&mut self, how: Option<Mode>, cut: f64) -> Result<(), Ended> {
        let mut session = self.begin();
        let (slave, replica) = (self.slave.clone(), Mutex::new(self.replica_again().await));
        let mut resync = Resync::new(&slave, &replica, origin("master"), false);
        let outcome = self.converse(&mut session, &mut resync, how, cut).await;
        // What had been said before the end counts.
        let flushed = self.flush(&mut resync).await;
        outcome.and(flushed)?;
        assert!(resync.tally().verified);
        Ok(())
    }

    async fn replica_again(&self) -> Replica {
        let dir = self.dirs[1].path();
        Replica::open(dir, self.slave.clone(), "m:1").await.unwrap()
    }

    async fn converse(
        &mut self,
        session: &mut Session,
        resync: &mut Resync<'_>,
        how: Option<Mode>,
        cut: f64,
    ) -> Result<(), Ended> {
        self.history(resync).await?;
        let from = self.slave.current().place();
        let standing = session.pinned.local_position(&from);
        match (how, standing) {
            (None, Standing::From(local)) => session.feed = self.master.feed(local),
            (Some(Mode::Full), _) => return self.full(session, resync, cut).await,
            _ => {
                if !self.compare(session, resync, cut).await? {
                    return self.full(session, resync, cut).await;
                }
                self.history(resync).await?;
            }
        }
        resync.log()?;
        self.stream(session, resync, cut).await
    }

    async fn history(&self, resync: &mut Resync<'_>) -> Result<(), Ended> {
        let version = self.master.current();
        let history = History {
            epoch: version.epoch(),
            key: *version.lineage().key(),
            forks: version.lineage().forks().to_vec(),
        };
        Ok(resync.history(history).await?)
    }

    async fn full(
        &mut self,
        session: &mut Session,
        resync: &mut Resync<'_>,
        cut: f64,
    ) -> Result<(), Ended> {
        resync.full(session.pinned.sum().count).await?;
        for (name, stored) in session.pinned.clone().iter() {
            self.happen(cut / 10.0).await?;
            let entry = stored.entry.clone();
            resync.line(told(name.clone(), Some(entry))).await?;
            self.flush_sometimes(resync).await?;
        }
        if self.rng.random_bool(0.7) {
            resync.point(session.pinned.sequence(), session.pinned.sum())?;
        }
        self.stream(session, resync, cut).await
    }

    /// False: too much differs.
    async fn compare(
        &mut self,
        session: &Session,
        resync: &mut Resync<'_>,
        cut: f64,
    ) -> Result<bool, Ended> {
        let pinned = &session.pinned;
        let digest = Digest {
            buckets: pinned.buckets().len(),
            sum: pinned.sum(),
        };
        let mut ask = resync.digest(digest).await?;
        loop {
            self.happen(cut).await?;
            ask = match ask {
                Ask::Done => return Ok(true),
                Ask::Everything => return Ok(false),
                Ask::Groups { buckets } => resync.groups(&groups(pinned, buckets))?,
                Ask::Buckets { buckets, groups } => {
                    let sums = pinned.buckets().folded(buckets);
                    let of_group =
                        |group: &u32| &sums[16 * usize::try_from(*group).unwrap()..][..16];
                    let sums: Vec<Sum> = groups.iter().flat_map(of_group).copied().collect();
                    resync.buckets(&sums)?
                }
                Ask::Entries { buckets, wanted } => {
                    for named in resync.named(buckets, wanted).await? {
                        self.entries(session, resync, buckets, &named, cut).await?;
                    }
                    Ask::Done
                }
            };
        }
    }

    async fn entries(
        &mut self,
        session: &Session,
        resync: &mut Resync<'_>,
        buckets: u32,
        (bucket, hashes): &Named,
        cut: f64,
    ) -> Result<(), Ended> {
        let wanted = HashSet::from([*bucket]);
        let mut entries = session.pinned.entries_of_buckets(buckets, &wanted);
        let entries = entries.remove(bucket).unwrap_or_default();
        for (hash, name) in &entries {
            if !hashes.contains(hash) {
                self.happen(cut / 10.0).await?;
                let entry = session.pinned.get(name).unwrap().entry.clone();
                resync.line(told(name.clone(), Some(entry))).await?;
                self.flush_sometimes(resync).await?;
            }
        }
        let ours = hashes.iter().copied();
        let known = |hash: &Root| entries.iter().any(|(theirs, _)| theirs == hash);
        let unknown: Vec<Root> = ours.filter(|hash| !known(hash)).collect();
        resync.unknown(unknown.into_iter(), &[]);
        Ok(())
    }

    /// Chunks, until one has reached the head.
    async fn stream(
        &mut self,
        session: &mut Session,
        resync: &mut Resync<'_>,
        cut: f64,
    ) -> Result<(), Ended> {
        loop {
            let changes_max = self.rng.random_range(1..20);
            let chunk = session.feed.next_chunk(None, changes_max).unwrap();
            for name in chunk.lines {
                self.happen(cut).await?;
                let entry = chunk.version.get(&name).map(|stored| stored.entry.clone());
                resync.line(told(name, entry)).await?;
                self.flush_sometimes(resync).await?;
            }
            if self.rng.random_bool(0.8) {
                resync.position(chunk.place.unwrap().sequence)?;
            }
            self.happen(cut).await?;
            if chunk.exact {
                resync.point(chunk.through, chunk.version.sum())?;
                self.flush_sometimes(resync).await?;
                if self.master.current().sequence() == chunk.through {
                    return Ok(());
                }
            }
        }
    }
}

fn told(name: MailboxName, entry: Option<Entry>) -> Update {
    match entry {
        Some(entry) => Update::Mailbox { name, entry },
        None => Update::Delete { name },
    }
}

fn groups(version: &Version, buckets: u32) -> Vec<Sum> {
    let sums = version.buckets().folded(buckets);
    sums.chunks(16)
        .map(|group| group.iter().copied().sum())
        .collect()
}

/// A session that follows one with this end, as the follower would make it.
fn next(end: &Ended) -> Option<Mode> {
    match end {
        Ended::Link(LinkEnd::Mismatch { found_by, .. }) => match found_by {
            FoundBy::Stream | FoundBy::Log => Some(Mode::Digest),
            FoundBy::Digest | FoundBy::Full => Some(Mode::Full),
        },
        Ended::Cut => None,
        Ended::Link(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_equal_after_every_history_and_cut() {
    for seed in 0..40 {
        let mut play = Play::new(seed).await;
        play.edit_master(400).await;
        for round in 0..8 {
            let count = play.rng.random_range(0..60);
            play.edit_master(count).await;
            let is_damaged = play.rng.random_bool(0.3) && round > 0;
            if is_damaged {
                play.damage_slave().await;
            }
            let mut how = [None, None, Some(Mode::Digest), Some(Mode::Full)]
                .choose(&mut play.rng)
                .copied()
                .flatten();
            let mut cuts = [0.02, 0.02, 0.02, 0.02, 0.0, 0.0, 0.0].into_iter();
            while let Err(end) = play.session(how, cuts.next().unwrap()).await {
                how = next(&end).or(how);
            }
            let (master, slave) = (play.master.current(), play.slave.current());
            assert!(
                slave.is_exact() && slave.sum() == master.sum(),
                "seed {seed} round {round}"
            );
            assert_eq!(slave.place(), master.place());
            play.replica.lock().await.confirm_deletes().await.unwrap();
            assert_eq!(
                list(&play.slave.current()),
                list(&master),
                "seed {seed} round {round}"
            );
        }
    }
}
