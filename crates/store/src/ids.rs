//! What names a history, a place in it, and the content of a list.

use std::fmt;
use std::num::NonZeroU128;

use crate::bytes::Reader;

/// One history of changes (`docs/store-format.md`, "Lineage"): 128 random bits, replaced whenever
/// histories may fork.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub [u8; 16]);

impl Epoch {
    /// A new one, unlike any other.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Number of a change: the first is 1, and 0 is the list before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Digest of a whole list: the sum, modulo 2^128, of its entries' digests. That of the empty list
/// is 0, and of two lists without a common name it is the sum of theirs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Root(pub u128);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a history was left for a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The epoch that was left.
    pub epoch: Epoch,
    /// Its last change that the new epoch shares.
    pub sequence: Sequence,
}

/// What a store is: its epoch, the epochs it came from, and the key of its digests.
#[derive(Clone, PartialEq, Eq)]
pub struct Lineage {
    epoch: Epoch,
    key: [u8; 32],
    forks: Vec<Fork>,
    token: Option<Token>,
}

/// What a data directory is known by, so that a copy of it is noticed (`docs/store-format.md`,
/// "Token").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) NonZeroU128);

impl Token {
    pub(crate) fn random() -> Self {
        Self(NonZeroU128::new(rand::random()).unwrap_or(NonZeroU128::MIN))
    }
}

/// Forks remembered; older ones are forgotten, and whoever is still there starts from digests.
pub(crate) const FORKS_MAX: usize = 1024;

impl Lineage {
    /// That of a new store.
    pub(crate) fn random() -> Self {
        let (epoch, token) = (Epoch::random(), Token::random());
        Self::from_parts(epoch, rand::random(), Vec::new(), Some(token))
    }

    pub(crate) fn from_parts(
        epoch: Epoch,
        key: [u8; 32],
        forks: Vec<Fork>,
        token: Option<Token>,
    ) -> Self {
        Self {
            epoch,
            key,
            forks,
            token,
        }
    }

    /// The same store under a new epoch, from `sequence` on.
    pub(crate) fn forked(&self, sequence: Sequence) -> Self {
        let mut forks = self.forks.clone();
        if forks.len() >= FORKS_MAX {
            forks.remove(0);
        }
        forks.push(Fork {
            epoch: self.epoch,
            sequence,
        });
        Self::from_parts(Epoch::random(), self.key, forks, self.token)
    }

    /// The same history, with digests under another key.
    pub(crate) fn with_key(&self, key: [u8; 32]) -> Self {
        Self::from_parts(self.epoch, key, self.forks.clone(), self.token)
    }

    /// The same history in another directory.
    pub(crate) fn with_token(&self, token: Token) -> Self {
        Self::from_parts(self.epoch, self.key, self.forks.clone(), Some(token))
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.token
    }

    /// The current epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Key of the entry digests. It survives new epochs and is told to peers that may have the list.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Epochs left behind, oldest first.
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }

    /// Whether a list at `sequence` of `epoch` is a stage that this history went through.
    pub fn includes(&self, epoch: Epoch, sequence: Sequence) -> bool {
        let forked = |fork: &Fork| fork.epoch == epoch && sequence <= fork.sequence;
        epoch == self.epoch || self.forks.iter().any(forked)
    }
}

/// Appends forks behind their number as 32 bits; the oldest ones only as far as they are remembered.
pub(crate) fn put_forks(out: &mut Vec<u8>, forks: &[Fork]) {
    let forks = forks.get(forks.len().saturating_sub(FORKS_MAX)..);
    let forks = forks.unwrap_or_default();
    let number = u32::try_from(forks.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&number.to_be_bytes());
    for fork in forks {
        out.extend_from_slice(&fork.epoch.0);
        out.extend_from_slice(&fork.sequence.0.to_be_bytes());
    }
}

/// Takes them off the front again.
pub(crate) fn take_forks(input: &mut Reader<'_>) -> Option<Vec<Fork>> {
    let number = input.u32()?;
    (0..number)
        .map(|_| {
            let epoch = Epoch(input.array()?);
            let sequence = Sequence(input.u64()?);
            Some(Fork { epoch, sequence })
        })
        .collect()
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lineage")
            .field("epoch", &self.epoch)
            .field("forks", &self.forks)
            .finish_non_exhaustive()
    }
}
