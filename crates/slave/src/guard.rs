//! What a resync may delete without asking.

/// A share of the list, in percent, and
const SHARE_MAX_PERCENT: usize = 20;
/// a number of names: a resync that lacks more than both is held.
const NAMES_MAX: usize = 100;

/// Whether a resync that lacks `missing` of `listed` names looks like a master that lost its list.
pub(crate) fn must_hold(listed: usize, missing: usize) -> bool {
    if missing == 0 {
        return false;
    }
    let large = missing > NAMES_MAX
        && missing.saturating_mul(100) > listed.saturating_mul(SHARE_MAX_PERCENT);
    large || missing >= listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_must_be_exceeded_or_the_list_emptied() {
        assert!(!must_hold(0, 0) && !must_hold(10, 0));
        assert!(must_hold(1, 1) && must_hold(500, 500));
        assert!(!must_hold(101, 100), "not more than 100");
        assert!(!must_hold(1000, 200) && must_hold(1000, 201));
        assert!(!must_hold(505, 101) && must_hold(504, 101));
    }
}
