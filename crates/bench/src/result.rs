//! What a row has found, as it is shown and written.

use serde::Serialize;

use crate::stats::{Latencies, Rounds, Summary};

/// One figure, or one distribution, of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is called in JSON.
    pub key: String,
    /// What it is, in words.
    pub label: String,
    /// What was found.
    pub value: Value,
    /// The same of this machine without a server, where there is such a thing: for a distribution its p50.
    pub limit: Option<f64>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A number, the median where there are several rounds.
    Number {
        /// Of what.
        unit: Unit,
        /// The rounds.
        rounds: Rounds,
    },
    /// Latencies.
    Latency(Summary),
    /// Nothing, and why.
    Absent(String),
}

/// Units, which say whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// So many a second: more is better.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Octets.
    Bytes,
    /// A count of which more is better.
    Reached,
    /// A count that says how much was measured.
    Count,
}

impl Unit {
    /// How it is written behind a number.
    pub fn sign(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Bytes => "B",
            Self::Reached | Self::Count => "",
        }
    }

    /// Whether more is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::Reached)
    }
}

impl Figure {
    /// A number found once.
    pub fn one(key: &str, label: &str, unit: Unit, value: f64) -> Self {
        let rounds = Rounds {
            median: value,
            least: value,
            most: value,
            rounds: 1,
        };
        Self::new(key, label, Value::Number { unit, rounds })
    }

    /// A number found in some rounds; nothing without any.
    pub fn rounds(key: &str, label: &str, unit: Unit, values: Vec<f64>) -> Option<Self> {
        let rounds = Rounds::of(values)?;
        Some(Self::new(key, label, Value::Number { unit, rounds }))
    }

    /// A distribution; nothing without samples.
    pub fn latency(key: &str, label: &str, latencies: &Latencies) -> Option<Self> {
        Some(Self::new(key, label, Value::Latency(latencies.summary()?)))
    }

    /// Something that this server does not do.
    pub fn absent(key: &str, label: &str, why: impl Into<String>) -> Self {
        Self::new(key, label, Value::Absent(why.into()))
    }

    /// Beside the machine's limit.
    #[must_use]
    pub fn beside(mut self, limit: Option<f64>) -> Self {
        self.limit = limit;
        self
    }

    fn new(key: &str, label: &str, value: Value) -> Self {
        Self {
            key: key.to_owned(),
            label: label.to_owned(),
            value,
            limit: None,
        }
    }
}

/// What came of a row with one server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its figures.
    Figures(Vec<Figure>),
    /// Why there are none.
    Failed(String),
}

/// A row with all servers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Load averages before it began.
    pub load_average: String,
    /// What came of it, by server, in the order of the command line.
    pub servers: Vec<(String, Outcome)>,
    /// How long it took with each, in seconds.
    pub took_s: Vec<f64>,
}
