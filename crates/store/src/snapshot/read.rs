//! Reading a snapshot back.

use std::io;
use std::sync::Arc;
use std::thread;

use proto::MailboxName;

use crate::digests::Tally;
use crate::file::{File, read_full};
use crate::history::History;
use crate::list::Leaf;
use crate::log::segment::{BadHeader, HEADER_BYTES_MAX};
use crate::snapshot::blocks::{Blocks, Decoded, Decoder, Entries};
use crate::snapshot::format::Header;
use crate::snapshot::parallel;
use crate::snapshot::sums::Sums;
use crate::{Sum, Version};

/// Why a snapshot can't be used.
#[derive(Debug)]
pub(crate) enum BadSnapshot {
    /// It can't be read.
    Io(io::Error),
    /// It was written by a later version of this program.
    Format(u32),
    /// It is not what was written.
    Damaged { offset: u64, what: &'static str },
}

impl From<io::Error> for BadSnapshot {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the header only.
pub(crate) fn read_header(file: &dyn File) -> Result<(Header, usize), BadSnapshot> {
    let mut octets = vec![0; HEADER_BYTES_MAX];
    let filled = read_full(file, &mut octets, 0)?;
    octets.truncate(filled);
    Header::decode(&octets).map_err(|bad| match bad {
        BadHeader::Format(version) => BadSnapshot::Format(version),
        BadHeader::Damaged => damaged(0, "header is damaged"),
    })
}

/// Reads the list, and makes sure that it is the one that was written. Its history is empty. A long
/// one is decoded by as many threads as there are processors.
pub(crate) fn read(file: &dyn File) -> Result<Version, BadSnapshot> {
    let workers = match file.len()? {
        0..PARALLEL_BYTES_MIN => 0,
        _ => thread::available_parallelism().map_or(1, usize::from),
    };
    read_with(file, workers.min(WORKERS_MAX))
}

/// As [`read`], with so many threads beside the caller's. The result does not depend on them.
pub(super) fn read_with(file: &dyn File, workers: usize) -> Result<Version, BadSnapshot> {
    let (header, len) = read_header(file)?;
    let mut blocks = Blocks::new(file, len);
    let mut loading = Loading::new(&header);
    if workers == 0 {
        let mut decoder = Decoder::new(&header);
        while let Some(block) = blocks.next()? {
            loading.take(decoder.decode(&block)?)?;
        }
    } else {
        parallel::decode(&mut blocks, &mut loading, &header, workers)?;
    }
    loading.finish(&header).map_err(|what| damaged(0, what))
}

pub(super) fn damaged(offset: u64, what: &'static str) -> BadSnapshot {
    BadSnapshot::Damaged { offset, what }
}

/// Puts decoded blocks together, in their order.
pub(super) struct Loading {
    version: Version,
    leaves: Vec<Leaf>,
    tally: Tally,
    sums: Option<Sums>,
    last: Option<MailboxName>,
    conflicts: u64,
}

impl Loading {
    fn new(header: &Header) -> Self {
        Self {
            version: Version {
                sequence: header.sequence,
                history: History::starting_at(header.sequence, header.follows.as_ref()),
                log: header.log,
                follows: header.follows.clone(),
                ..Version::empty(Arc::clone(&header.lineage))
            },
            leaves: Vec::new(),
            tally: Tally::new(header.count),
            sums: header.has_sums.then(Sums::default),
            last: None,
            conflicts: 0,
        }
    }

    pub(super) fn take(&mut self, decoded: Decoded) -> Result<(), BadSnapshot> {
        match decoded {
            Decoded::Entries(entries) => self.entries(entries),
            Decoded::Conflicts(older) => {
                for (mailbox, stored) in older {
                    self.conflicts += 1;
                    self.version.keep_conflict(&mailbox, &stored);
                }
                Ok(())
            }
            Decoded::Sums(more) => {
                if let Some(sums) = &mut self.sums {
                    sums.extend(more);
                }
                Ok(())
            }
        }
    }

    fn entries(&mut self, entries: Entries) -> Result<(), BadSnapshot> {
        let Entries {
            offset,
            bounds,
            leaves,
            part,
        } = entries;
        let Some((first, last)) = bounds else {
            return Ok(());
        };
        if self.last.as_ref().is_some_and(|before| *before >= first) {
            return Err(damaged(offset, "block does not continue the one before"));
        }
        self.last = Some(last);
        self.tally.take(part);
        self.leaves.extend(leaves);
        Ok(())
    }

    fn finish(self, header: &Header) -> Result<Version, &'static str> {
        let Self {
            mut version,
            leaves,
            tally,
            sums,
            conflicts,
            ..
        } = self;
        let disagrees = "content does not add up to what the header says";
        version.list = leaves.into_iter().collect();
        (version.digests, version.held) = tally.finish();
        if let Some(sums) = sums {
            let listed = u64::try_from(version.len()).unwrap_or(u64::MAX);
            let sum = Sum {
                count: listed.saturating_sub(version.held_count()),
                root: header.root,
            };
            version.digests = sums.into_digests(sum).ok_or(disagrees)?;
        }
        let agrees = version.count() == header.count && version.root() == header.root;
        let agrees = agrees && version.held_count() == header.held;
        if !agrees || conflicts != header.conflicts {
            return Err(disagrees);
        }
        Ok(version)
    }
}

/// Below this length a thread costs more than it saves, in octets.
const PARALLEL_BYTES_MIN: u64 = 1 << 20;

/// More threads than this have nothing to do: putting the list together keeps up with fewer.
const WORKERS_MAX: usize = 8;
