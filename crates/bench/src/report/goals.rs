//! What this project wants of its server with 500 000 mailboxes on two processors.

/// A figure of a row and its bound.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    row: &'static str,
    key: &'static str,
    quantile: &'static str,
    bound: Bound,
}

/// On which side of a number a figure must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
}

impl Bound {
    /// Whether a figure meets it.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// The bound of a figure; `quantile` is empty for a number.
pub fn bound(row: &str, key: &str, quantile: &str) -> Option<Bound> {
    GOALS
        .iter()
        .find(|goal| goal.row == row && goal.key == key && goal.quantile == quantile)
        .map(|goal| goal.bound)
}

const fn goal(row: &'static str, key: &'static str, quantile: &'static str, bound: Bound) -> Goal {
    Goal {
        row,
        key,
        quantile,
        bound,
    }
}

static GOALS: &[Goal] = &[
    goal("load", "load", "", Bound::AtLeast(100_000.0)),
    goal("load", "memory_each", "", Bound::AtMost(150.0)),
    goal("load-random", "load_random", "", Bound::AtLeast(60_000.0)),
    goal("activate", "activate", "p50", Bound::AtMost(0.2)),
    goal("find", "find_per_s", "", Bound::AtLeast(500_000.0)),
    goal("propagation", "propagation", "p99", Bound::AtMost(2.0)),
    goal("dump", "dump_1", "", Bound::AtMost(0.12)),
    goal("dump", "dump_k", "", Bound::AtMost(0.6)),
    goal("list", "list", "", Bound::AtMost(0.1)),
    goal("log-in", "plain_beside_dumps", "p99", Bound::AtMost(50.0)),
    goal("log-in", "scram_beside_dumps", "p99", Bound::AtMost(50.0)),
    goal("log-in", "tls_beside_dumps", "p99", Bound::AtMost(50.0)),
    goal("under-load", "noop", "p99.9", Bound::AtMost(20.0)),
    goal("under-load", "noop", "max", Bound::AtMost(100.0)),
    goal("under-load", "activate", "p99", Bound::AtMost(10.0)),
    goal("under-load", "find", "p99", Bound::AtMost(5.0)),
    goal("under-load", "propagation", "p99", Bound::AtMost(50.0)),
    goal("sessions", "reached", "", Bound::AtLeast(5000.0)),
    goal("sessions", "noop_5000", "p99.9", Bound::AtMost(50.0)),
    goal("thrash", "noop", "max", Bound::AtMost(100.0)),
    goal("thrash", "cpu_each", "", Bound::AtMost(0.3)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Scenario;
    use clap::ValueEnum as _;

    #[test]
    fn goals_are_of_rows_that_exist() {
        for goal in GOALS {
            let row = Scenario::value_variants()
                .iter()
                .find(|row| row.name() == goal.row);
            assert!(row.is_some(), "{goal:?}");
        }
    }

    #[test]
    fn bounds_have_sides() {
        let bound = bound("load", "load", "").unwrap();
        assert!(bound.is_met(100_000.0) && !bound.is_met(99_999.0));
        assert!(super::bound("list", "list", "").unwrap().is_met(0.1));
        assert_eq!(super::bound("list", "nothing", ""), None);
    }
}
