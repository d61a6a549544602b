//! UPDATE (RFC 3656 section 4.10): the dump, then changes as they are committed, and NOOP as a
//! barrier (section 4.8).
//!
//! ```text
//!            last page, OK "streaming starts"
//!   Dump ───────────────────────────────────► Live: changes · answers · repair lines
//!    │ pages of one version, from the pool     │ in this order of urgency
//!    └────────────── peer closes ──────────────┘
//! ```
//!
//! One task of the control plane serves the session and never walks the list. Whatever the peer asks
//! meanwhile is queued as an [`Answer`] and let go when its turn comes: nothing but MAILBOX and
//! RESERVE lines may stand in a dump, since a Cyrus slave takes any OK, NO, BAD or BYE for its end
//! and deletes what it has not seen.

mod answers;
mod dumping;
mod repairing;

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use proto::MailboxName;
use proto::codec::{Tag, encode};
use proto::session::{Request, Step};
use store::{Chunk, Feed, HostFilter, Sequence};
use tokio::time::sleep_until;
use tracing::info;

use self::answers::{Answer, Answers};
use self::dumping::Dump;
use self::repairing::Repair;
use super::{End, OUTPUT_BYTES, Session};
use crate::dump::{Page, Wanted};
use crate::output::Progress;
use crate::slaves::Membership;
use crate::status::SessionState;

/// Changes of the log that one chunk of a feed looks at.
const CHUNK_CHANGES_MAX: usize = 1024;

/// A session after UPDATE.
struct Streaming {
    tag: Tag,
    wanted: Wanted,
    phase: Phase,
    feed: Feed,
    /// Lines of the feed that are still to be encoded, from an index on.
    chunk: Option<(Chunk, usize)>,
    answers: Answers,
    /// Known as a slave of the whole list; a partial one proves nothing.
    membership: Option<Membership>,
    /// The last name sent, for repeats.
    last_line: Option<MailboxName>,
    last_sent: Instant,
    began: Instant,
}

enum Phase {
    Dump(Dump),
    Live(Repair),
}

/// What the pool has made for this session; `None` when it failed.
enum Work {
    Page(Option<Page>),
    Endangered(Option<Vec<MailboxName>>),
}

enum Event {
    Wire(Progress),
    Work(Work),
    Changed,
    Asked,
    Silence,
}

impl Session {
    /// Streams until the session ends.
    pub(super) async fn stream(&mut self, tag: Tag, hosts: Vec<Vec<u8>>) -> Result<(), End> {
        self.streams = true;
        if !self.shared.role.may_stream() {
            return Err(End::NotOpen);
        }
        let mut streaming = self.begin_streaming(tag, hosts)?;
        loop {
            streaming.take_commands(self);
            streaming.produce(self).await?;
            let event = streaming.wait(self).await?;
            streaming.handle(self, event)?;
        }
    }

    fn begin_streaming(&mut self, tag: Tag, hosts: Vec<Vec<u8>>) -> Result<Streaming, End> {
        let identity = Arc::clone(&self.asker()?.origin.identity);
        let whole_list = hosts.is_empty();
        let wanted = if whole_list {
            Wanted::All
        } else {
            Wanted::Hosts(HostFilter::new(hosts))
        };
        let address = self.registered.peer().ip();
        let membership = whole_list.then(|| self.shared.slaves.join(address, &identity));
        let version = self.shared.store.current();
        let feed = self.shared.store.feed(version.sequence());
        self.protocol.streaming();
        self.registered.set(SessionState::Dumping { identity });
        info!(sequence = %version.sequence(), entries = version.len(), "dump begins");
        Ok(Streaming {
            phase: Phase::Dump(Dump::begin(
                &self.shared,
                version,
                wanted.clone(),
                tag.clone(),
            )),
            tag,
            wanted,
            feed,
            chunk: None,
            answers: Answers::default(),
            membership,
            last_line: None,
            last_sent: Instant::now(),
            began: Instant::now(),
        })
    }

    fn show_position(&self, position: Sequence) {
        if let Some(asker) = &self.asker {
            let identity = Arc::clone(&asker.origin.identity);
            self.registered
                .set(SessionState::Streaming { identity, position });
        }
    }
}

impl Phase {
    /// Waits for the pool.
    async fn work(&mut self) -> Work {
        match self {
            Self::Dump(dump) => Work::Page(dump.page().await),
            Self::Live(Repair::Looking(job)) => Work::Endangered(job.result().await),
            Self::Live(_) => pending().await,
        }
    }

    fn is_dump(&self) -> bool {
        matches!(self, Self::Dump(_))
    }
}

impl Streaming {
    /// Takes what has come in, as far as answers have room.
    fn take_commands(&mut self, session: &mut Session) {
        while self.answers.has_room() {
            let answer = match session.protocol.next() {
                Step::NeedInput => return,
                Step::Reply(words) => Answer::Words(words),
                Step::Close(last_words) => Answer::Last(last_words, End::Protocol),
                Step::Request(Request::Noop { tag }) => self.barrier(session, tag),
                Step::Request(Request::Logout { tag }) => {
                    let mut words = Vec::new();
                    encode::ok(&mut words, &tag, "bye-bye");
                    Answer::Last(words, End::Logout)
                }
                Step::Request(Request::Compress { tag, algorithm }) => {
                    Answer::Compress(tag, algorithm)
                }
                Step::Request(_) => {
                    Answer::Last(Vec::new(), End::Internal("command while streaming"))
                }
            };
            self.answers.push(answer);
        }
    }

    /// The answer follows every change committed before its NOOP arrived. That this NOOP comes at all
    /// proves that the answer before it was read, if that one had left by then.
    fn barrier(&mut self, session: &Session, tag: Tag) -> Answer {
        let version = session.shared.store.current();
        let repaired = matches!(&self.phase, Phase::Live(repair) if repair.is_done());
        let all_left = self.answers.is_empty() && session.wire.is_idle();
        if let (Some(membership), Some(read)) = (&self.membership, self.answers.last_barrier())
            && repaired
            && all_left
        {
            membership.prove(version.epoch(), read);
        }
        match session.shared.role.before_barrier() {
            Some(wait) => Answer::Asking { tag, wait },
            None => Answer::Barrier {
                tag,
                target: version.sequence(),
            },
        }
    }

    /// Makes output until there is enough of it, or nothing left to say.
    async fn produce(&mut self, session: &mut Session) -> Result<(), End> {
        while !self.phase.is_dump() && session.wire.unsent() < OUTPUT_BYTES {
            let made = self.feed_lines(session)?
                || self.answer(session).await?
                || self.repair_line(session);
            if !made {
                break;
            }
        }
        Ok(())
    }

    /// Encodes changes; false when there are none.
    fn feed_lines(&mut self, session: &mut Session) -> Result<bool, End> {
        let (chunk, mut at) = match self.chunk.take() {
            Some(open) => open,
            None if self.feed.position() >= session.shared.store.current().sequence() => {
                return Ok(false);
            }
            None => {
                let chunk = self.feed.next_chunk(self.wanted.hosts(), CHUNK_CHANGES_MAX);
                (chunk.map_err(|_| End::FellBehind)?, 0)
            }
        };
        while let Some(mailbox) = chunk.lines.get(at) {
            if session.wire.unsent() >= OUTPUT_BYTES {
                self.chunk = Some((chunk, at));
                return Ok(true);
            }
            match chunk.version.get(mailbox) {
                Some(stored) => {
                    encode::entry_line(session.wire.tail(), &self.tag, mailbox, &stored.entry);
                }
                None => encode::delete_line(session.wire.tail(), &self.tag, mailbox),
            }
            self.last_line = Some(mailbox.clone());
            at += 1;
        }
        session.show_position(self.feed.position());
        Ok(true)
    }

    /// Gives the next answer whose turn has come; false when there is none.
    async fn answer(&mut self, session: &mut Session) -> Result<bool, End> {
        if self.chunk.is_some() {
            return Ok(false);
        }
        match self.answers.due(self.feed.position()) {
            None => return Ok(false),
            Some(Answer::Barrier { tag, .. } | Answer::Asking { tag, .. }) => {
                encode::ok(session.wire.tail(), &tag, "Noop done");
            }
            Some(Answer::Words(words)) => session.wire.tail().extend_from_slice(&words),
            Some(Answer::Compress(tag, algorithm)) => {
                session.compress(&tag, &algorithm).await?;
                self.take_commands(session);
            }
            Some(Answer::Last(words, end)) => {
                session.wire.tail().extend_from_slice(&words);
                return Err(end);
            }
        }
        Ok(true)
    }

    /// Says an endangered name again, as it is now; false when there is none left. One that is gone
    /// meanwhile has been, or will be, the feed's business.
    fn repair_line(&mut self, session: &mut Session) -> bool {
        let Phase::Live(repair) = &mut self.phase else {
            return false;
        };
        let Some(mailbox) = repair.next() else {
            return false;
        };
        if let Some(stored) = session.shared.store.current().get(&mailbox)
            && self.wanted.includes(&stored.entry)
        {
            encode::entry_line(session.wire.tail(), &self.tag, &mailbox, &stored.entry);
        }
        true
    }

    /// Waits until there is something to do. Everything here may be cancelled without loss.
    async fn wait(&mut self, session: &mut Session) -> Result<Event, End> {
        let room = self.answers.has_room();
        let quiet = session.wire.unsent() < OUTPUT_BYTES;
        let live = !self.phase.is_dump();
        let owing = session.wire.is_idle() && (self.phase.is_dump() || !self.answers.is_empty());
        let patience = self.last_sent + session.shared.config.stream_silence_max;
        let Session {
            wire,
            protocol,
            shared,
            ..
        } = session;
        tokio::select! {
            progress = wire.progress(room.then(|| protocol.buffer())) => Ok(Event::Wire(progress?)),
            work = self.phase.work(), if quiet => Ok(Event::Work(work)),
            changed = self.feed.changed(), if quiet && live => changed.map(|()| Event::Changed).map_err(|_| End::Stopping),
            () = self.answers.asked(), if live => Ok(Event::Asked),
            () = sleep_until(patience.into()), if owing => Ok(Event::Silence),
            () = shared.stop.cancelled() => Err(End::Stopping),
        }
    }

    fn handle(&mut self, session: &mut Session, event: Event) -> Result<(), End> {
        match event {
            Event::Wire(Progress::Read) | Event::Changed => {}
            Event::Wire(Progress::Wrote) => self.last_sent = Instant::now(),
            // What the peer asked before it closed its side is still answered, as Cyrus does.
            Event::Wire(Progress::Eof) => self
                .answers
                .push(Answer::Last(session.protocol.eof(), End::Closed)),
            Event::Asked => self
                .answers
                .ripen(session.shared.store.current().sequence()),
            Event::Silence => self.repeat_a_line(session),
            Event::Work(Work::Page(page)) => {
                self.send_page(session, page.ok_or(End::Internal("dump pool"))?);
            }
            Event::Work(Work::Endangered(names)) => {
                if let Phase::Live(repair) = &mut self.phase {
                    repair.found(names.ok_or(End::Internal("dump pool"))?);
                }
            }
        }
        Ok(())
    }

    fn send_page(&mut self, session: &mut Session, page: Page) {
        let Phase::Dump(dump) = &mut self.phase else {
            return;
        };
        session.wire.push_page(page.bytes);
        self.last_line = page.last.or_else(|| self.last_line.take());
        if let Some(after) = page.next {
            dump.go_on(after);
            return;
        }
        encode::ok(session.wire.tail(), &self.tag, "streaming starts");
        let elapsed_ms = self.began.elapsed().as_millis();
        info!(elapsed_ms, "dump complete, streaming starts");
        let proven = self.membership.as_ref().and_then(Membership::proven);
        self.phase = Phase::Live(Repair::look(&session.shared, proven));
        session.show_position(self.feed.position());
    }

    /// A Cyrus slave that waits for an answer gives up after two intervals without a single octet;
    /// saying a line again that is true anyway keeps it here (Cyrus: `mupdate_listen`).
    fn repeat_a_line(&mut self, session: &mut Session) {
        self.last_sent = Instant::now();
        let current = session.shared.store.current();
        let version = match &self.phase {
            Phase::Dump(dump) => dump.version(),
            Phase::Live(_) => &current,
        };
        let last = self
            .last_line
            .as_ref()
            .and_then(|name| Some((name, version.get(name)?)));
        let any = last.or_else(|| version.after(None).next());
        if let Some((mailbox, stored)) =
            any.filter(|(_, stored)| self.wanted.includes(&stored.entry))
        {
            encode::entry_line(session.wire.tail(), &self.tag, mailbox, &stored.entry);
        }
    }
}
