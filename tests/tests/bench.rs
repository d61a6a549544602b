//! `mupdate-bench` measures real servers, with small numbers: every row has figures, and nothing is left behind.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{ADMIN, PASSWORD};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::programs::run;
use mupdate_tests::scratch::Scratch;
use serde_json::Value;

/// What a run has said and written.
struct Ran {
    status: Option<i32>,
    shown: String,
    said: String,
    report: Value,
    scratch: Scratch,
}

#[test]
fn every_row_of_both_masters_has_figures() -> Result<()> {
    let (cyrus, ours) = (
        Master::start(Program::Cyrus, &[])?,
        Master::start(Program::Ours, &[])?,
    );
    // Others' mailboxes stay.
    for master in [&cyrus, &ours] {
        master
            .logged_in()?
            .ok(r#"ACTIVATE "user.amy" "be1!p1" """#)?;
    }
    let ran = measure(
        &[("cyrus", &cyrus), ("ours", &ours)],
        &["--mailboxes", "400", "--samples", "3"],
    )?;
    ensure!(
        ran.status == Some(0),
        "{:?}: {}{}",
        ran.status,
        ran.said,
        ran.shown
    );
    let rows = ran.report["rows"].as_array().context("no rows")?;
    ensure!(rows.len() == 15, "{} rows", rows.len());
    for row in rows {
        for server in row["servers"].as_array().context("no servers")? {
            let figures = server[1]["figures"].as_array().map_or(0, Vec::len);
            ensure!(figures > 0, "{}: nothing of {}", row["name"], server[0]);
        }
    }
    for part in [
        "× better",
        "NOOP of a synced slave with changes waiting, p99.9",
        "streaming sessions at once",
    ] {
        ensure!(ran.shown.contains(part), "no {part:?} in {}", ran.shown);
    }
    for chart in ["rates.svg", "seconds.svg", "under-load-noop.svg"] {
        let text = fs::read_to_string(ran.scratch.join("charts").join(chart)).context(chart)?;
        ensure!(
            text.contains("cyrus") && text.contains("ours"),
            "{chart} does not name both"
        );
    }
    for master in [&cyrus, &ours] {
        let left = master.logged_in()?.listing("LIST")?;
        ensure!(left.0.len() == 1, "{left:?}\n{}", ran.said);
    }
    Ok(())
}

#[test]
fn a_list_that_was_kept_is_used_and_removed() -> Result<()> {
    let ours = Master::start(Program::Ours, &[])?;
    let kept = measure(
        &[("ours", &ours)],
        &["--mailboxes", "300", "--only", "load", "--keep"],
    )?;
    ensure!(kept.status == Some(0), "{}", kept.said);
    ensure!(
        ours.logged_in()?.listing("LIST")?.0.len() == 300,
        "not kept"
    );
    let used = measure(
        &[("ours", &ours)],
        &["--mailboxes", "300", "--only", "dump"],
    )?;
    ensure!(used.said.contains("300 mailboxes removed"), "{}", used.said);
    ensure!(
        ours.logged_in()?.listing("LIST")?.0.is_empty(),
        "not removed"
    );
    Ok(())
}

#[test]
fn what_a_server_refuses_is_told_in_its_row() -> Result<()> {
    let mut ours = Master::start(Program::Ours, &[("mupdate_connections_max", "3")])?;
    let ran = measure(
        &[("ours", &ours)],
        &["--mailboxes", "20", "--only", "load,sessions"],
    )?;
    ensure!(
        ran.status == Some(1) || ran.shown.contains("no more:"),
        "{}{}",
        ran.said,
        ran.shown
    );
    ensure!(ours.is_running(), "{}", ours.log_tail());
    Ok(())
}

fn measure(masters: &[(&str, &Master)], more: &[&str]) -> Result<Ran> {
    let scratch = Scratch::new()?;
    let place = |name: &str| scratch.join(name).display().to_string();
    let (password, json, charts) = (place("password"), place("run.json"), place("charts"));
    fs::write(&password, PASSWORD)?;
    let directory = scratch.path().display().to_string();
    let mut arguments = vec![
        "--user",
        ADMIN,
        "--password-file",
        &password,
        "--directory",
        &directory,
    ];
    arguments.extend([
        "--json",
        &json,
        "--svg",
        &charts,
        "--row-minutes",
        "1",
        "--rounds",
        "2",
        "--slaves",
        "2",
    ]);
    arguments.extend([
        "--burst",
        "3",
        "--sessions",
        "12",
        "--edits",
        "100",
        "--connections",
        "2",
        "--window",
        "20",
    ]);
    let mut servers = Vec::new();
    for (name, master) in masters {
        servers.push(format!(
            "{name}=127.0.0.1:{}:{}",
            master.port(),
            master.id()?
        ));
    }
    for server in &servers {
        arguments.extend(["--server", server]);
    }
    arguments.extend(more);
    let (status, shown, said) = run("mupdate-bench", &arguments, "")?;
    let report = fs::read(&json).with_context(|| format!("no report: {said}"))?;
    let report = serde_json::from_slice(&report)?;
    Ok(Ran {
        status,
        shown,
        said,
        report,
        scratch,
    })
}
