//! Charts, as SVG: bars of what has one figure, and the whole distribution of what has latencies.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::error::Error;
use crate::number::{count, figure};
use crate::report::Report;
use crate::report::table::number;
use crate::result::{Figure, Outcome, Row, Unit, Value};
use crate::rows::Scenario;
use crate::stats::Summary;

/// Draws what there is to be seen into `directory`, which is made; the files.
pub fn draw(report: &Report, directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause| Error::File {
        path: directory.to_owned(),
        cause,
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let mut files = Vec::new();
    for (unit, name, title) in [
        (
            Unit::PerSecond,
            "rates",
            "So many a second (more is better)",
        ),
        (Unit::Seconds, "seconds", "Seconds (less is better)"),
    ] {
        let groups = groups(&report.rows, unit);
        if !groups.is_empty() {
            let path = directory.join(format!("{name}.svg"));
            drawn(&path, bars(&path, title, unit, &groups))?;
            files.push(path);
        }
    }
    for row in &report.rows {
        for (key, label, lines) in distributions(row) {
            let path = directory.join(format!("{}-{key}.svg", row.name));
            drawn(
                &path,
                curves(&path, &format!("{}: {label}", row.title), &lines),
            )?;
            files.push(path);
        }
    }
    Ok(files)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn drawn(path: &Path, result: Drawn) -> Result<(), Error> {
    result.map_err(|cause| Error::Chart {
        path: path.to_owned(),
        why: cause.to_string(),
    })
}

/// Bars that belong together: one figure of several servers.
struct Group {
    label: String,
    bars: Vec<(usize, String, f64)>,
    limit: Option<f64>,
}

/// A distribution of one server.
struct Line<'a> {
    server: usize,
    name: &'a str,
    summary: &'a Summary,
}

fn groups(rows: &[Row], wanted: Unit) -> Vec<Group> {
    let mut groups: Vec<(String, Group)> = Vec::new();
    for row in rows {
        for (server, name, found) in figures(row) {
            let Value::Number { unit, rounds } = &found.value else {
                continue;
            };
            if *unit != wanted || rounds.median <= 0.0 || is_aside(row, found) {
                continue;
            }
            let key = format!("{}/{}", row.name, found.key);
            if !groups.iter().any(|(known, _)| *known == key) {
                let label = found.label.clone();
                groups.push((
                    key.clone(),
                    Group {
                        label,
                        bars: Vec::new(),
                        limit: found.limit,
                    },
                ));
            }
            if let Some((_, group)) = groups.iter_mut().find(|(known, _)| *known == key) {
                group.bars.push((server, name.to_owned(), rounds.median));
            }
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Limits are marks beside what they limit; processor time and what went on meanwhile are for the table.
fn is_aside(row: &Row, found: &Figure) -> bool {
    row.name == Scenario::Limits.name()
        || ["cpu", "dumps_per_s", "edits_per_s", "delete"]
            .iter()
            .any(|part| found.key.contains(part))
}

fn distributions(row: &Row) -> Vec<(String, String, Vec<Line<'_>>)> {
    let mut all: Vec<(String, String, Vec<Line<'_>>)> = Vec::new();
    for (server, name, found) in figures(row) {
        let Value::Latency(summary) = &found.value else {
            continue;
        };
        let line = Line {
            server,
            name,
            summary,
        };
        match all.iter_mut().find(|(key, ..)| *key == found.key) {
            Some((_, _, lines)) => lines.push(line),
            None => all.push((found.key.clone(), found.label.clone(), vec![line])),
        }
    }
    all
}

fn figures(row: &Row) -> impl Iterator<Item = (usize, &str, &Figure)> {
    row.servers
        .iter()
        .enumerate()
        .flat_map(|(server, (name, outcome))| {
            let found: &[Figure] = match outcome {
                Outcome::Figures(found) => found,
                Outcome::Failed(_) => &[],
            };
            found
                .iter()
                .map(move |figure| (server, name.as_str(), figure))
        })
}

fn bars(path: &Path, title: &str, unit: Unit, groups: &[Group]) -> Drawn {
    let lines: usize = groups.iter().map(|group| group.bars.len() + 1).sum();
    let height = u32::try_from(lines)?.saturating_mul(LINE_PIXELS) + MARGIN_PIXELS;
    let root = area(path, height)?;
    let values = groups.iter().flat_map(|group| {
        group
            .bars
            .iter()
            .map(|(.., value)| *value)
            .chain(group.limit)
    });
    let (least, most) = ends(values);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 17))
        .margin(14)
        .x_label_area_size(28)
        .build_cartesian_2d(
            (least / 3.0..most * 6.0).log_scale(),
            0.0..figure(count(lines)),
        )?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|x| number(*x))
        .draw()?;
    let mut at = figure(count(lines));
    for group in groups {
        at -= 1.0;
        let label = Text::new(
            group.label.clone(),
            (least / 2.9, at + 0.75),
            ("sans-serif", 13).into_font(),
        );
        chart.draw_series([label])?;
        let top = at;
        for (server, name, value) in &group.bars {
            at -= 1.0;
            let bar = Rectangle::new(
                [(least / 3.0, at + 0.1), (*value, at + 0.9)],
                colour(*server).filled(),
            );
            chart.draw_series([bar])?;
            let text = format!(" {name} {} {}", number(*value), unit.sign());
            chart.draw_series([Text::new(
                text,
                (*value, at + 0.75),
                ("sans-serif", 12).into_font(),
            )])?;
        }
        if let Some(limit) = group.limit {
            let mark = PathElement::new([(limit, at), (limit, top)], LIMIT.stroke_width(2));
            chart.draw_series([mark])?;
        }
    }
    root.present()?;
    Ok(())
}

/// Milliseconds over quantiles, both so that the ends can be seen.
fn curves(path: &Path, title: &str, lines: &[Line<'_>]) -> Drawn {
    let root = area(path, CURVE_PIXELS)?;
    let (least, most) = ends(
        lines
            .iter()
            .flat_map(|line| line.summary.curve.iter().map(|(_, ms)| *ms)),
    );
    let rarest = lines
        .iter()
        .map(|line| all(line.summary))
        .fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(14)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (1.0..rarest).log_scale(),
            (least / 1.5..most * 1.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|one_in| quantile(*one_in))
        .y_label_formatter(&|ms| format!("{} ms", number(*ms)))
        .draw()?;
    for line in lines {
        let (colour, most) = (colour(line.server), all(line.summary));
        let points = line
            .summary
            .curve
            .iter()
            .map(|(at, ms)| ((1.0 / (1.0 - at).max(1e-9)).min(most), *ms));
        let label = format!("{} ({} samples)", line.name, line.summary.samples);
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    root.present()?;
    Ok(())
}

fn area(path: &Path, height: u32) -> Result<Area<'_>, Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (WIDTH_PIXELS, height)).into_drawing_area();
    root.fill(&WHITE)?;
    Ok(root)
}

/// How many requests a distribution is of.
fn all(summary: &Summary) -> f64 {
    figure(summary.samples + summary.filled_in)
}

/// Least and most, never zero.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values.fold((f64::MAX, TINY), |(least, most), value| {
        (least.min(value.max(TINY)), most.max(value))
    });
    (least.min(most), most)
}

/// One in 100 is slower than 99 %.
fn quantile(one_in: f64) -> String {
    let text = format!("{:.4}", 100.0 - 100.0 / one_in);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn colour(server: usize) -> RGBColor {
    COLOURS
        .get(server % COLOURS.len())
        .copied()
        .unwrap_or(BLACK)
}

const COLOURS: [RGBColor; 4] = [
    RGBColor(122, 130, 139),
    RGBColor(20, 110, 170),
    RGBColor(214, 126, 44),
    RGBColor(62, 142, 92),
];
const LIMIT: RGBColor = RGBColor(180, 40, 40);
const WIDTH_PIXELS: u32 = 900;
const CURVE_PIXELS: u32 = 380;
const LINE_PIXELS: u32 = 19;
const MARGIN_PIXELS: u32 = 90;
const TINY: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Plan;
    use crate::stats::Latencies;
    use std::time::Duration;

    fn report() -> Report {
        let mut latencies = Latencies::new();
        for n in 1..2000 {
            latencies.record(Duration::from_micros(n));
        }
        let figures = |rate| {
            Outcome::Figures(vec![
                Figure::one("load", "ACTIVATE & more", Unit::PerSecond, rate).beside(Some(1e5)),
                Figure::latency("noop", "NOOP", &latencies).unwrap(),
            ])
        };
        let row = Row {
            name: "load",
            title: "load",
            load_average: String::new(),
            servers: vec![
                ("cyrus".into(), figures(2500.0)),
                ("ours".into(), figures(2e5)),
            ],
            took_s: vec![1.0, 1.0],
        };
        let plan = Plan {
            mailboxes: 10,
            connections: 1,
            window: 1,
            slaves: 1,
            samples: 1,
            rounds: 1,
            row_time: Duration::ZERO,
            probe_interval: Duration::ZERO,
            edits_per_second: 1,
            burst: 1,
            sessions: 1,
            session_edits_per_second: 1,
            directory: PathBuf::new(),
        };
        Report::new(plan, vec![row])
    }

    #[test]
    fn charts_name_servers_and_figures() {
        let directory = tempfile::tempdir().unwrap();
        let files = draw(&report(), directory.path()).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["rates.svg", "load-noop.svg"]);
        let text = |at: usize| std::fs::read_to_string(&files[at]).unwrap();
        for part in [
            "<svg",
            "ACTIVATE &amp; more",
            "cyrus 2 500 /s",
            "ours 200 000 /s",
            "</svg>",
        ] {
            assert!(text(0).contains(part), "no {part:?} in {}", text(0));
        }
        for part in ["load: NOOP", "99.9 %", "ours (1999 samples)"] {
            assert!(text(1).contains(part), "no {part:?} in {}", text(1));
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = draw(&report(), &file.join("charts")).unwrap_err();
        assert!(error.to_string().contains("charts"), "{error}");
    }

    #[test]
    fn json_holds_what_was_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        report().write(&path).unwrap();
        let read: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let figures = &read["rows"][0]["servers"][1][1]["figures"];
        assert_eq!(figures[0]["value"]["number"]["rounds"]["median"], 200_000.0);
        assert_eq!(figures[1]["value"]["latency"]["samples"], 1999);
    }
}
