//! Where a list stands in the history of the one who owns it.

use std::sync::Arc;

use crate::bytes::Reader;
use crate::ids::{put_forks, take_forks};
use crate::{Epoch, Fork, Sequence, Sum};

/// A stage of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The history.
    pub epoch: Epoch,
    /// Its last change that is part of the list.
    pub sequence: Sequence,
}

/// Which history a list is a stage of: that of the store itself, or of the master that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerHistory<'a> {
    /// The epoch.
    pub epoch: Epoch,
    /// The epochs that it came from, oldest first.
    pub forks: &'a [Fork],
}

/// How far a master that is followed has told its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Every change up to here has been carried out; the content may be newer.
    pub place: Place,
    /// The epochs that the owner's epoch came from, oldest first.
    pub forks: Arc<[Fork]>,
    /// Whether all changes between the place before and this one came as lines of a log. After a
    /// dump or a comparison they did not, and nobody can be told them from here.
    pub continues: bool,
    /// The list at exactly this place.
    pub expected: Option<Sum>,
}

/// What [`crate::Store::follow`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The list's own sequence afterwards.
    pub sequence: Sequence,
    /// Whether it is exactly the owner's at its place.
    pub exact: bool,
}

/// The list would not have been what the owner says it is. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What it would have been.
    pub found: Sum,
    /// What the owner says.
    pub expected: Sum,
}

/// Where a peer that stands at some place can be told the changes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// From this sequence of our own on ([`crate::Store::feed`]).
    From(Sequence),
    /// We are behind: the peer's place is of our history, and later than ours.
    Behind,
    /// The place is of another history, or our own no longer reaches back to it.
    Unknown,
}

/// A place as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The place.
    pub place: Place,
    /// The list was exactly the owner's.
    pub exact: bool,
    /// See [`Following::continues`].
    pub continues: bool,
    /// The epochs that the owner's epoch came from, where they are not those of the record before.
    pub forks: Option<Arc<[Fork]>>,
}

/// The history that a version follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Follows {
    pub(crate) place: Place,
    /// The own sequence at which it was reached.
    pub(crate) at: Sequence,
    pub(crate) exact: bool,
    pub(crate) forks: Arc<[Fork]>,
}

const FOLLOWS_NOBODY: u8 = 0;
const FOLLOWS: u8 = 1;
const FOLLOWS_EXACTLY: u8 = 2;

/// Appends what headers say of it.
pub(crate) fn put_follows(out: &mut Vec<u8>, follows: Option<&Follows>) {
    let Some(follows) = follows else {
        out.push(FOLLOWS_NOBODY);
        return;
    };
    out.push(if follows.exact {
        FOLLOWS_EXACTLY
    } else {
        FOLLOWS
    });
    out.extend_from_slice(&follows.place.epoch.0);
    out.extend_from_slice(&follows.place.sequence.0.to_be_bytes());
    out.extend_from_slice(&follows.at.0.to_be_bytes());
    put_forks(out, &follows.forks);
}

/// Takes it off the front again; `into` is nobody before.
pub(crate) fn take_follows(input: &mut Reader<'_>, into: &mut Option<Follows>) -> Option<()> {
    let exact = match input.u8()? {
        FOLLOWS_NOBODY => return Some(()),
        FOLLOWS => false,
        FOLLOWS_EXACTLY => true,
        _ => return None,
    };
    let place = Place {
        epoch: Epoch(input.array()?),
        sequence: Sequence(input.u64()?),
    };
    *into = Some(Follows {
        place,
        at: Sequence(input.u64()?),
        exact,
        forks: take_forks(input)?.into(),
    });
    Some(())
}

impl Follows {
    /// What a record leaves of what was followed before it, which is `before`.
    pub(crate) fn after(reached: &Reached, at: Sequence, before: Option<&Self>) -> Self {
        let forks = reached.forks.clone();
        let forks = forks.or_else(|| before.map(|before| Arc::clone(&before.forks)));
        Self {
            place: reached.place,
            at,
            exact: reached.exact,
            forks: forks.unwrap_or_default(),
        }
    }

    /// Whether a stage of another epoch is one that this history went through.
    pub(crate) fn includes(&self, place: &Place) -> bool {
        let forked = |fork: &Fork| fork.epoch == place.epoch && place.sequence <= fork.sequence;
        place.epoch == self.place.epoch || self.forks.iter().any(forked)
    }
}
