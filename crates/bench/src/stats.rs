//! Latencies as distributions.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::number::{figure, millis, nanos};

/// Latencies of one kind, from a nanosecond to an hour with three digits.
///
/// Where requests are due at a rate and each waits for the one before (a probe), a long answer hides those that would
/// have been asked meanwhile: *coordinated omission*. At a [rate](Self::at_rate) those are filled in, each as long as it
/// would have waited for the same answer.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    samples: u64,
    interval: Option<Duration>,
}

impl Latencies {
    /// Of requests that follow each other without a rate.
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        reason = "the bounds are constants that the histogram takes"
    )]
    pub fn new() -> Self {
        Self {
            histogram: Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("valid bounds"),
            samples: 0,
            interval: None,
        }
    }

    /// Of requests of which one is due each `interval`.
    pub fn at_rate(interval: Duration) -> Self {
        Self {
            interval: Some(interval),
            ..Self::new()
        }
    }

    /// One measured latency.
    pub fn record(&mut self, took: Duration) {
        self.samples += 1;
        let value = nanos(took).clamp(1, LONGEST_NS);
        let filled = match self.interval {
            Some(interval) => self.histogram.record_correct(value, nanos(interval)),
            None => self.histogram.record(value),
        };
        // Nothing within the bounds can fail; if it did, the sample would still count.
        if filled.is_err() {
            self.histogram.saturating_record(value);
        }
    }

    /// Adds what another one has measured.
    pub fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        if self.histogram.add(&other.histogram).is_err() {
            self.samples -= other.samples;
        }
    }

    /// How many were measured.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What there is to say of them; nothing of none.
    pub fn summary(&self) -> Option<Summary> {
        if self.samples == 0 {
            return None;
        }
        let at = |quantile: f64| to_millis(self.histogram.value_at_quantile(quantile));
        Some(Summary {
            samples: self.samples,
            filled_in: self.histogram.len().saturating_sub(self.samples),
            mean_ms: self.histogram.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: to_millis(self.histogram.max()),
            curve: self.curve(),
        })
    }

    /// Points (quantile, milliseconds), ever closer towards the end of the distribution.
    fn curve(&self) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for value in self.histogram.iter_quantiles(STEPS_EACH_HALF) {
            points.push((value.quantile(), to_millis(value.value_iterated_to())));
        }
        points
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A distribution in some figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many were measured.
    pub samples: u64,
    /// How many more are counted, against coordinated omission.
    pub filled_in: u64,
    /// The mean, in milliseconds, as all of these.
    pub mean_ms: f64,
    /// Half are at most this.
    pub p50_ms: f64,
    /// Of ten, nine.
    pub p90_ms: f64,
    /// Of a hundred, 99.
    pub p99_ms: f64,
    /// Of a thousand, 999.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Points (quantile, milliseconds) of the whole distribution.
    pub curve: Vec<(f64, f64)>,
}

fn to_millis(nanos: u64) -> f64 {
    figure(nanos) / 1e6
}

/// The middle of some rounds of the same thing, and how far they lie apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rounds {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// How many rounds.
    pub rounds: usize,
}

impl Rounds {
    /// Of some figures; nothing of none.
    pub fn of(figures: Vec<f64>) -> Option<Self> {
        let fold = |pick: fn(f64, f64) -> f64| figures.iter().copied().reduce(pick);
        let (least, most, rounds) = (fold(f64::min)?, fold(f64::max)?, figures.len());
        Some(Self {
            median: crate::number::median(figures)?,
            least,
            most,
            rounds,
        })
    }

    /// Of durations, in seconds.
    pub fn of_seconds(took: &[Duration]) -> Option<Self> {
        Self::of(took.iter().map(Duration::as_secs_f64).collect())
    }

    /// Of durations, in milliseconds.
    pub fn of_millis(took: &[Duration]) -> Option<Self> {
        Self::of(took.iter().copied().map(millis).collect())
    }
}

const LONGEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;
const STEPS_EACH_HALF: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_latencies() {
        let mut latencies = Latencies::new();
        for n in 1..=1000 {
            latencies.record(Duration::from_micros(n));
        }
        let summary = latencies.summary().unwrap();
        assert_eq!((summary.samples, summary.filled_in), (1000, 0));
        for (found, expected) in [
            (summary.p50_ms, 0.5),
            (summary.p99_ms, 0.99),
            (summary.p999_ms, 0.999),
            (summary.max_ms, 1.0),
            (summary.mean_ms, 0.5005),
        ] {
            assert!(
                (found - expected).abs() < expected * 0.002,
                "{found} {expected}"
            );
        }
        assert!(summary.curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
    }

    #[test]
    fn at_a_rate_what_was_not_asked_counts_too() {
        let mut latencies = Latencies::at_rate(Duration::from_millis(10));
        for _ in 0..99 {
            latencies.record(Duration::from_millis(1));
        }
        latencies.record(Duration::from_secs(1));
        let summary = latencies.summary().unwrap();
        // 990, 980, … 10 ms would have been measured meanwhile.
        assert_eq!((summary.samples, summary.filled_in), (100, 99));
        assert!(
            summary.p50_ms < 15.0 && summary.p90_ms > 700.0,
            "{summary:?}"
        );
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(Latencies::new().summary(), None);
        assert_eq!(Rounds::of(vec![]), None);
    }

    #[test]
    fn longer_than_an_hour_is_an_hour() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_hours(2));
        assert!((latencies.summary().unwrap().max_ms - 3_600_000.0).abs() < 4000.0);
    }

    #[test]
    fn rounds_have_a_middle_and_ends() {
        let rounds = Rounds::of_seconds(&[3, 1, 2].map(Duration::from_secs)).unwrap();
        let expected = Rounds {
            median: 2.0,
            least: 1.0,
            most: 3.0,
            rounds: 3,
        };
        assert_eq!(rounds, expected);
    }
}
