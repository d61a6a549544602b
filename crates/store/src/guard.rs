//! What may be deleted on the word of a list that came from elsewhere, without asking.

/// A share of the list, in percent, and
const SHARE_MAX_PERCENT: usize = 20;
/// a number of names: a list that lacks more than both is not believed.
const NAMES_MAX: usize = 100;

/// Whether a list that lacks `missing` of our `listed` names looks like one that was lost: it lacks all
/// of them, or more than a fifth and more than a hundred.
pub fn looks_like_loss(listed: usize, missing: usize) -> bool {
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
        assert!(!looks_like_loss(0, 0) && !looks_like_loss(10, 0));
        assert!(looks_like_loss(1, 1) && looks_like_loss(500, 500));
        assert!(!looks_like_loss(101, 100), "not more than 100");
        assert!(!looks_like_loss(1000, 200) && looks_like_loss(1000, 201));
        assert!(!looks_like_loss(505, 101) && looks_like_loss(504, 101));
    }
}
