//! What the log is replayed onto.

use std::io::ErrorKind;
use std::path::Path;

use crate::Version;
use crate::error::OpenError;
use crate::file::{Open, read_full};
use crate::history::History;
use crate::log::LogPosition;
use crate::log::segment::{self, BadHeader};
use crate::recover::replay::{Recovery, Segment, damaged, octets};
use crate::recover::{Finding, Found, io_error};
use crate::snapshot;
use crate::snapshot::read::{self, BadSnapshot};

impl Recovery<'_> {
    /// The list of the newest usable snapshot, or the empty one that the log begins with.
    pub(super) fn base(&mut self, found: &Found) -> Result<Version, OpenError> {
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
        let version = match read::read(&*file) {
            Ok(version) => version,
            Err(bad) => return self.unusable(path, bad).map(|()| None),
        };
        let reached = self.reaches(path, version.log, segments);
        if reached {
            self.report.snapshot_bytes = file.len().map_err(io_error("can't read", path))?;
        }
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
        let first = self.segment(number, u64::MAX)?;
        let header = first.header;
        if header.count != 0 || header.root.0 != 0 || header.held != 0 {
            let what = "no snapshot is usable, and the log does not reach back to an empty list";
            return Err(damaged(&first.path, 0, what));
        }
        let log = LogPosition {
            segment: number,
            offset: first.header_len,
        };
        Ok(Version {
            sequence: header.sequence,
            history: History::starting_at(header.sequence, header.follows.as_ref()),
            log,
            follows: header.follows,
            ..Version::empty(header.lineage)
        })
    }

    /// The header of a segment, and its groups from an offset on.
    pub(super) fn segment(&self, number: u64, from: u64) -> Result<Segment, OpenError> {
        let path = self.dir.join(segment::file_name(number));
        let file = self
            .fs
            .open(&path, Open::Read)
            .map_err(io_error("can't open", &path))?;
        let read = || {
            let header = segment::header_of(&*file)?;
            let header_len = header.as_ref().map_or(0, |(_, len)| octets(*len));
            let len = file.len()?;
            let begin = from.clamp(header_len, len.max(header_len));
            let rest = usize::try_from(len.saturating_sub(begin));
            let mut content = vec![0; rest.map_err(|_| ErrorKind::FileTooLarge)?];
            let filled = read_full(&*file, &mut content, begin)?;
            content.truncate(filled);
            Ok((header, begin, content))
        };
        let (header, begin, content) = read().map_err(io_error("can't read", &path))?;
        match header {
            Ok((header, _)) if header.number != number => {
                Err(damaged(&path, 0, "segment has the name of another"))
            }
            Ok((header, header_len)) => Ok(Segment {
                path,
                header,
                header_len: octets(header_len),
                begin,
                content,
            }),
            Err(BadHeader::Format(found)) => Err(OpenError::Format { path, found }),
            Err(BadHeader::Damaged) => Err(damaged(&path, 0, "header is damaged")),
        }
    }
}
