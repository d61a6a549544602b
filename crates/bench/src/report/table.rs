//! Tables for a terminal.

use std::fmt::Write as _;

use crate::report::goals;
use crate::result::{Figure, Outcome, Row, Unit, Value};
use crate::stats::Summary;

/// A row as a table: a line for each figure, a column for each server, and how those after the first and the machine's
/// limit compare.
pub fn table(row: &Row) -> String {
    let lines = lines(row);
    let mut out = format!(
        "\n{} ({}), load average {}\n",
        row.title, row.name, row.load_average
    );
    let servers: Vec<&str> = row.servers.iter().map(|(name, _)| name.as_str()).collect();
    let width = lines
        .iter()
        .map(|line| line.label.chars().count())
        .max()
        .unwrap_or_default()
        .clamp(20, 70);
    let mut header = format!("{:width$}", "");
    for name in &servers {
        write!(header, "  {name:>16}").unwrap_or_default();
    }
    for name in servers.iter().skip(1) {
        write!(header, "  {:>14}", format!("{name} is")).unwrap_or_default();
    }
    if lines.iter().any(|line| line.limit.is_some()) {
        write!(header, "  {:>12} {:>9}", "limit", "of it").unwrap_or_default();
    }
    out.push_str(header.trim_end());
    out.push('\n');
    for line in &lines {
        out.push_str(&line.write(width));
        out.push('\n');
    }
    for (name, outcome) in &row.servers {
        match outcome {
            Outcome::Failed(why) => writeln!(out, "{name}: {why}").unwrap_or_default(),
            Outcome::Figures(found) => out.push_str(&explained(name, found)),
        }
    }
    out
}

/// Reasons that are too long for a cell.
fn explained(name: &str, found: &[Figure]) -> String {
    let mut out = String::new();
    for figure in found {
        if let Value::Absent(why) = &figure.value
            && is_long(why)
        {
            writeln!(out, "{name}: {}: {why}", figure.label).unwrap_or_default();
        }
    }
    out
}

fn is_long(why: &str) -> bool {
    why.chars().count() > CELL_WIDTH
}

struct Line {
    label: String,
    cells: Vec<Option<Cell>>,
    limit: Option<f64>,
    goal: Option<goals::Bound>,
}

#[derive(Clone)]
struct Cell {
    text: String,
    value: Option<f64>,
    more_is_better: bool,
}

/// The figures of all servers by their keys, in the order in which they first come.
fn lines(row: &Row) -> Vec<Line> {
    let mut keys: Vec<(&str, &Figure)> = Vec::new();
    for (_, outcome) in &row.servers {
        for figure in figures(outcome) {
            if !keys.iter().any(|(key, _)| *key == figure.key) {
                keys.push((&figure.key, figure));
            }
        }
    }
    let mut lines = Vec::new();
    for (key, first) in keys {
        let of_servers: Vec<Option<&Figure>> = row
            .servers
            .iter()
            .map(|(_, outcome)| figures(outcome).iter().find(|figure| figure.key == key))
            .collect();
        let latency = of_servers
            .iter()
            .flatten()
            .any(|found| matches!(found.value, Value::Latency(_)));
        let quantiles: &[&'static str] = if latency { &QUANTILES } else { &[""] };
        for quantile in quantiles {
            lines.push(Line {
                label: if quantile.is_empty() {
                    first.label.clone()
                } else {
                    format!("{}, {quantile}", first.label)
                },
                cells: of_servers
                    .iter()
                    .map(|found| found.and_then(|found| cell(found, quantile)))
                    .collect(),
                limit: of_servers
                    .iter()
                    .flatten()
                    .find_map(|found| found.limit)
                    .filter(|_| quantile.is_empty() || *quantile == "p50"),
                goal: goals::bound(row.name, key, quantile),
            });
        }
    }
    lines
}

fn figures(outcome: &Outcome) -> &[Figure] {
    match outcome {
        Outcome::Figures(figures) => figures,
        Outcome::Failed(_) => &[],
    }
}

fn cell(figure: &Figure, quantile: &str) -> Option<Cell> {
    match &figure.value {
        Value::Number { unit, rounds } => {
            let several = if rounds.rounds > 1 {
                format!(" ×{}", rounds.rounds)
            } else {
                String::new()
            };
            let is_compared = *unit != Unit::Count;
            Some(Cell {
                text: format!("{} {}{several}", number(rounds.median), unit.sign())
                    .trim_end()
                    .to_owned(),
                value: is_compared.then_some(rounds.median),
                more_is_better: unit.more_is_better(),
            })
        }
        Value::Latency(summary) => of_latency(summary, quantile),
        Value::Absent(why) => (quantile.is_empty() || quantile == "p50").then(|| Cell {
            text: if is_long(why) {
                "see below".to_owned()
            } else {
                why.clone()
            },
            value: None,
            more_is_better: false,
        }),
    }
}

fn of_latency(summary: &Summary, quantile: &str) -> Option<Cell> {
    let value = match quantile {
        "p50" => summary.p50_ms,
        "p99" => summary.p99_ms,
        "p99.9" => summary.p999_ms,
        "max" => summary.max_ms,
        "samples" => {
            let text = summary.samples.to_string();
            return Some(Cell {
                text,
                value: None,
                more_is_better: false,
            });
        }
        _ => return None,
    };
    Some(Cell {
        text: format!("{} ms", number(value)),
        value: Some(value),
        more_is_better: false,
    })
}

impl Line {
    /// What is held against limits and goals: the second server, which is compared with the first; or the only one.
    fn judged(&self) -> Option<&Cell> {
        self.cells.get(1).or_else(|| self.cells.first())?.as_ref()
    }

    fn write(&self, width: usize) -> String {
        let mut out = format!("{:width$}", self.label);
        for cell in &self.cells {
            let text = cell.as_ref().map_or("-", |cell| cell.text.as_str());
            write!(out, "  {text:>16}").unwrap_or_default();
        }
        let first = self.cells.first().cloned().flatten();
        for cell in self.cells.iter().skip(1) {
            let text = first
                .as_ref()
                .zip(cell.as_ref())
                .and_then(|(first, cell)| times_better(first, cell));
            write!(out, "  {:>14}", text.unwrap_or_default()).unwrap_or_default();
        }
        if let Some(limit) = self.limit {
            let share = self
                .judged()
                .and_then(|cell| Some((cell.value?, cell.more_is_better)));
            let text = share
                .map(|(value, more)| of_limit(value, limit, more))
                .unwrap_or_default();
            write!(out, "  {:>12} {text:>9}", number(limit)).unwrap_or_default();
        }
        if let Some(goal) = self.goal {
            let met = self
                .judged()
                .and_then(|cell| cell.value)
                .map(|value| goal.is_met(value));
            let (side, bound) = match goal {
                goals::Bound::AtLeast(bound) => ("≥", bound),
                goals::Bound::AtMost(bound) => ("≤", bound),
            };
            let word = match met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "not known",
            };
            write!(out, "  goal {side} {}: {word}", number(bound)).unwrap_or_default();
        }
        out.trim_end().to_owned()
    }
}

/// How many times better the second is.
fn times_better(first: &Cell, other: &Cell) -> Option<String> {
    let (first_value, value) = (first.value?, other.value?);
    if first_value <= 0.0 || value <= 0.0 {
        return None;
    }
    let ratio = if first.more_is_better {
        value / first_value
    } else {
        first_value / value
    };
    Some(if ratio >= 1.0 {
        format!("{} × better", number(ratio))
    } else {
        format!("{} × worse", number(1.0 / ratio))
    })
}

/// A share of a rate, or how many times a duration.
fn of_limit(value: f64, limit: f64, more_is_better: bool) -> String {
    if limit <= 0.0 {
        String::new()
    } else if more_is_better {
        format!("{:.0} %", 100.0 * value / limit)
    } else {
        format!("{:.1} ×", value / limit)
    }
}

/// A number with three digits that say something, and spaces between thousands.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 {
        return text;
    }
    let mut out = String::new();
    let length = text.len();
    for (at, digit) in text.chars().enumerate() {
        if at > 0
            && (length - at).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !out.ends_with('-')
        {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

const CELL_WIDTH: usize = 16;
const QUANTILES: [&str; 5] = ["p50", "p99", "p99.9", "max", "samples"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latencies;
    use std::time::Duration;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0512, "0.051"),
            (1.5, "1.50"),
            (12.34, "12.3"),
            (123.4, "123"),
            (2_999_999.6, "3 000 000"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_table_compares_servers_limits_and_goals() {
        let rate =
            |value| Figure::one("load", "ACTIVATE", Unit::PerSecond, value).beside(Some(400_000.0));
        let row = Row {
            name: "load",
            title: "load",
            load_average: "0 0 0".into(),
            servers: vec![
                ("cyrus".into(), Outcome::Figures(vec![rate(2500.0)])),
                ("ours".into(), Outcome::Figures(vec![rate(200_000.0)])),
            ],
            took_s: vec![],
        };
        let text = table(&row);
        for part in [
            "2 500 /s",
            "200 000 /s",
            "80.0 × better",
            "400 000      50 %",
            "goal ≥ 100 000: met",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn latencies_stand_beside_failures() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_millis(3));
        let figure = Figure::latency("noop", "NOOP", &latencies).unwrap();
        let row = Row {
            name: "under-load",
            title: "t",
            load_average: String::new(),
            servers: vec![
                (
                    "cyrus".into(),
                    Outcome::Failed("did not end within 9 s".into()),
                ),
                ("ours".into(), Outcome::Figures(vec![figure])),
            ],
            took_s: vec![],
        };
        let text = table(&row);
        assert!(text.contains("cyrus: did not end within 9 s"), "{text}");
        assert!(
            text.contains("NOOP, max") && text.contains("goal ≤ 100: met"),
            "{text}"
        );
        assert!(
            text.lines()
                .any(|line| line.starts_with("NOOP, samples") && line.ends_with(" 1")),
            "{text}"
        );
    }
}
