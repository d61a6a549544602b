//! A client that keeps a list as `docs/resync.md`, section 6.1, tells it to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use client::{Barrier, Client, DigestKey, Named, Resync, ResyncEvent, ResyncFrom, Update, WireSum};
use proto::{Entry, MailboxName};
use tokio::time::timeout;

pub(crate) type List = BTreeMap<MailboxName, Entry>;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Peer {
    pub(crate) list: List,
    /// Names in the list that go at the first point.
    pending: BTreeSet<MailboxName>,
    /// What a FULL has not told yet.
    stale: Option<BTreeSet<MailboxName>>,
    hosts: Vec<String>,
    key: Option<DigestKey>,
    pub(crate) epoch: [u8; 16],
    pub(crate) forks: Vec<([u8; 16], u64)>,
    pub(crate) position: Option<u64>,
    pub(crate) points: u64,
    pub(crate) resync: Resync,
}

impl Peer {
    /// Asks for what `list` lacks.
    pub(crate) fn begin(client: Client, from: ResyncFrom, list: List, hosts: &[&str]) -> Self {
        assert!(client.banner().offers_resync());
        let octets: Vec<&[u8]> = hosts.iter().map(|host| host.as_bytes()).collect();
        Self {
            list,
            pending: BTreeSet::new(),
            stale: None,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            key: None,
            epoch: [0; 16],
            forks: Vec::new(),
            position: None,
            points: 0,
            resync: client.resync(from, &octets),
        }
    }

    /// The place to come back with.
    pub(crate) fn place(&self) -> ResyncFrom {
        ResyncFrom::Place {
            epoch: self.epoch,
            sequence: self.position.unwrap(),
        }
    }

    /// The next event, carried out.
    pub(crate) async fn next(&mut self) -> Result<ResyncEvent, client::Error> {
        let event = timeout(PATIENCE, self.resync.next()).await.unwrap()?;
        match &event {
            ResyncEvent::History { epoch, key, forks } => {
                let again = self.key.is_some();
                assert!(!again || self.key == Some(*key));
                (self.key, self.epoch, self.forks) = (Some(*key), *epoch, forks.clone());
            }
            ResyncEvent::Full { .. } => self.stale = Some(self.list.keys().cloned().collect()),
            ResyncEvent::Line(Update::Mailbox { name, entry }) => {
                self.pending.remove(name);
                if let Some(stale) = &mut self.stale {
                    stale.remove(name);
                }
                self.list.insert(name.clone(), entry.clone());
            }
            ResyncEvent::Line(Update::Delete { name }) if self.points == 0 => {
                self.pending.insert(name.clone());
            }
            ResyncEvent::Line(Update::Delete { name }) => {
                self.list.remove(name);
            }
            ResyncEvent::Position { sequence } => self.moved(*sequence),
            ResyncEvent::Point { sequence, sum } => self.point(*sequence, *sum),
            _ => {}
        }
        Ok(event)
    }

    fn moved(&mut self, sequence: u64) {
        assert!(self.position.is_none_or(|before| before <= sequence));
        self.position = Some(sequence);
    }

    fn point(&mut self, sequence: u64, sum: WireSum) {
        for gone in self.stale.take().into_iter().flatten() {
            self.list.remove(&gone);
        }
        for gone in std::mem::take(&mut self.pending) {
            self.list.remove(&gone);
        }
        self.moved(sequence);
        self.points += 1;
        assert_eq!(self.sum(), sum, "at {sequence}, point {}", self.points);
        let wanted = |entry: &Entry| {
            let server = String::from_utf8_lossy(entry.location().server()).into_owned();
            self.hosts.is_empty() || self.hosts.contains(&server)
        };
        assert!(self.list.values().all(wanted));
    }

    /// Until an event is of this kind; that event.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&ResyncEvent) -> bool) -> ResyncEvent {
        loop {
            let event = self.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn until_live(&mut self) {
        self.until(|event| *event == ResyncEvent::Streaming).await;
        assert!(self.resync.is_live() && self.points > 0);
    }

    /// Until everything committed before has been told.
    pub(crate) async fn drain(&mut self) -> Barrier {
        let asked = self.resync.barrier().unwrap();
        self.until(|event| *event == ResyncEvent::Line(Update::Reached(asked)))
            .await;
        asked
    }

    pub(crate) fn sum(&self) -> WireSum {
        let hashes = self.list.iter().map(|(name, entry)| self.hash(name, entry));
        hashes.fold(WireSum::default(), with)
    }

    /// Section 7.1.
    pub(crate) fn hash(&self, name: &MailboxName, entry: &Entry) -> [u8; 16] {
        let location = entry.location().as_bytes();
        let acl = entry.acl().map(proto::Acl::as_bytes).unwrap_or_default();
        let mut input = vec![match entry {
            Entry::Active { .. } => 1,
            Entry::Reserved { .. } => 2,
        }];
        for part in [name.key(), location] {
            input.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            input.extend(part);
        }
        input.extend(u32::try_from(acl.len()).unwrap().to_be_bytes());
        input.extend(acl);
        *blake3::keyed_hash(&self.key.unwrap().0, &input)
            .as_bytes()
            .first_chunk()
            .unwrap()
    }

    /// Section 7.3.
    fn bucket(&self, name: &MailboxName, buckets: u32) -> u32 {
        let (domain, owner) = name.owner();
        let input = [b"owner", domain, owner].concat();
        let hash = blake3::keyed_hash(&self.key.unwrap().0, &input);
        let mut first: [u8; 4] = *hash.as_bytes().first_chunk().unwrap();
        first.reverse();
        u32::from_be_bytes(first) % buckets
    }

    /// Makes the list that of DIGEST, but for deletions, which wait; how many entries were told.
    pub(crate) async fn compare(&mut self, buckets: u32) -> usize {
        let mut own: HashMap<u32, HashMap<[u8; 16], MailboxName>> = HashMap::new();
        for (name, entry) in &self.list {
            let bucket = own.entry(self.bucket(name, buckets)).or_default();
            bucket.insert(self.hash(name, entry), name.clone());
        }
        let sum = |bucket: u32| {
            let hashes = own.get(&bucket).into_iter().flat_map(HashMap::keys);
            hashes.copied().fold(WireSum::default(), with)
        };
        let groups = self.resync.groups(buckets).await.unwrap();
        let differing: Vec<u32> = (0..buckets / 16)
            .zip(&groups)
            .filter(|(group, theirs)| {
                let ours = (group * 16..group * 16 + 16).map(sum);
                ours.fold(WireSum::default(), WireSum::plus) != **theirs
            })
            .map(|(group, _)| group)
            .collect();
        let sums = self.resync.buckets(buckets, &differing).await.unwrap();
        let mut named = Vec::new();
        for (group, theirs) in differing.iter().zip(&sums) {
            for (bucket, theirs) in (group * 16..).zip(theirs) {
                if sum(bucket) != *theirs {
                    let hashes = own.get(&bucket).into_iter().flat_map(HashMap::keys);
                    named.push(Named {
                        bucket,
                        hashes: hashes.copied().collect(),
                    });
                }
            }
        }
        let asked: Vec<u32> = named.iter().map(|named| named.bucket).collect();
        let mut told = BTreeMap::new();
        let mut entries = self.resync.entries(buckets, named);
        while let Some(update) = timeout(PATIENCE, entries.next()).await.unwrap().unwrap() {
            let Update::Mailbox { name, entry } = update else {
                panic!("{update:?}");
            };
            told.insert(name, entry);
        }
        let answer = entries.into_answer();
        assert!(answer.whole.is_empty());
        let by_hash: HashMap<&[u8; 16], &MailboxName> = asked
            .iter()
            .filter_map(|bucket| own.get(bucket))
            .flatten()
            .collect();
        for hash in &answer.unknown {
            self.pending.insert(by_hash[hash].clone());
        }
        let count = told.len();
        for (name, entry) in told {
            self.pending.remove(&name);
            self.list.insert(name, entry);
        }
        self.points = 0;
        count
    }
}

fn with(sum: WireSum, hash: [u8; 16]) -> WireSum {
    sum.plus(WireSum {
        count: 1,
        root: u128::from_be_bytes(hash),
    })
}
