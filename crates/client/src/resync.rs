//! The stream after RESYNC, and the compare before it (`docs/resync.md`).

mod compare;

use std::fmt;

use proto::codec::{
    Command, Response, ResyncCommand, ResyncResponse, Status, encode, parse_response,
};
use proto::resync::{DigestKey, EpochBytes, ResyncFrom, WireSum};

pub use self::compare::{Entries, EntriesAnswer, GroupSums};
use crate::error::Error;
use crate::record::Records;
use crate::updates::{Barrier, Barriers, Update, line};
use crate::wire::{Octets, Wire, lossy};

/// A server's changes from a known place on, or a compare that leads there.
///
/// ```text
///              History, Log or Full, lines, Point, Streaming
///   Asked ──────────────────────────────────────────────────► live: lines, Position, Point
///    │ ▲ └──── Behind                                           (History when the epoch changes)
///    ▼ │ resync()
///   Digest: groups(), buckets(), entries()
/// ```
pub struct Resync {
    wire: Wire,
    tag: String,
    phase: Phase,
    barriers: Barriers,
    records: Records,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// RESYNC has been sent, and its OK has not come.
    Asked,
    /// DIGEST has come, its OK has not.
    Digest {
        sequence: u64,
        buckets: u32,
        sum: WireSum,
    },
    Comparing,
    Live,
    /// NO has come.
    Refused,
}

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResyncEvent {
    /// Later sequences are of this epoch, later hashes under this key. First of all, and again when
    /// the epoch changes in the live phase (the key does not, there).
    History {
        /// The epoch.
        epoch: EpochBytes,
        /// The key of hashes.
        key: DigestKey,
        /// Epochs left behind, oldest first, each with the last sequence shared with it.
        forks: Vec<(EpochBytes, u64)>,
    },
    /// The changes since the place asked for follow.
    Log {
        /// Its sequence.
        sequence: u64,
    },
    /// The whole list follows; nothing may be deleted for not being in it before the first
    /// [`ResyncEvent::Point`].
    Full {
        /// Its place.
        sequence: u64,
        /// What it adds up to.
        sum: WireSum,
    },
    /// A compare: [`Resync::groups`], [`Resync::buckets`] and [`Resync::entries`] may be called, then
    /// [`Resync::resync`].
    Digest {
        /// The place of the list that is compared, to go on from.
        sequence: u64,
        /// The server's number of buckets.
        buckets: u32,
        /// What the list adds up to.
        sum: WireSum,
    },
    /// The server, a relay, is behind the place asked for. Nothing more comes.
    Behind {
        /// Where it is.
        sequence: u64,
    },
    /// A line, or a barrier that was reached. Never [`Update::DumpComplete`].
    Line(Update),
    /// Where to resume; the list may hold later changes, too.
    Position {
        /// Where.
        sequence: u64,
    },
    /// A position at which the list adds up to exactly this.
    Point {
        /// Where.
        sequence: u64,
        /// To what.
        sum: WireSum,
    },
    /// Right after the first point: the list is up to date.
    Streaming,
}

impl Resync {
    pub(crate) fn begin(mut wire: Wire, from: ResyncFrom, hosts: &[&[u8]]) -> Self {
        Self {
            tag: ask(&mut wire, from, hosts),
            wire,
            phase: Phase::Asked,
            barriers: Barriers::default(),
            records: Records::default(),
        }
    }

    /// The next event. Waits as long as it takes, and can be cancelled without losing anything, so
    /// that the caller can put its own bound on it: a live server is never silent for more than 5 s.
    ///
    /// NO (but for [`ResyncEvent::Behind`]), BAD, BYE and a closed connection are errors. In a compare
    /// nothing comes but answers to [`barrier`](Self::barrier).
    pub async fn next(&mut self) -> Result<ResyncEvent, Error> {
        loop {
            let octets = self.wire.receive().await?;
            if let Some(event) = self.event(parse_response(&octets)?)? {
                return Ok(event);
            }
        }
    }

    /// Ends a compare by another RESYNC: from the place of [`ResyncEvent::Digest`], to get the changes
    /// since. Everything begins again with [`ResyncEvent::History`].
    pub fn resync(&mut self, from: ResyncFrom, hosts: &[&[u8]]) -> Result<(), Error> {
        if self.phase != Phase::Comparing {
            return Err(UNEXPECTED);
        }
        self.tag = ask(&mut self.wire, from, hosts);
        self.phase = Phase::Asked;
        Ok(())
    }

    /// Asks for a sign that everything committed until now has been sent: NOOP, which goes out with
    /// the following calls of [`next`](Self::next).
    pub fn barrier(&mut self) -> Result<Barrier, Error> {
        self.barriers.ask(&mut self.wire)
    }

    /// Whether [`ResyncEvent::Streaming`] has come.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Octets of the protocol read and written so far.
    pub fn octets(&self) -> Octets {
        self.wire.octets()
    }

    fn event(&mut self, response: Response<'_>) -> Result<Option<ResyncEvent>, Error> {
        match response {
            Response::Status { tag, status, text } => self.status(tag, status, &text),
            Response::Resync { tag, what } if tag == self.tag.as_bytes() => self.told(what),
            other => match line(&mut self.records, &other) {
                Some(line) if self.takes_lines() => Ok(Some(ResyncEvent::Line(line))),
                _ => Err(UNEXPECTED),
            },
        }
    }

    fn takes_lines(&self) -> bool {
        matches!(self.phase, Phase::Asked | Phase::Live)
    }

    fn told(&mut self, what: ResyncResponse) -> Result<Option<ResyncEvent>, Error> {
        let event = match what {
            _ if !self.takes_lines() => return Err(UNEXPECTED),
            ResyncResponse::History { epoch, key, forks } => {
                ResyncEvent::History { epoch, key, forks }
            }
            ResyncResponse::Log { sequence } => ResyncEvent::Log { sequence },
            ResyncResponse::Full { sequence, sum } => ResyncEvent::Full { sequence, sum },
            ResyncResponse::Position { sequence } => ResyncEvent::Position { sequence },
            ResyncResponse::Point { sequence, sum } => ResyncEvent::Point { sequence, sum },
            ResyncResponse::Digest {
                sequence,
                buckets,
                sum,
            } if self.phase == Phase::Asked && is_number_of_buckets(buckets) => {
                self.phase = Phase::Digest {
                    sequence,
                    buckets,
                    sum,
                };
                return Ok(None);
            }
            ResyncResponse::Digest { .. }
            | ResyncResponse::Sums { .. }
            | ResyncResponse::Unknown { .. } => return Err(UNEXPECTED),
        };
        Ok(Some(event))
    }

    fn status(
        &mut self,
        tag: &[u8],
        status: Status,
        text: &[u8],
    ) -> Result<Option<ResyncEvent>, Error> {
        let is_ours = tag == self.tag.as_bytes();
        match (status, self.phase) {
            (Status::Bye, _) => Err(Error::Bye { text: lossy(text) }),
            (Status::Ok, _) if tag == b"*" => Ok(None),
            (Status::Ok, Phase::Asked) if is_ours => {
                self.phase = Phase::Live;
                Ok(Some(ResyncEvent::Streaming))
            }
            (
                Status::Ok,
                Phase::Digest {
                    sequence,
                    buckets,
                    sum,
                },
            ) if is_ours => {
                self.phase = Phase::Comparing;
                Ok(Some(ResyncEvent::Digest {
                    sequence,
                    buckets,
                    sum,
                }))
            }
            (Status::Ok, _) => match self.barriers.reached(tag) {
                Some(barrier) => Ok(Some(ResyncEvent::Line(Update::Reached(barrier)))),
                None => Err(UNEXPECTED),
            },
            (Status::No, Phase::Asked) if is_ours && behind(text).is_some() => {
                self.phase = Phase::Refused;
                Ok(behind(text).map(|sequence| ResyncEvent::Behind { sequence }))
            }
            (Status::No | Status::Bad, _) => Err(Error::Refused {
                command: "RESYNC",
                status,
                text: lossy(text),
            }),
        }
    }
}

/// Queues RESYNC and returns its tag.
fn ask(wire: &mut Wire, from: ResyncFrom, hosts: &[&[u8]]) -> String {
    let (epoch, sequence) = match from {
        ResyncFrom::Nothing => (String::new(), 0),
        ResyncFrom::Place { epoch, sequence } => (encode::resync::epoch_text(epoch), sequence),
    };
    wire.queue(&Command::Resync(ResyncCommand::Resync {
        epoch: epoch.into_bytes().into(),
        sequence: sequence.to_string().into_bytes().into(),
        hosts: hosts.iter().map(|&host| host.into()).collect(),
    }))
}

/// The sequence in `behind <sequence>`.
fn behind(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"behind ")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn is_number_of_buckets(buckets: u32) -> bool {
    buckets.is_power_of_two() && (16..=BUCKETS_MAX).contains(&buckets)
}

impl fmt::Debug for Resync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resync")
            .field("phase", &self.phase)
            .field("barriers", &self.barriers)
            .finish_non_exhaustive()
    }
}

/// Most buckets that a server may have.
const BUCKETS_MAX: u32 = 1 << 20;
const UNEXPECTED: Error = Error::Unexpected { command: "RESYNC" };
