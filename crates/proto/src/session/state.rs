//! States of a session.

use crate::codec::Tag;

/// Where a session is.
///
/// ```text
///                     AUTHENTICATE (4.1)        ok
///  ┌─────────────────┐ ─────────────► Driver ──────────► ┌───────────────┐
///  │ Ready           │                │    ▲             │ Ready         │
///  │ NotAuthenticated│      challenge │    │ answer      │ Authenticated │
///  │                 │                ▼    │             │               │
///  │                 │ ◄──failed──── SaslAnswer          │               │
///  └─────────────────┘                                   └───────────────┘
///    │ ▲ STARTTLS (4.10), COMPRESS                 UPDATE (4.11) │
///    ▼ │                                                         ▼
///   Driver                                                     Driver ──► ┌───────────┐
///                                                                         │ Ready     │
///   With RESYNC (`docs/resync.md`) for UPDATE, Driver may lead to Ready Comparing as well, from where
///   another RESYNC leads on, or back to Ready Authenticated.
///
///   any ── LOGOUT (4.7), a limit exceeded ──► Closed                      │ Streaming │
///                                                                         └───────────┘
/// ```
///
/// `Driver` is a wait for whoever owns the socket; no input is looked at meanwhile, since it is not
/// known yet in which state, or through which layer, it is to be read. NOOP, FIND, LIST and edits
/// do not wait, so that pipelined ones can be taken together.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Reads commands.
    Ready(Phase),
    /// Waits for the driver, and will go on in this phase unless the driver says otherwise.
    Driver(Phase, Pending),
    /// Reads one line of a SASL exchange.
    SaslAnswer {
        /// Of AUTHENTICATE.
        tag: Tag,
        /// Octets of the line that were looked at.
        at: usize,
    },
    /// Reads nothing.
    Closed,
}

/// Which commands are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    NotAuthenticated,
    Authenticated,
    Streaming,
    /// After RESYNC, DIGEST and OK "compare" (`docs/resync.md`, section 5.3).
    Comparing,
}

/// What the driver is busy with.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    Sasl(Tag),
    Other,
}

impl State {
    /// The phase of a session that reads commands or waits for its driver. Anything else has not
    /// logged in, or is over.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Ready(phase) | Self::Driver(phase, _) => *phase,
            Self::SaslAnswer { .. } | Self::Closed => Phase::NotAuthenticated,
        }
    }
}
