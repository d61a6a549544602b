//! Whether the writer stays awake for the next edit.
//!
//! A peer that makes one edit after another asks again as soon as it has its answer. For the writer to
//! sleep and to be woken takes about as long as that, so it is worth its while to look out for the next
//! edit; but not where edits come from many, who would rather have the processor.

use std::time::Duration;

/// How long one look-out lasts: a round trip on a local network.
pub(super) const TIME: Duration = Duration::from_micros(100);

/// After this many look-outs for nothing in a row their interval doubles no further.
const DOUBLINGS_MAX: u32 = 8;

/// How often it has been worth its while lately.
#[derive(Debug, Default)]
pub(super) struct LookOut {
    /// Look-outs for nothing in a row.
    vain: u32,
    /// Chances to be let go by.
    wait: u32,
}

impl LookOut {
    /// Asked each time there is nothing to do.
    pub(super) fn is_worth_while(&mut self) -> bool {
        let now = self.wait == 0;
        self.wait = self.wait.saturating_sub(1);
        now
    }

    pub(super) fn saw_something(&mut self) {
        self.vain = 0;
    }

    pub(super) fn saw_nothing(&mut self) {
        self.vain = (self.vain + 1).min(DOUBLINGS_MAX);
        self.wait = (1 << self.vain) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_less_and_less_often_in_vain_and_always_with_success() {
        let mut look_out = LookOut::default();
        for interval in [2, 4, 8, 16, 32, 64, 128, 256, 256, 256] {
            assert!(look_out.is_worth_while());
            look_out.saw_nothing();
            for _ in 1..interval {
                assert!(!look_out.is_worth_while());
            }
        }
        assert!(look_out.is_worth_while());
        look_out.saw_something();
        assert!(look_out.is_worth_while() && look_out.is_worth_while());
    }
}
