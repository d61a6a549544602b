//! The changes before the list, for feeds.

use crate::Version;
use crate::error::OpenError;
use crate::history::{History, Note};
use crate::log::scan::{Scan, Scanned};
use crate::log::{Group, Record, What, segment};
use crate::recover::Finding;
use crate::recover::replay::{Recovery, Segment, octets};

impl Recovery<'_> {
    /// What the segments tell of the time before a version.
    pub(super) fn history_before(
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
            self.read_history(version, &segment, &mut history);
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
        let mut older = segments
            .iter()
            .rev()
            .filter(|&&number| number <= version.log.segment);
        let first = older
            .clone()
            .find(begins_before)
            .or_else(|| older.next_back());
        first.copied().unwrap_or(version.log.segment)
    }

    fn read_history(
        &mut self,
        version: &Version,
        segment: &Segment,
        history: &mut Option<History>,
    ) {
        let end = if segment.header.number == version.log.segment {
            version.log.offset
        } else {
            u64::MAX
        };
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let content = segment.content.get(..end).unwrap_or(&segment.content);
        let base = segment.header.sequence;
        let continues = history.as_ref().is_some_and(|known| known.end() == base);
        if !continues {
            *history = Some(History::starting_after(base));
        }
        let bounds = self.config.history_bounds();
        let mut scan = Scan::new(content, segment.header_len);
        while let Some(scanned) = scan.next(&mut self.interner) {
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

/// The changes of a group. Their names are not looked for in the list to share them: a million random
/// look-ups take longer than all the rest of a start.
pub(super) fn notes(group: &Group) -> Vec<Note> {
    let note = |record: &Record| match &record.what {
        What::Change(change) => Some(Note {
            sequence: record.sequence,
            mailbox: change.mailbox.clone(),
            old_location: change.old_location.clone(),
            new_location: change.new.as_ref().map(|new| new.location().clone()),
        }),
        What::ConflictsForgotten => None,
    };
    group.records.iter().filter_map(note).collect()
}
