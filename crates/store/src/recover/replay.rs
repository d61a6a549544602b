//! Snapshot plus log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digester;
use crate::error::OpenError;
use crate::file::{FileSystem, Open};
use crate::intern::Interner;
use crate::log::append::Appender;
use crate::log::scan::{Scan, Scanned};
use crate::log::segment::{self, Header};
use crate::log::{Group, LogPosition, What};
use crate::recover::history::{self, Backlog};
use crate::recover::{Finding, Found, OpenReport, Recovered, io_error, renew};
use crate::snapshot::Kept;
use crate::{StoreConfig, Version, token};

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
    let backlog = Backlog::before(&version, fs, dir, config, &found.segments);
    let mut digester = Digester::new(&version.lineage);
    let tail = recovery.replay(&mut version, &mut digester, &found.segments)?;
    let mut log = recovery.reopen(fs, &tail, version.log)?;
    let Recovery {
        mut report, kept, ..
    } = recovery;
    let token = version.lineage.token();
    if let Some(Err(what)) = token.map(|token| token::check(&**fs, dir, token)) {
        let path = dir.to_owned();
        report.findings.push(Finding::Copied { path, what });
    }
    if token.is_none() || tail.format < segment::FORMAT {
        renew(&**fs, dir, &mut version, &mut log)?;
    }
    Ok(Recovered {
        version,
        log,
        lock,
        digester,
        snapshots: kept,
        backlog,
        report,
    })
}

/// A recovery under way.
pub(super) struct Recovery<'a> {
    pub(super) fs: &'a dyn FileSystem,
    pub(super) dir: &'a Path,
    pub(super) config: &'a StoreConfig,
    pub(super) interner: Interner,
    pub(super) report: OpenReport,
    pub(super) kept: Kept,
}

/// A segment in memory.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) header_len: u64,
    /// Where the content stands in the file, in octets.
    pub(super) begin: u64,
    pub(super) content: Vec<u8>,
}

/// The end of the log.
struct Tail {
    path: PathBuf,
    /// Format of its segment.
    format: u32,
    /// The last group, which is written once more.
    last_group: Vec<u8>,
    /// What follows it and has to go.
    cut: bool,
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
            let known = number == version.log.segment;
            let from = if known { version.log.offset } else { 0 };
            let segment = self.segment(number, from)?;
            if number != expected {
                let what = format!("segment {expected}, which comes before it, is missing");
                return Err(damaged(&segment.path, 0, &what));
            }
            let is_last = newer.peek().is_none();
            let continues = Self::check_header(version, &segment)?;
            if !continues {
                let empty = segment.content.is_empty();
                if !(is_last && empty && tail.is_some()) {
                    let what = "segment does not continue the one before";
                    return Err(damaged(&segment.path, 0, what));
                }
                self.abandon(segment.path)?;
                break;
            }
            if number != version.log.segment {
                *version = version.under(&segment.header.lineage);
                *digester = Digester::new(&version.lineage);
                version.log = LogPosition {
                    segment: number,
                    offset: segment.header_len,
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
            if header.lineage != *lineage || segment.begin != version.log.offset {
                let what = "segment is not the one that the snapshot continues in";
                return Err(damaged(&segment.path, 0, what));
            }
            return Ok(true);
        }
        let same_store = header.lineage.includes(lineage.epoch(), version.sequence);
        Ok(same_store && header.continues(&version.under(&header.lineage)))
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
            format: segment.header.format,
            last_group: Vec::new(),
            cut: false,
        };
        let mut last = None;
        let place = |offset: usize| segment.begin + octets(offset);
        let mut scan = Scan::new(&segment.content, 0);
        while let Some(scanned) = scan.next(&mut self.interner) {
            match scanned {
                Scanned::Group { offset, len, group } => {
                    let applied = self.apply(version, digester, &group);
                    applied.map_err(|what| damaged(path, place(offset), what))?;
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
                        return Err(damaged(path, place(offset), what));
                    }
                    tail.cut = true;
                    self.report.findings.push(Finding::CutOff {
                        path: path.clone(),
                        offset: place(offset),
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
        group: &Group,
    ) -> Result<(), &'static str> {
        if group.first != version.sequence.next() {
            return Err("group does not continue the one before");
        }
        for record in &group.records {
            match &record.what {
                What::Change(change) => {
                    version.carry_out(digester, record.sequence, change.clone());
                }
                What::ConflictsForgotten => version.conflicts.clear(),
                What::Reached(reached) => version.reach(reached),
                What::Unfollowed => version.unfollow(),
            }
        }
        version.sequence = group.last;
        if version.count() != group.count || version.root() != group.root {
            return Err("group does not lead to the list that it is said to lead to");
        }
        version.keep_up(digester, group.records.len());
        let notes = history::notes(group);
        version.history.push(&notes);
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

pub(super) fn damaged(path: &Path, offset: u64, what: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
    }
}

pub(super) fn octets(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
