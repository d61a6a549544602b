//! The list in memory, some entries at a time.

use std::sync::Arc;

use proto::{MailboxName, NameRef};

use crate::Version;
use crate::digest::Digester;
use crate::digests::{Part, Tally};
use crate::scrub::ScrubFinding;
use crate::scrub::files::Progress;

/// Entries looked at in a step.
const STEP_ENTRIES: usize = 1024;

/// Memory of an entry, about, in octets.
const ENTRY_BYTES: u64 = 96;

/// A version whose digests are computed anew. It is held meanwhile.
pub(super) struct List {
    version: Arc<Version>,
    digester: Digester,
    tally: Option<Tally>,
    last: Option<MailboxName>,
}

impl List {
    pub(super) fn new(version: Arc<Version>) -> Self {
        let entries = u64::try_from(version.len()).unwrap_or(u64::MAX);
        Self {
            digester: Digester::new(&version.lineage),
            tally: Some(Tally::new(entries)),
            last: None,
            version,
        }
    }

    pub(super) fn step(&mut self) -> Progress {
        let page = self.version.after(self.last.as_ref()).take(STEP_ENTRIES);
        let (mut part, mut octets, mut last) = (Part::default(), 0, None);
        for listed in page {
            part.add(&mut self.digester, &listed);
            octets += ENTRY_BYTES;
            last = Some(listed.mailbox);
        }
        let last = last.map(NameRef::to_name);
        let Some(tally) = &mut self.tally else {
            return Progress::End;
        };
        tally.take(part);
        if last.is_some() {
            self.last = last;
            return Progress::More(octets);
        }
        self.finish()
    }

    fn finish(&mut self) -> Progress {
        let found = self.tally.take().map(Tally::finish);
        let version = &self.version;
        match found {
            Some((digests, held)) if digests != version.digests || held != version.held => {
                Progress::Bad(ScrubFinding::List {
                    sequence: version.sequence,
                    expected: version.sum(),
                    found: digests.sum,
                })
            }
            _ => Progress::End,
        }
    }
}
