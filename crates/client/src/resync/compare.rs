//! Questions of a compare (`docs/resync.md`, sections 4.2 and 8).

use std::borrow::Cow;
use std::collections::VecDeque;

use proto::codec::{Command, Response, ResyncCommand, ResyncResponse, parse_response};
use proto::resync::{
    BINARY_BYTES_MAX, BUCKETS_PER_GROUP, EntryHashBytes, GROUPS_ASKED_MAX, NAMED_STRINGS_MAX,
    Named, WireSum,
};

use super::{Phase, Resync, UNEXPECTED};
use crate::client::{end_of_command, response_tag};
use crate::error::Error;
use crate::updates::{Update, line};

/// Most octets of records in one ENTRIES.
const RECORDS_BYTES_MAX: usize = NAMED_STRINGS_MAX * BINARY_BYTES_MAX;
/// ENTRIES under way at once.
const ENTRIES_AHEAD_MAX: usize = 2;

/// The sums of a group's buckets.
pub type GroupSums = [WireSum; 16];

/// These wait as long as it takes; a caller that gives up on one has to close the connection.
impl Resync {
    /// The sums of all groups, the server's buckets folded to this number: a power of two, at least
    /// 16, at most that of [`ResyncEvent::Digest`](super::ResyncEvent::Digest).
    pub async fn groups(&mut self, buckets: u32) -> Result<Vec<WireSum>, Error> {
        let buckets_text = number(buckets);
        let tag = self.ask_question(ResyncCommand::Groups {
            buckets: buckets_text,
        })?;
        let expected = usize::try_from(buckets / BUCKETS_PER_GROUP).unwrap_or(usize::MAX);
        let mut all = Vec::new();
        while let Some((first, sums)) = self.sums(&tag).await? {
            let in_order = usize::try_from(first) == Ok(all.len());
            all.extend(sums);
            if !in_order || all.len() > expected {
                return Err(UNEXPECTED);
            }
        }
        if all.len() == expected {
            Ok(all)
        } else {
            Err(UNEXPECTED)
        }
    }

    /// The sums of the buckets of some groups, in the order of these. Buckets are folded as in
    /// [`groups`](Self::groups).
    pub async fn buckets(&mut self, buckets: u32, groups: &[u32]) -> Result<Vec<GroupSums>, Error> {
        let mut all = Vec::with_capacity(groups.len());
        for part in groups.chunks(GROUPS_ASKED_MAX) {
            let octets: Vec<u8> = part.iter().flat_map(|group| group.to_be_bytes()).collect();
            let tag = self.ask_question(ResyncCommand::Buckets {
                buckets: number(buckets),
                groups: octets.into(),
            })?;
            for group in part {
                let told = self.sums(&tag).await?;
                let (first, sums) = told.ok_or(UNEXPECTED)?;
                if group.checked_mul(BUCKETS_PER_GROUP) != Some(first) {
                    return Err(UNEXPECTED);
                }
                all.push(sums.try_into().map_err(|_| UNEXPECTED)?);
            }
            if self.sums(&tag).await?.is_some() {
                return Err(UNEXPECTED);
            }
        }
        Ok(all)
    }

    /// What the server has in some buckets beside the entries that are named.
    pub fn entries(&mut self, buckets: u32, named: Vec<Named>) -> Entries<'_> {
        Entries {
            resync: self,
            buckets,
            rest: named.into(),
            asked: VecDeque::new(),
            answer: EntriesAnswer::default(),
        }
    }

    fn ask_question(&mut self, question: ResyncCommand<'_>) -> Result<String, Error> {
        if self.phase != Phase::Comparing {
            return Err(UNEXPECTED);
        }
        Ok(self.wire.queue(&Command::Resync(question)))
    }

    /// One SUMS line; `None` for the OK behind the last.
    async fn sums(&mut self, tag: &str) -> Result<Option<(u32, Vec<WireSum>)>, Error> {
        let octets = self.wire.receive().await?;
        match parse_response(&octets)? {
            Response::Resync {
                tag: of,
                what: ResyncResponse::Sums { first, sums },
            } if of == tag.as_bytes() => Ok(Some((first, sums))),
            other if end_of_command("a question of a compare", tag, &other)? => Ok(None),
            _ => Err(UNEXPECTED),
        }
    }
}

/// What a server has in some buckets, line by line.
#[derive(Debug)]
pub struct Entries<'a> {
    resync: &'a mut Resync,
    buckets: u32,
    rest: VecDeque<Named>,
    /// Tags of ENTRIES that have no OK yet.
    asked: VecDeque<String>,
    answer: EntriesAnswer,
}

/// What the lines of [`Entries`] do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntriesAnswer {
    /// Hashes that were named and belong to no entry of the server there: these entries are gone, or
    /// have changed.
    pub unknown: Vec<EntryHashBytes>,
    /// Buckets with too many entries to name: all that the server has there was told, and what was not
    /// told is gone.
    pub whole: Vec<u32>,
}

impl Entries<'_> {
    /// The next entry that was not named, or one that can't be represented; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Update>, Error> {
        loop {
            while self.asked.len() < ENTRIES_AHEAD_MAX && !self.rest.is_empty() {
                self.ask()?;
            }
            let Some(tag) = self.asked.front() else {
                return Ok(None);
            };
            let octets = self.resync.wire.receive().await?;
            let response = parse_response(&octets)?;
            let is_ours = response_tag(&response) == Some(tag.as_bytes());
            match response {
                Response::Resync {
                    what: ResyncResponse::Unknown { hashes },
                    ..
                } if is_ours => self.answer.unknown.extend(hashes),
                Response::Mailbox { .. } | Response::Reserve { .. } if is_ours => {
                    return Ok(line(&mut self.resync.records, &response));
                }
                other if end_of_command("ENTRIES", tag, &other)? => {
                    self.asked.pop_front();
                }
                _ => return Err(UNEXPECTED),
            }
        }
    }

    /// What else the server has told. Complete once [`next`](Self::next) has said `None`.
    pub fn into_answer(self) -> EntriesAnswer {
        self.answer
    }

    /// Queues ENTRIES for as many buckets as fit.
    fn ask(&mut self) -> Result<(), Error> {
        let mut octets = Vec::new();
        while let Some(named) = self.rest.front_mut() {
            if named.wire_bytes() > RECORDS_BYTES_MAX {
                named.hashes = Vec::new();
                self.answer.whole.push(named.bucket);
            }
            if octets.len() + named.wire_bytes() > RECORDS_BYTES_MAX {
                break;
            }
            named.write_to(&mut octets);
            self.rest.pop_front();
        }
        let tag = self.resync.ask_question(ResyncCommand::Entries {
            buckets: number(self.buckets),
            named: octets.chunks(BINARY_BYTES_MAX).map(Cow::Borrowed).collect(),
        })?;
        self.asked.push_back(tag);
        Ok(())
    }
}

fn number(number: u32) -> Cow<'static, [u8]> {
    number.to_string().into_bytes().into()
}
