//! Snapshot plus log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digester;
use crate::error::OpenError;
use crate::file::{FileSystem, Open, read_all};
use crate::history::{History, Note};
use crate::intern::Interner;
use crate::log::append::Appender;
use crate::log::scan::{Scan, Scanned};
use crate::log::segment::{self, BadHeader, Header};
use crate::log::{Group, LogPosition, What};
use crate::recover::{Finding, Found, OpenReport, Recovered, io_error};
use crate::snapshot::read::{self, BadSnapshot};
use crate::snapshot::{self, Kept};
use crate::{StoreConfig, Version};

/// Brings the list back from what is in the directory.
pub(crate) fn recover(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    config: &StoreConfig,
    found: &Found,
    lock: Box<dyn Send>,
) -> Result<Recovered, OpenError> {
    let mut recovery = Recovery {
        fs: &**fs,
        dir,
        config,
        interner: Interner::default(),
        report: OpenReport::default(),
        kept: Kept::default(),
    };
    let mut version = recovery.base(found)?;
    version.history = recovery.history_before(&version, &found.segments)?;
    let mut digester = Digester::new(&version.lineage);
    let tail = recovery.replay(&mut version, &mut digester, &found.segments)?;
    let log = recovery.reopen(fs, &tail, version.log)?;
    let Recovery {
        interner,
        report,
        kept,
        ..
    } = recovery;
    Ok(Recovered {
        version,
        log,
        lock,
        digester,
        interner,
        snapshots: kept,
        report,
    })
}

struct Recovery<'a> {
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    config: &'a StoreConfig,
    interner: Interner,
    report: OpenReport,
    kept: Kept,
}

/// A segment in memory.
struct Segment {
    path: PathBuf,
    header: Header,
    header_len: usize,
    content: Vec<u8>,
}

/// The end of the log.
struct Tail {
    path: PathBuf,
    /// The last group, which is written once more.
    last_group: Vec<u8>,
    /// What follows it and has to go.
    cut: bool,
}

/// What the log is replayed onto.
impl Recovery<'_> {
    /// The list of the newest usable snapshot, or the empty one that the log begins with.
    fn base(&mut self, found: &Found) -> Result<Version, OpenError> {
        let mut base = None;
        for &number in found.snapshots.iter().rev() {
            let path = self.dir.join(snapshot::file_name(number));
            let usable = if base.is_none() {
                let version = self.snapshot(&path, &found.segments)?;
                version.map(|version| {
                    let place = version.log;
                    self.report.snapshot = Some(path);
                    base = Some(version);
                    place
                })
            } else {
                self.older_snapshot(&path, &found.segments)?
            };
            match usable {
                Some(place) => self.kept.usable.insert(0, (number, place)),
                None => self.kept.damaged.push(number),
            }
        }
        match base {
            Some(version) => Ok(version),
            None => self.beginning(&found.segments),
        }
    }

    fn snapshot(&mut self, path: &Path, segments: &[u64]) -> Result<Option<Version>, OpenError> {
        let file = self
            .fs
            .open(path, Open::Read)
            .map_err(io_error("can't open", path))?;
        let version = match read::read(&*file, &mut self.interner) {
            Ok(version) => version,
            Err(bad) => return self.unusable(path, bad).map(|()| None),
        };
        let reached = self.reaches(path, version.log, segments);
        Ok(reached.then_some(version))
    }

    /// Of the snapshot before the newest only the header is looked at.
    fn older_snapshot(
        &mut self,
        path: &Path,
        segments: &[u64],
    ) -> Result<Option<LogPosition>, OpenError> {
        let file = self
            .fs
            .open(path, Open::Read)
            .map_err(io_error("can't open", path))?;
        match read::read_header(&*file) {
            Ok((header, _)) => Ok(self
                .reaches(path, header.log, segments)
                .then_some(header.log)),
            Err(bad) => self.unusable(path, bad).map(|()| None),
        }
    }

    fn reaches(&mut self, path: &Path, place: LogPosition, segments: &[u64]) -> bool {
        let reached = segments.contains(&place.segment);
        if !reached {
            let what = format!("its log segment {} is missing", place.segment);
            self.snapshot_finding(path, 0, what);
        }
        reached
    }

    fn unusable(&mut self, path: &Path, bad: BadSnapshot) -> Result<(), OpenError> {
        match bad {
            BadSnapshot::Io(source) => self.snapshot_finding(path, 0, source.to_string()),
            BadSnapshot::Damaged { offset, what } => {
                self.snapshot_finding(path, offset, what.to_owned());
            }
            BadSnapshot::Format(found) => {
                let path = path.to_owned();
                return Err(OpenError::Format { path, found });
            }
        }
        Ok(())
    }

    fn snapshot_finding(&mut self, path: &Path, offset: u64, what: String) {
        let path = path.to_owned();
        self.report
            .findings
            .push(Finding::SnapshotUnusable { path, offset, what });
    }

    fn beginning(&self, segments: &[u64]) -> Result<Version, OpenError> {
        let Some(&number) = segments.first() else {
            let what = "no snapshot is usable and there is no log";
            return Err(damaged(self.dir, 0, what));
        };
        let first = self.segment(number)?;
        let header = first.header;
        if header.count != 0 || header.root.0 != 0 {
            let what = "no snapshot is usable, and the log does not reach back to an empty list";
            return Err(damaged(&first.path, 0, what));
        }
        let log = LogPosition {
            segment: number,
            offset: octets(first.header_len),
        };
        Ok(Version {
            sequence: header.sequence,
            history: History::starting_after(header.sequence),
            log,
            ..Version::empty(header.lineage)
        })
    }

    fn segment(&self, number: u64) -> Result<Segment, OpenError> {
        let path = self.dir.join(segment::file_name(number));
        let file = self
            .fs
            .open(&path, Open::Read)
            .map_err(io_error("can't open", &path))?;
        let content = read_all(&*file).map_err(io_error("can't read", &path))?;
        match Header::decode(&content) {
            Ok((header, _)) if header.number != number => {
                Err(damaged(&path, 0, "segment has the name of another"))
            }
            Ok((header, header_len)) => Ok(Segment {
                path,
                header,
                header_len,
                content,
            }),
            Err(BadHeader::Format(found)) => Err(OpenError::Format { path, found }),
            Err(BadHeader::Damaged) => Err(damaged(&path, 0, "header is damaged")),
        }
    }
}

/// The changes before the list.
impl Recovery<'_> {
    /// What the segments tell of the time before a version.
    fn history_before(
        &mut self,
        version: &Version,
        segments: &[u64],
    ) -> Result<History, OpenError> {
        let mut history = None;
        let first = self.first_of_history(version, segments);
        let wanted = first..=version.log.segment;
        for &number in segments.iter().filter(|number| wanted.contains(number)) {
            let segment = match self.segment(number) {
                Err(OpenError::Damaged { path, offset, .. }) if number < version.log.segment => {
                    self.report
                        .findings
                        .push(Finding::HistoryDamaged { path, offset });
                    history = None;
                    continue;
                }
                other => other?,
            };
            let end = if number == version.log.segment {
                version.log.offset
            } else {
                u64::MAX
            };
            self.read_history(&segment, end, &mut history);
        }
        Ok(history
            .filter(|history| history.end() == version.sequence)
            .unwrap_or_else(|| History::starting_after(version.sequence)))
    }

    /// The first segment with changes that the bounds of history leave room for.
    fn first_of_history(&self, version: &Version, segments: &[u64]) -> u64 {
        let room = u64::try_from(self.config.history_changes_max).unwrap_or(u64::MAX);
        let wanted = version.sequence.0.saturating_sub(room);
        let begins_before = |number: &&u64| {
            let path = self.dir.join(segment::file_name(**number));
            let header = segment::read_header(self.fs, &path);
            header.is_ok_and(|header| header.sequence.0 <= wanted)
        };
        let older = segments
            .iter()
            .rev()
            .filter(|&&number| number <= version.log.segment);
        let first = older.clone().find(begins_before).or_else(|| older.last());
        first.copied().unwrap_or(version.log.segment)
    }

    fn read_history(&mut self, segment: &Segment, end: u64, history: &mut Option<History>) {
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let content = segment.content.get(..end).unwrap_or(&segment.content);
        let base = segment.header.sequence;
        let continues = history.as_ref().is_some_and(|known| known.end() == base);
        if !continues {
            *history = Some(History::starting_after(base));
        }
        let bounds = self.config.history_bounds();
        for scanned in Scan::new(content, segment.header_len) {
            match scanned {
                Scanned::Group { group, .. } => {
                    if let Some(history) = history {
                        history.push(notes(&group));
                        history.cut(&bounds, || None);
                    }
                }
                Scanned::Bad { offset, .. } => {
                    let path = segment.path.clone();
                    let offset = octets(offset);
                    self.report
                        .findings
                        .push(Finding::HistoryDamaged { path, offset });
                    *history = None;
                }
            }
        }
    }
}

/// The changes since the list's version.
impl Recovery<'_> {
    fn replay(
        &mut self,
        version: &mut Version,
        digester: &mut Digester,
        segments: &[u64],
    ) -> Result<Tail, OpenError> {
        let mut expected = version.log.segment;
        let newer = segments.iter().filter(|&&number| number >= expected);
        let newer: Vec<u64> = newer.copied().collect();
        let mut newer = newer.into_iter().peekable();
        let mut tail = None;
        while let Some(number) = newer.next() {
            let segment = self.segment(number)?;
            if number != expected {
                let what = format!("segment {expected}, which comes before it, is missing");
                return Err(damaged(&segment.path, 0, &what));
            }
            let is_last = newer.peek().is_none();
            let continues = Self::check_header(version, &segment)?;
            if !continues {
                let empty = segment.content.len() == segment.header_len;
                if !(is_last && empty && tail.is_some()) {
                    let what = "segment does not continue the one before";
                    return Err(damaged(&segment.path, 0, what));
                }
                self.abandon(segment.path)?;
                break;
            }
            if number != version.log.segment {
                version.lineage = Arc::clone(&segment.header.lineage);
                version.log = LogPosition {
                    segment: number,
                    offset: octets(segment.header_len),
                };
            }
            tail = Some(self.replay_segment(version, digester, &segment, is_last)?);
            expected += 1;
        }
        tail.ok_or_else(|| damaged(self.dir, 0, "the log is missing"))
    }

    /// Whether a segment continues from a version. That of the version itself has to.
    fn check_header(version: &Version, segment: &Segment) -> Result<bool, OpenError> {
        let header = &segment.header;
        let lineage = &version.lineage;
        if header.number == version.log.segment {
            if header.lineage != *lineage || octets(segment.content.len()) < version.log.offset {
                let what = "segment is not the one that the snapshot continues in";
                return Err(damaged(&segment.path, 0, what));
            }
            return Ok(true);
        }
        let same_store = header.lineage.key() == lineage.key()
            && header.lineage.includes(lineage.epoch(), version.sequence);
        let same_list = header.sequence == version.sequence
            && header.count == version.count()
            && header.root == version.root;
        Ok(same_store && same_list)
    }

    fn abandon(&mut self, path: PathBuf) -> Result<(), OpenError> {
        self.fs
            .remove(&path)
            .map_err(io_error("can't remove", &path))?;
        let synced = self.fs.sync_dir(self.dir);
        synced.map_err(io_error("can't sync", self.dir))?;
        self.report.findings.push(Finding::Abandoned { path });
        Ok(())
    }

    fn replay_segment(
        &mut self,
        version: &mut Version,
        digester: &mut Digester,
        segment: &Segment,
        is_last: bool,
    ) -> Result<Tail, OpenError> {
        let path = &segment.path;
        let mut tail = Tail {
            path: path.clone(),
            last_group: Vec::new(),
            cut: false,
        };
        let start = usize::try_from(version.log.offset).unwrap_or(usize::MAX);
        let mut last = None;
        for scanned in Scan::new(&segment.content, start) {
            match scanned {
                Scanned::Group { offset, len, group } => {
                    let applied = self.apply(version, digester, group);
                    applied.map_err(|what| damaged(path, octets(offset), what))?;
                    version.log.offset += octets(len);
                    self.report.replayed_groups += 1;
                    self.report.replayed_bytes += octets(len);
                    last = Some(offset..offset + len);
                }
                Scanned::Bad {
                    offset,
                    group_follows,
                } => {
                    if group_follows || !is_last {
                        let what = "no whole group here, but whole ones follow";
                        return Err(damaged(path, octets(offset), what));
                    }
                    tail.cut = true;
                    self.report.findings.push(Finding::CutOff {
                        path: path.clone(),
                        offset: octets(offset),
                        bytes: octets(segment.content.len() - offset),
                    });
                }
            }
        }
        let last = last.and_then(|range| segment.content.get(range));
        tail.last_group = last.unwrap_or_default().to_vec();
        Ok(tail)
    }

    /// Carries a group out again, and makes sure that it leads where it did the first time.
    fn apply(
        &mut self,
        version: &mut Version,
        digester: &mut Digester,
        group: Group,
    ) -> Result<(), &'static str> {
        if group.first != version.sequence.next() {
            return Err("group does not continue the one before");
        }
        let notes = notes(&group);
        for record in group.records {
            match record.what {
                What::Change(mut change) => {
                    change.new = change.new.map(|entry| self.interner.entry(entry));
                    if let Some((name, _)) = version.list.get_key_value(&change.mailbox) {
                        change.mailbox = name.clone();
                    }
                    version.carry_out(digester, record.sequence, change);
                }
                What::ConflictsForgotten => version.conflicts.clear(),
            }
        }
        version.sequence = group.last;
        if version.count() != group.count || version.root != group.root {
            return Err("group does not lead to the list that it is said to lead to");
        }
        version.history.push(notes);
        version.history.cut(&self.config.history_bounds(), || None);
        Ok(())
    }

    /// Makes the end of the log what it was found to be. A sync that failed before the last stop may
    /// have left the last group in the page cache only, marked as written; so it is written again.
    fn reopen(
        &self,
        fs: &Arc<dyn FileSystem>,
        tail: &Tail,
        end: LogPosition,
    ) -> Result<Appender, OpenError> {
        let path = &tail.path;
        let opened = self.fs.open(path, Open::Write);
        let mut file = opened.map_err(io_error("can't open", path))?;
        let begin = end.offset.saturating_sub(octets(tail.last_group.len()));
        let mut renew = || {
            if tail.cut {
                file.set_len(end.offset)?;
            }
            if !tail.last_group.is_empty() {
                file.write_at(&tail.last_group, begin)?;
            }
            file.sync()
        };
        renew().map_err(io_error("can't write", path))?;
        Ok(Appender::new(Arc::clone(fs), self.dir, file, end))
    }
}

fn notes(group: &Group) -> Vec<Note> {
    let note = |record: &crate::log::Record| match &record.what {
        What::Change(change) => Some(Note {
            sequence: record.sequence,
            mailbox: change.mailbox.clone(),
            old_location: change.old_location.clone(),
            new_location: change.new.as_ref().map(|entry| entry.location().clone()),
        }),
        What::ConflictsForgotten => None,
    };
    group.records.iter().filter_map(note).collect()
}

fn damaged(path: &Path, offset: u64, what: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
    }
}

fn octets(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
