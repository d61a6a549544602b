//! Which octets occur in some keys.

use std::ops::RangeInclusive;

/// A set of octets below 128. Leaves and blocks of history have one each, so that who looks for rare
/// octets in names can pass over those that have none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Octets(u128);

impl Octets {
    /// Those of a range.
    pub fn between(range: RangeInclusive<u8>) -> Self {
        let mut octets = Self::default();
        for octet in range {
            octets.add(octet);
        }
        octets
    }

    pub(crate) fn add_key(&mut self, key: &[u8]) {
        for &octet in key {
            self.add(octet);
        }
    }

    /// Whether there is one that is in both.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn add(&mut self, octet: u8) {
        self.0 |= 1_u128.checked_shl(octet.into()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_meet_in_what_they_share() {
        let mut octets = Octets::default();
        octets.add_key(b"user\x1fjoe-x\xFF");
        assert!(octets.meets(Octets::between(b' '..=b'-')));
        assert!(!octets.meets(Octets::between(b' '..=b',')));
        assert!(!octets.meets(Octets::between(b'A'..=b'Z')));
        assert!(!octets.meets(Octets::between(128..=255)));
    }
}
