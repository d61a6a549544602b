//! What a session asks of its driver.

use crate::codec::{BadBase64, Tag};
use crate::resync::{Named, ResyncFrom};
use crate::{Edit, MailboxName, Refusal};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read more into [`ServerSession::buffer`](super::ServerSession::buffer), or finish the request
    /// that the session waits for.
    NeedInput,
    /// Send these octets: a BAD or NO of the session's own, or a go-ahead.
    Reply(Vec<u8>),
    /// Carry out a command and send its answer.
    Request(Request),
    /// Send these octets, if any, and close the connection.
    Close(Vec<u8>),
}

/// A command that is legal here and now, and whose arguments are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Start a SASL exchange (RFC 3656 section 4.1). The session waits for
    /// [`authenticated`](super::ServerSession::authenticated),
    /// [`authentication_ended`](super::ServerSession::authentication_ended) or
    /// [`expect_sasl_answer`](super::ServerSession::expect_sasl_answer).
    Authenticate {
        /// Goes with the final OK or NO.
        tag: Tag,
        /// Name of the mechanism, as the client spells it.
        mechanism: Vec<u8>,
        /// The initial response.
        initial: Option<Result<Vec<u8>, BadBase64>>,
    },
    /// The client's answer to a challenge. The session waits as after `Authenticate`.
    SaslAnswer(SaslAnswer),
    /// Start TLS after an OK without quotes (section 4.10). The session waits for
    /// [`tls_started`](super::ServerSession::tls_started) or
    /// [`tls_refused`](super::ServerSession::tls_refused).
    StartTls {
        /// Goes with the OK.
        tag: Tag,
    },
    /// Start raw DEFLATE both ways after an OK without quotes. The session waits for
    /// [`compress_started`](super::ServerSession::compress_started).
    Compress {
        /// Goes with the OK.
        tag: Tag,
        /// Name of the algorithm, as the client spells it.
        algorithm: Vec<u8>,
    },
    /// Send OK and close (section 4.7).
    Logout {
        /// Goes with the OK.
        tag: Tag,
    },
    /// Send OK, in a stream after every change committed before now (section 4.8).
    Noop {
        /// Goes with the OK.
        tag: Tag,
    },
    /// Change the directory (sections 4.2, 4.3, 4.4, 4.9).
    Edit {
        /// Goes with the OK or NO.
        tag: Tag,
        /// The wish, or why it can't be one.
        edit: Result<Edit, Refusal>,
    },
    /// Look up a mailbox (section 4.5).
    Find {
        /// Goes with the data and the OK.
        tag: Tag,
        /// The mailbox; `None` for a name that no mailbox can have.
        name: Option<MailboxName>,
    },
    /// List mailboxes by their location (section 4.6).
    List {
        /// Goes with the data and the OK.
        tag: Tag,
        /// What locations begin with; empty for all.
        prefix: Vec<u8>,
    },
    /// Send the list, then all changes (section 4.11). The session waits for
    /// [`streaming`](super::ServerSession::streaming).
    Update {
        /// Goes with all of it.
        tag: Tag,
        /// Servers whose mailboxes are wanted; none for all.
        hosts: Vec<Vec<u8>>,
    },
    /// Send what a list lacks, then all changes (`docs/resync.md`, section 4.1). The session waits for
    /// [`streaming`](super::ServerSession::streaming),
    /// [`comparing`](super::ServerSession::comparing) or
    /// [`resync_refused`](super::ServerSession::resync_refused).
    Resync {
        /// Goes with all of it.
        tag: Tag,
        /// Which list the client has.
        from: ResyncFrom,
        /// Servers whose mailboxes are wanted; none for all.
        hosts: Vec<Vec<u8>>,
    },
    /// Answer a question of a compare (section 4.2). Only between
    /// [`comparing`](super::ServerSession::comparing) and the next RESYNC.
    Compare {
        /// Goes with the data and the OK.
        tag: Tag,
        /// Number of buckets: a power of two, at least a group.
        buckets: u32,
        /// What is asked.
        question: Question,
    },
}

/// What a client asks in a compare (`docs/resync.md`, section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The sums of all groups.
    Groups,
    /// The sums of the buckets of these groups, which may not exist, in this order.
    Buckets(Vec<u32>),
    /// What the client lacks in these buckets, which may not exist.
    Entries(Vec<Named>),
}

/// A client's line in a SASL exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaslAnswer {
    /// What the base64 stands for.
    Data(Vec<u8>),
    /// The line is not base64.
    BadBase64,
    /// The line begins with `*`: `NO Client canceled authentication`, without quotes.
    Cancelled,
}
