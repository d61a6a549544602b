//! Subscribers: a cursor each into the history.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proto::{Location, LocationRef, MailboxName, NameRef};
use thiserror::Error;
use tokio::sync::watch;

use crate::history::Note;
use crate::store::Shared;
use crate::{Place, Sequence, Version};

/// The servers that a partial update (RFC 3656 section 4.10) asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFilter(HashSet<Vec<u8>>);

impl HostFilter {
    /// Entries on these servers, compared octet by octet.
    pub fn new(hosts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(hosts.into_iter().collect())
    }

    /// Whether the location is on one of the servers.
    pub fn matches<'a>(&self, location: impl Into<LocationRef<'a>>) -> bool {
        self.0.contains(location.into().server())
    }

    /// The servers, each once.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    fn matches_change(&self, note: &Note<'_>) -> bool {
        let matches = |location: Option<&Location>| location.is_some_and(|l| self.matches(l));
        let nowhere = note.old_location.is_none() && note.new_location.is_none();
        // What was gone already may have been anywhere.
        nowhere || matches(note.old_location) || matches(note.new_location)
    }
}

/// The history no longer reaches back to a feed's position, or the master's lines that the subscriber
/// waits for did not come: it must start anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("feed at {position} fell behind the history, which starts after {start}")]
pub struct FellBehind {
    /// Where the feed was.
    pub position: Sequence,
    /// The oldest position that could be resumed from.
    pub start: Sequence,
}

/// The store has ended: no change will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("store has stopped")]
pub struct Stopped;

/// What a subscriber is to be told next.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The version that the lines are to be read from: an entry is a MAILBOX or RESERVE line, no
    /// entry a DELETE line.
    pub version: Arc<Version>,
    /// The position once the lines are written. The chunk has reached the head of its version when
    /// this is the version's sequence.
    pub through: Sequence,
    /// Names, in the order of their last change.
    pub lines: Vec<MailboxName>,
    /// Where a subscriber can resume once the lines are written, in the history that the version
    /// tells others ([`Version::place`]); `None`: nowhere that is known. It may lie before the place
    /// that a subscriber came with, which then stands.
    pub place: Option<Place>,
    /// Whether the list as told is then exactly that of the version's place: the chunk has reached
    /// the head of its version, and the version is exact.
    pub exact: bool,
}

/// One subscriber's cursor. While it exists, the history is not cut behind it before the hard cap.
pub struct Feed {
    shared: Arc<Shared>,
    watch: watch::Receiver<Sequence>,
    cursor: Cursor,
    /// Names with a change that the filter wanted, passed over because a later one follows.
    owed: HashSet<MailboxName>,
    /// The subscriber's list may differ from ours where the master's lines are still to come; so they
    /// must come. Gaps in them when it began; `None`: its list is ours.
    awaits: Option<u64>,
}

impl Feed {
    pub(crate) fn new(
        shared: Arc<Shared>,
        watch: watch::Receiver<Sequence>,
        from: Sequence,
        awaits: Option<u64>,
    ) -> Self {
        Self {
            awaits,
            cursor: shared.feeds.enter(from),
            shared,
            watch,
            owed: HashSet::new(),
        }
    }

    /// Hears of changes from somebody who tells what [`Store::watch`] does, in time.
    ///
    /// [`Store::watch`]: crate::Store::watch
    pub fn listen_to(&mut self, watch: watch::Receiver<Sequence>) {
        self.watch = watch;
    }

    /// Everything up to here has been handed out.
    pub fn position(&self) -> Sequence {
        self.cursor.get()
    }

    /// Waits until there is a change behind the position. May be dropped and called again.
    pub async fn changed(&mut self) -> Result<(), Stopped> {
        let position = self.cursor.get();
        let ahead = self.watch.wait_for(|&head| head > position).await;
        ahead.map(|_| ()).map_err(|_| Stopped)
    }

    /// To be asked before a subscriber is told that its list is that of a version whose changes it has
    /// been told: not if it had come with a place of the master's ([`Store::resume`]), and this list
    /// has since been compared with the master's or taken from a dump. It has to start anew then.
    ///
    /// [`Store::resume`]: crate::Store::resume
    pub fn keeps_up(&mut self, version: &Version) -> Result<(), FellBehind> {
        let position = self.cursor.get();
        if self
            .awaits
            .is_some_and(|gaps| gaps != version.history().gaps())
        {
            let start = version.sequence();
            return Err(FellBehind { position, start });
        }
        if position == version.sequence() && version.is_exact() {
            self.awaits = None;
        }
        Ok(())
    }

    /// The next changes, at most `changes_max` of them looked at. A change whose entry changed again
    /// later is passed over, so a name gets one line however often it changed; with a filter, a
    /// change counts if it, or one passed over, came from or went to one of the servers. Without a
    /// change the chunk is empty.
    pub fn next_chunk(
        &mut self,
        filter: Option<&HostFilter>,
        changes_max: usize,
    ) -> Result<Chunk, FellBehind> {
        let version = self.shared.current.load_full();
        self.keeps_up(&version)?;
        let position = self.cursor.get();
        let mut through = position;
        let mut names = Vec::new();
        {
            let history = version.history();
            let notes = history.since(position).ok_or_else(|| FellBehind {
                position,
                start: history.start(),
            })?;
            for note in notes.take(changes_max) {
                through = note.sequence;
                if self.wants(filter, &note, &version) {
                    names.push(note.mailbox);
                }
            }
        }
        let lines = last_occurrences(names);
        let seen_all = version
            .history()
            .since(through)
            .is_none_or(|mut rest| rest.next().is_none());
        if seen_all {
            through = through.max(version.sequence());
        }
        self.cursor.set(through);
        self.keeps_up(&version)?;
        let exact = through == version.sequence() && version.is_exact();
        Ok(Chunk {
            place: version.place_at(through),
            exact,
            version,
            through,
            lines,
        })
    }

    fn wants(&mut self, filter: Option<&HostFilter>, note: &Note<'_>, version: &Version) -> bool {
        let changed_later = version
            .find(note.mailbox)
            .is_some_and(|listed| listed.changed > note.sequence);
        let matches = filter.is_none_or(|filter| filter.matches_change(note));
        if !changed_later {
            let owed = !self.owed.is_empty() && self.owed.remove(&note.mailbox.to_name());
            return owed || matches;
        }
        if matches && filter.is_some() {
            self.owed.insert(note.mailbox.to_name());
        }
        false
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// Each name once, where it stands last.
fn last_occurrences(names: Vec<NameRef<'_>>) -> Vec<MailboxName> {
    let mut seen = HashSet::with_capacity(names.len());
    let mut lines: Vec<MailboxName> = names
        .into_iter()
        .rev()
        .filter(|name| seen.insert(*name))
        .map(NameRef::to_name)
        .collect();
    lines.reverse();
    lines
}

/// The positions of all feeds.
#[derive(Default)]
pub(crate) struct Feeds {
    places: Mutex<(u64, HashMap<u64, Arc<AtomicU64>>)>,
}

impl Feeds {
    fn enter(self: &Arc<Self>, from: Sequence) -> Cursor {
        let position = Arc::new(AtomicU64::new(from.0));
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let id = places.0;
        places.0 += 1;
        places.1.insert(id, Arc::clone(&position));
        drop(places);
        Cursor {
            feeds: Arc::clone(self),
            id,
            position,
        }
    }

    /// The position of the feed that is farthest behind.
    pub(crate) fn hindmost(&self) -> Option<Sequence> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let positions = places.1.values();
        positions
            .map(|position| position.load(Ordering::Relaxed))
            .min()
            .map(Sequence)
    }
}

/// One feed's position; leaves the list of feeds when dropped.
struct Cursor {
    feeds: Arc<Feeds>,
    id: u64,
    position: Arc<AtomicU64>,
}

impl Cursor {
    fn get(&self) -> Sequence {
        Sequence(self.position.load(Ordering::Relaxed))
    }

    fn set(&self, position: Sequence) {
        self.position.store(position.0, Ordering::Relaxed);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut places = self
            .feeds
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        places.1.remove(&self.id);
    }
}
