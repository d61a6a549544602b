//! What a streaming peer has asked for and is still to be told, in order.

use std::collections::VecDeque;
use std::future::pending;

use proto::codec::Tag;
use store::Sequence;

use crate::role::Wait;
use crate::session::End;

/// Answers that may be owed at once; beyond that the peer's input waits in its socket.
const ANSWERS_MAX: usize = 1024;

/// One thing to say once everything before it has been said.
pub(super) enum Answer {
    /// NOOP that has to wait for somebody else before it is a barrier.
    Asking {
        /// Of the NOOP.
        tag: Tag,
        /// For whom.
        wait: Wait,
    },
    /// NOOP: after every change up to the target.
    Barrier {
        /// Of the NOOP.
        tag: Tag,
        /// The list's sequence when it arrived.
        target: Sequence,
    },
    /// Words of the protocol's own, such as BAD.
    Words(Vec<u8>),
    /// COMPRESS: what follows is deflated.
    Compress(Tag, Vec<u8>),
    /// The session ends with these words.
    Last(Vec<u8>, End),
}

/// The queue of answers.
#[derive(Default)]
pub(super) struct Answers {
    queue: VecDeque<Answer>,
    /// Nothing may be taken in behind COMPRESS or a last word.
    closed: bool,
    last_barrier: Option<Sequence>,
}

impl Answers {
    pub(super) fn has_room(&self) -> bool {
        !self.closed && self.queue.len() < ANSWERS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn push(&mut self, answer: Answer) {
        self.closed = matches!(answer, Answer::Compress(..) | Answer::Last(..));
        self.queue.push_back(answer);
    }

    /// Waits until the first in the queue may become a barrier; for ever if it need not wait.
    pub(super) async fn asked(&mut self) {
        match self.queue.front_mut() {
            Some(Answer::Asking { wait, .. }) => wait.await,
            _ => pending().await,
        }
    }

    /// What [`Answers::asked`] waited for has come: the first in the queue is a barrier at `target`.
    pub(super) fn ripen(&mut self, target: Sequence) {
        if let Some(Answer::Asking { tag, .. }) = self
            .queue
            .pop_front_if(|first| matches!(first, Answer::Asking { .. }))
        {
            self.queue.push_front(Answer::Barrier { tag, target });
        }
    }

    /// The next answer, if its turn has come: every change up to `reached` has been said.
    pub(super) fn due(&mut self, reached: Sequence) -> Option<Answer> {
        let answer = self.queue.pop_front_if(|answer| match answer {
            Answer::Barrier { target, .. } => *target <= reached,
            Answer::Asking { .. } => false,
            Answer::Words(_) | Answer::Compress(..) | Answer::Last(..) => true,
        })?;
        match answer {
            Answer::Barrier { .. } => self.last_barrier = Some(reached),
            Answer::Compress(..) => self.closed = false,
            Answer::Asking { .. } | Answer::Words(_) | Answer::Last(..) => {}
        }
        Some(answer)
    }

    /// The position of the last barrier that was answered.
    pub(super) fn last_barrier(&self) -> Option<Sequence> {
        self.last_barrier
    }
}
