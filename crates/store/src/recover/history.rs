//! The changes before the list, for feeds. A list is served without them; they are read beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::{Acl, Location};

use crate::file::{File, FileSystem, Open};
use crate::history::{Bounds, History, Noted};
use crate::intern::{Intern, Interner};
use crate::log::group_reader::{GroupReader, Read};
use crate::log::segment::{self, BadHeader, Header};
use crate::log::{Group, LogPosition, Record, What};
use crate::place::Follows;
use crate::recover::Finding;
use crate::{Sequence, StoreConfig, Version};

/// What is still to be read of a log whose list is in use: the changes before its snapshot.
pub(crate) struct Backlog {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    /// Numbers of the segments up to the place, lowest first.
    segments: Vec<u64>,
    /// Where it ends: the snapshot's place in the log,
    place: LogPosition,
    /// and its sequence.
    end: Sequence,
    changes_max: usize,
    bounds: Bounds,
}

/// What a backlog has turned out to be.
#[derive(Debug)]
pub(crate) struct Older {
    /// The changes; `None`: they don't reach up to the list.
    pub(crate) history: Option<History>,
    /// What was not as it should be.
    pub(crate) findings: Vec<Finding>,
}

impl Backlog {
    /// What a log tells of the time before a version; `None`: nothing.
    pub(super) fn before(
        version: &Version,
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        config: &StoreConfig,
        segments: &[u64],
    ) -> Option<Self> {
        let place = version.log;
        let up_to = segments.iter().filter(|&&number| number <= place.segment);
        (config.history_changes_max > 0 && config.history_bytes_max > 0).then(|| Self {
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            segments: up_to.copied().collect(),
            place,
            end: version.sequence,
            changes_max: config.history_changes_max,
            bounds: config.history_bounds(),
        })
    }

    /// Reads it. `None`: `stop` has said so before the end.
    pub(crate) fn read(&self, stop: impl Fn() -> bool) -> Option<Older> {
        let mut reading = Reading {
            backlog: self,
            history: None,
            interner: WithoutAcls::default(),
            findings: Vec::new(),
        };
        for number in self.wanted_segments() {
            let path = self.dir.join(segment::file_name(number));
            let read = reading.segment(&path, number, &stop);
            if let Err(finding) = read {
                reading.findings.push(finding);
                reading.history = None;
            }
            if stop() {
                return None;
            }
        }
        let Reading {
            history, findings, ..
        } = reading;
        Some(Older {
            history: history.filter(|history| history.end() == self.end),
            findings,
        })
    }

    /// From the first segment with changes that the bounds of history leave room for.
    fn wanted_segments(&self) -> impl Iterator<Item = u64> + use<'_> {
        let room = u64::try_from(self.changes_max).unwrap_or(u64::MAX);
        let wanted = self.end.0.saturating_sub(room);
        let begins_before = |number: &u64| {
            let path = self.dir.join(segment::file_name(*number));
            let header = segment::read_header(&*self.fs, &path);
            header.is_ok_and(|header| header.sequence.0 <= wanted)
        };
        let first = self.segments.iter().rposition(begins_before);
        self.segments.iter().copied().skip(first.unwrap_or(0))
    }
}

struct Reading<'a> {
    backlog: &'a Backlog,
    history: Option<History>,
    interner: WithoutAcls,
    findings: Vec<Finding>,
}

impl Reading<'_> {
    fn segment(
        &mut self,
        path: &Path,
        number: u64,
        stop: &impl Fn() -> bool,
    ) -> Result<(), Finding> {
        let unreadable = |error: io::Error| Finding::HistoryUnreadable {
            path: path.to_owned(),
            what: error.to_string(),
        };
        let damaged = |offset| Finding::HistoryDamaged {
            path: path.to_owned(),
            offset,
        };
        let opened = self.backlog.fs.open(path, Open::Read);
        let file = opened.map_err(unreadable)?;
        let (header, header_len) = match segment::header_of(&*file).map_err(unreadable)? {
            Ok(header) => header,
            Err(BadHeader::Damaged) => return Err(damaged(0)),
            Err(BadHeader::Format(found)) => {
                return Err(Finding::HistoryUnreadable {
                    path: path.to_owned(),
                    what: format!("format {found} is not known"),
                });
            }
        };
        if header.number != number {
            return Err(damaged(0));
        }
        self.groups(&*file, &header, header_len, stop)
            .map_err(|bad| match bad {
                Bad::Io(error) => unreadable(error),
                Bad::Damaged { offset } => damaged(offset),
            })
    }

    fn groups(
        &mut self,
        file: &dyn File,
        header: &Header,
        header_len: usize,
        stop: &impl Fn() -> bool,
    ) -> Result<(), Bad> {
        let place = self.backlog.place;
        let end = if header.number == place.segment {
            place.offset
        } else {
            file.len()?
        };
        let begin = u64::try_from(header_len).unwrap_or(u64::MAX);
        let known = self.history.take();
        let continued = known.filter(|known| known.end() == header.sequence);
        let (sequence, follows) = (header.sequence, header.follows.as_ref());
        let mut history = continued.unwrap_or_else(|| History::starting_at(sequence, follows));
        let mut follows = header.follows.clone();
        if follows.is_none() {
            history.forget_places();
        }
        let mut groups = GroupReader::new(file, begin, end);
        while let Some(read) = groups.next(&mut self.interner)? {
            match read {
                Read::Group(group) => {
                    add_places(&mut history, &mut follows, &group);
                    history.push(&notes(&group));
                    history.cut(&self.backlog.bounds, || None);
                }
                Read::Bad { offset } => return Err(Bad::Damaged { offset }),
            }
            if stop() {
                return Ok(());
            }
        }
        self.history = Some(history);
        Ok(())
    }
}

/// Why a segment ends early.
enum Bad {
    Io(io::Error),
    Damaged { offset: u64 },
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// History tells where a mailbox was, not who may do what with it.
#[derive(Default)]
struct WithoutAcls {
    locations: Interner,
    acl: Option<Acl>,
}

impl Intern for WithoutAcls {
    fn location(&mut self, text: &[u8]) -> Option<Location> {
        self.locations.location(text)
    }

    fn acl(&mut self, _: &[u8]) -> Option<Acl> {
        if self.acl.is_none() {
            self.acl = Acl::try_from(&b""[..]).ok();
        }
        self.acl.clone()
    }
}

/// The places that a group tells of. `follows` is what was followed before it, and is replaced.
fn add_places(history: &mut History, follows: &mut Option<Follows>, group: &Group) {
    let mut sequence = Sequence(group.first.0.saturating_sub(1));
    for record in &group.records {
        match &record.what {
            What::Change(_) => sequence = record.sequence,
            What::Reached(reached) => {
                let now = Follows::after(reached, sequence, follows.as_ref());
                let before = follows.take().filter(|_| reached.continues);
                history.reach(before.as_ref(), &now);
                *follows = Some(now);
            }
            What::Unfollowed => {
                *follows = None;
                history.forget_places();
            }
            What::ConflictsForgotten => {}
        }
    }
}

/// The changes of a group.
pub(super) fn notes(group: &Group) -> Vec<Noted> {
    let note = |record: &Record| match &record.what {
        What::Change(change) => Some(Noted {
            sequence: record.sequence,
            mailbox: change.mailbox.clone(),
            old_location: change.old_location.clone(),
            new_location: change.new.as_ref().map(|new| new.location().clone()),
        }),
        What::ConflictsForgotten | What::Reached(_) | What::Unfollowed => None,
    };
    group.records.iter().filter_map(note).collect()
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
