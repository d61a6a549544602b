//! When to connect again.

use std::time::Duration;

/// No two attempts are closer than this, whatever the settings say.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// Attempts until the delay is the full one; each is twice the one before.
const DOUBLINGS: u32 = 3;

/// Delays between attempts: the first after a link that lasted is at once, then they grow to
/// around the base. Knows no clock and no chance: both are handed in.
#[derive(Debug)]
pub(crate) struct Retry {
    base: Duration,
    /// Whether the next loss of a link may be answered at once.
    at_once: bool,
    failures: u32,
}

impl Retry {
    pub(crate) fn new(base: Duration) -> Self {
        Self {
            base,
            at_once: true,
            failures: 0,
        }
    }

    /// The delay after a failure. `lived`: how long the link was complete before; `chance`: from 0
    /// to 1, so that the slaves of one master do not all come back in the same moment.
    pub(crate) fn next_delay(&mut self, lived: Option<Duration>, chance: f64) -> Duration {
        if let Some(lived) = lived {
            self.failures = 0;
            self.at_once |= lived >= self.base;
            if std::mem::take(&mut self.at_once) {
                return Duration::ZERO;
            }
        }
        let halvings = DOUBLINGS.saturating_sub(self.failures);
        self.failures = self.failures.saturating_add(1);
        let step = self.base / 2_u32.pow(halvings);
        step.mul_f64(0.5 + chance.clamp(0.0, 1.0)).max(DELAY_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(20);

    #[test]
    fn a_link_that_lasted_is_renewed_at_once_then_with_growing_delays() {
        let mut retry = Retry::new(BASE);
        assert_eq!(retry.next_delay(Some(BASE), 0.5), Duration::ZERO);
        let delays: Vec<Duration> = (0..5).map(|_| retry.next_delay(None, 0.5)).collect();
        let expected = [2500, 5000, 10_000, 20_000, 20_000].map(Duration::from_millis);
        assert_eq!(delays, expected);
        assert_eq!(retry.next_delay(Some(BASE), 0.5), Duration::ZERO);
    }

    #[test]
    fn flapping_is_not_answered_at_once_each_time() {
        let mut retry = Retry::new(BASE);
        assert_eq!(retry.next_delay(Some(Duration::ZERO), 0.0), Duration::ZERO);
        for _ in 0..100 {
            assert!(retry.next_delay(Some(BASE / 2), 0.0) > Duration::from_secs(1));
        }
    }

    #[test]
    fn delays_stay_within_bounds_for_every_base() {
        for base in [0, 1, 2, 20, 86_400].map(Duration::from_secs) {
            let mut retry = Retry::new(base);
            for round in 0..100 {
                let chance = f64::from(round % 11) / 10.0;
                let delay = retry.next_delay(None, chance);
                assert!(delay >= DELAY_MIN && delay <= (base * 2).max(DELAY_MIN));
            }
        }
    }
}
