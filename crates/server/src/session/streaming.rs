//! UPDATE (RFC 3656 section 4.10): the dump, then changes as they are committed, and NOOP as a
//! barrier (section 4.8). And RESYNC (`docs/resync.md`) but for its compare: the same, with a
//! [`Teller`] that says beside the lines where the peer stands, and often without a dump.
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
mod teller;

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use proto::MailboxName;
use proto::codec::{Tag, encode};
use proto::session::{Request, Step};
use store::{Chunk, Feed, HostFilter};
use tokio::time::sleep_until;
use tracing::info;

use self::answers::{Answer, Answers};
pub(super) use self::dumping::Dump;
use self::repairing::Repair;
pub(super) use self::teller::{Teller, history};
use super::{End, OUTPUT_BYTES, Session};
use crate::dump::{Page, Wanted};
use crate::output::Progress;
use crate::repair::Names;
use crate::slaves::Membership;
use crate::status::{SessionState, StreamMode};

/// Changes of the log that one chunk of a feed looks at.
const CHUNK_CHANGES_MAX: usize = 1024;

/// A session after UPDATE or RESYNC.
pub(super) struct Streaming {
    tag: Tag,
    wanted: Wanted,
    phase: Phase,
    feed: Feed,
    /// Lines of the feed that are still to be encoded, from an index on.
    chunk: Option<(Chunk, usize)>,
    answers: Answers,
    /// Known as a slave of the whole list that needs repair passes; a partial one proves nothing.
    membership: Option<Membership>,
    /// For RESYNC.
    teller: Option<Teller>,
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
    Endangered(Option<Names>),
}

enum Event {
    Wire(Progress),
    Work(Work),
    Changed,
    Asked,
    Silence,
    PointDue,
}

impl Session {
    /// Answers UPDATE.
    pub(super) async fn stream(&mut self, tag: Tag, hosts: Vec<Vec<u8>>) -> Result<(), End> {
        self.streams = true;
        if !self.shared.role.may_stream() {
            return Err(End::NotOpen);
        }
        let streaming = self.begin_update(tag, hosts)?;
        self.run_stream(streaming).await
    }

    /// Streams until the session ends.
    pub(super) async fn run_stream(&mut self, mut streaming: Streaming) -> Result<(), End> {
        self.protocol.streaming();
        self.show_stream(&streaming);
        streaming.feed.listen_to(self.shared.audience.listen());
        loop {
            streaming.take_commands(self);
            streaming.produce(self).await?;
            let event = streaming.wait(self).await?;
            streaming.handle(self, event)?;
        }
    }

    fn begin_update(&mut self, tag: Tag, hosts: Vec<Vec<u8>>) -> Result<Streaming, End> {
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
        info!(sequence = %version.sequence(), entries = version.len(), "dump begins");
        let dump = Dump::begin(&self.shared, version, wanted.clone(), tag.clone());
        let mut streaming = Streaming::new(tag, wanted, feed, Some(dump));
        streaming.membership = membership;
        Ok(streaming)
    }

    fn show_stream(&self, streaming: &Streaming) {
        let Some(asker) = &self.asker else { return };
        let identity = Arc::clone(&asker.origin.identity);
        let mode = if streaming.teller.is_some() {
            StreamMode::Resync
        } else {
            StreamMode::Update
        };
        self.registered.set(if streaming.phase.is_dump() {
            SessionState::Dumping { identity, mode }
        } else {
            SessionState::Streaming {
                identity,
                mode,
                position: streaming.feed.position(),
            }
        });
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
    /// What follows `feed`, behind a dump if there is one.
    pub(super) fn new(tag: Tag, wanted: Wanted, feed: Feed, dump: Option<Dump>) -> Self {
        Self {
            tag,
            wanted,
            phase: dump.map_or(Phase::Live(Repair::Done), Phase::Dump),
            feed,
            chunk: None,
            answers: Answers::default(),
            membership: None,
            teller: None,
            last_line: None,
            last_sent: Instant::now(),
            began: Instant::now(),
        }
    }

    /// The same for RESYNC.
    pub(super) fn told_by(mut self, teller: Teller) -> Self {
        self.teller = Some(teller);
        self
    }

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
                || self.tell_head(session)?
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
            let found = chunk.version.find(mailbox);
            // A list that is verified ends where the wanted hosts end, and has no held entries.
            match found.filter(|found| self.teller.is_none() || self.wanted.includes(found)) {
                Some(found) => {
                    encode::entry_line(session.wire.tail(), &self.tag, mailbox, found.entry);
                }
                None => encode::delete_line(session.wire.tail(), &self.tag, mailbox),
            }
            self.last_line = Some(mailbox.clone());
            at += 1;
        }
        if let Some(teller) = &mut self.teller {
            teller.after_chunk(session.wire.tail(), &chunk)?;
        }
        session.show_stream(self);
        Ok(true)
    }

    /// Tells a RESYNC peer that it has everything; false when there is nothing new in that.
    fn tell_head(&mut self, session: &mut Session) -> Result<bool, End> {
        let Some(teller) = &mut self.teller else {
            return Ok(false);
        };
        let version = session.shared.store.current();
        if self.chunk.is_some() || self.feed.position() < version.sequence() {
            return Ok(false);
        }
        // A point must be true of the peer's list, not only of ours.
        let kept = self.feed.keeps_up(&version);
        kept.map_err(|_| End::FellBehind)?;
        teller.at_head(session.wire.tail(), &version)
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
        let version = session.shared.store.current();
        if let Some(found) = version.find(&mailbox)
            && self.wanted.includes(&found)
        {
            encode::entry_line(session.wire.tail(), &self.tag, found.mailbox, found.entry);
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
        let point = self.teller.as_ref().map_or(patience, Teller::due);
        let tells = self.teller.is_some();
        let Session {
            wire,
            protocol,
            shared,
            ..
        } = session;
        tokio::select! {
            progress = wire.progress(room.then(|| protocol.buffer())) => Ok(Event::Wire(progress?)),
            work = self.phase.work(), if quiet => Ok(Event::Work(work)),
            changed = changed(&mut self.feed, self.teller.as_mut()), if quiet && live => changed.map(|()| Event::Changed),
            () = self.answers.asked(), if live => Ok(Event::Asked),
            () = sleep_until(patience.into()), if owing => Ok(Event::Silence),
            () = sleep_until(point.into()), if tells && quiet && live => Ok(Event::PointDue),
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
            Event::PointDue => {
                if let Some(teller) = &mut self.teller {
                    teller.tick();
                }
            }
            Event::Work(Work::Page(page)) => {
                self.send_page(session, page.ok_or(End::Internal("dump pool"))?)?;
            }
            Event::Work(Work::Endangered(names)) => {
                if let Phase::Live(repair) = &mut self.phase {
                    repair.found(names.ok_or(End::Internal("dump pool"))?);
                }
            }
        }
        Ok(())
    }

    fn send_page(&mut self, session: &mut Session, page: Page) -> Result<(), End> {
        let Phase::Dump(dump) = &mut self.phase else {
            return Ok(());
        };
        session.wire.push_page(page.bytes);
        self.last_line = page.last.or_else(|| self.last_line.take());
        if let Some(after) = page.next {
            dump.go_on(after);
            return Ok(());
        }
        let elapsed_ms = self.began.elapsed().as_millis();
        info!(elapsed_ms, "dump complete, streaming starts");
        if let Some(teller) = &mut self.teller {
            teller.after_dump(session.wire.tail(), dump.one_version().as_deref())?;
            self.phase = Phase::Live(Repair::Done);
        } else {
            encode::ok(session.wire.tail(), &self.tag, "streaming starts");
            let proven = self.membership.as_ref().and_then(Membership::proven);
            self.phase = Phase::Live(Repair::look(&session.shared, proven));
        }
        session.show_stream(self);
        Ok(())
    }

    /// A Cyrus slave that waits for an answer gives up after two intervals without a single octet;
    /// saying a line again that is true anyway keeps it here (Cyrus: `mupdate_listen`).
    fn repeat_a_line(&mut self, session: &mut Session) {
        self.last_sent = Instant::now();
        // A line from a later version would make the next point a lie.
        if let Some(teller) = &self.teller {
            return teller.repeat(session.wire.tail());
        }
        let current = session.shared.store.current();
        let version = match &self.phase {
            Phase::Dump(dump) => dump.version(),
            Phase::Live(_) => &current,
        };
        let last = self.last_line.as_ref().and_then(|name| version.find(name));
        let any = last.or_else(|| version.walk().next());
        if let Some(found) = any.filter(|found| self.wanted.includes(found)) {
            encode::entry_line(session.wire.tail(), &self.tag, found.mailbox, found.entry);
        }
    }
}

/// Waits until there may be more to say.
async fn changed(feed: &mut Feed, teller: Option<&mut Teller>) -> Result<(), End> {
    match teller {
        Some(teller) => teller.changed().await,
        None => feed.changed().await.map_err(|_| End::Stopping),
    }
}
