//! The stream after UPDATE.

use std::collections::VecDeque;
use std::fmt;

use proto::codec::{Command, Response, Status, parse_response};
use proto::{Entry, MailboxName};

use crate::error::Error;
use crate::record::{Listed, Records, Unusable};
use crate::wire::{Octets, Wire, lossy};

/// Most NOOPs that may be without an answer.
pub const BARRIERS_MAX: usize = 16;

/// The server's list, and then its changes (RFC 3656 section 4.11).
pub struct Updates {
    wire: Wire,
    tag: String,
    dump: Dump,
    barriers: Barriers,
    records: Records,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dump {
    Running,
    Complete,
}

/// A NOOP in a stream: its answer comes after every change that was committed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Barrier(u64);

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A mailbox exists, or has changed.
    Mailbox {
        /// Its name.
        name: MailboxName,
        /// What it is now. A reservation counts as made by RESERVE.
        entry: Entry,
    },
    /// A mailbox is gone.
    Delete {
        /// Its name; the server may never have mentioned it.
        name: MailboxName,
    },
    /// The list is complete; changes follow.
    DumpComplete,
    /// The answer to [`Updates::barrier`].
    Reached(Barrier),
    /// The server told of a mailbox that can't be represented.
    Unusable(Unusable),
}

impl Updates {
    pub(crate) fn new(wire: Wire, tag: String) -> Self {
        Self {
            wire,
            tag,
            dump: Dump::Running,
            barriers: Barriers::default(),
            records: Records::default(),
        }
    }

    /// The next event. Waits as long as it takes, and can be cancelled without losing anything, so
    /// that the caller can put its own bound on it.
    ///
    /// NO, BAD, BYE and a closed connection are errors, in the dump as behind it: only
    /// [`Update::DumpComplete`] says that the list was complete.
    pub async fn next(&mut self) -> Result<Update, Error> {
        loop {
            let line = self.wire.receive().await?;
            if let Some(update) = self.event(&parse_response(&line)?)? {
                return Ok(update);
            }
        }
    }

    /// Asks for a sign that everything committed until now has been sent: NOOP, which goes out with
    /// the following calls of [`next`](Self::next).
    pub fn barrier(&mut self) -> Result<Barrier, Error> {
        self.barriers.ask(&mut self.wire)
    }

    /// Octets of the protocol read and written so far.
    pub fn octets(&self) -> Octets {
        self.wire.octets()
    }

    /// Whether the list is complete.
    pub fn is_live(&self) -> bool {
        self.dump == Dump::Complete
    }

    fn event(&mut self, response: &Response<'_>) -> Result<Option<Update>, Error> {
        if let Some(line) = line(&mut self.records, response) {
            return Ok(Some(line));
        }
        match response {
            Response::Status { tag, status, text } => self.status(tag, *status, text),
            _ => Err(UNEXPECTED),
        }
    }

    fn status(&mut self, tag: &[u8], status: Status, text: &[u8]) -> Result<Option<Update>, Error> {
        match status {
            Status::Bye => Err(Error::Bye { text: lossy(text) }),
            Status::No | Status::Bad => Err(Error::Refused {
                command: "UPDATE",
                status,
                text: lossy(text),
            }),
            Status::Ok if self.dump == Dump::Running && tag == self.tag.as_bytes() => {
                self.dump = Dump::Complete;
                Ok(Some(Update::DumpComplete))
            }
            Status::Ok if tag == b"*" => Ok(None),
            Status::Ok => match self.barriers.reached(tag) {
                Some(barrier) => Ok(Some(Update::Reached(barrier))),
                None => Err(UNEXPECTED),
            },
        }
    }
}

/// NOOPs that have no answer yet.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    waiting: VecDeque<(String, Barrier)>,
    sent: u64,
}

impl Barriers {
    /// Queues a NOOP.
    pub(crate) fn ask(&mut self, wire: &mut Wire) -> Result<Barrier, Error> {
        if self.waiting.len() >= BARRIERS_MAX {
            return Err(Error::TooManyBarriers);
        }
        self.sent += 1;
        let barrier = Barrier(self.sent);
        let tag = wire.queue(&Command::Noop);
        self.waiting.push_back((tag, barrier));
        Ok(barrier)
    }

    /// The NOOP that an OK with this tag answers: the first in the queue, or none.
    pub(crate) fn reached(&mut self, tag: &[u8]) -> Option<Barrier> {
        let (_, barrier) = self
            .waiting
            .pop_front_if(|(sent, _)| sent.as_bytes() == tag)?;
        Some(barrier)
    }

    fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// A MAILBOX, RESERVE or DELETE line.
pub(crate) fn line(records: &mut Records, response: &Response<'_>) -> Option<Update> {
    if let Response::Delete { name, .. } = response {
        return Some(deleted(name));
    }
    Some(match records.listed(response)? {
        Listed::Mailbox { name, entry } => Update::Mailbox { name, entry },
        Listed::Unusable(unusable) => Update::Unusable(unusable),
    })
}

fn deleted(name: &[u8]) -> Update {
    match MailboxName::try_from(name) {
        Ok(name) => Update::Delete { name },
        Err(reason) => Update::Unusable(Unusable {
            name: name.to_vec(),
            reason: reason.into(),
        }),
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates")
            .field("dump", &self.dump)
            .field("barriers", &self.barriers.len())
            .finish_non_exhaustive()
    }
}

const UNEXPECTED: Error = Error::Unexpected { command: "UPDATE" };
