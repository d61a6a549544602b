//! The transcripts of the real Cyrus 3.6.1 server, replayed.
//!
//! `MUPDATE_UNDER_TEST=cyrus` replays them against Cyrus itself, which shows that the replay is right; without it they
//! are replayed against our master, with the differences below.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::account::Account;
use mupdate_tests::certificates::Certificates;
use mupdate_tests::cyrus::ADMIN;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::programs::package_file;
use mupdate_tests::replay::{Difference, Masks, replay, with_differences};
use mupdate_tests::scratch::Scratch;
use mupdate_tests::transcript;

#[test]
fn t01_banner() -> Result<()> {
    plain("01")
}

#[test]
fn t02_auth_plain() -> Result<()> {
    plain("02")
}

#[test]
fn t03_auth_errors() -> Result<()> {
    plain("03")
}

#[test]
fn t04_auth_scram() -> Result<()> {
    plain("04")
}

#[test]
fn t05_before_login() -> Result<()> {
    plain("05")
}

#[test]
fn t06_transitions_standard() -> Result<()> {
    plain("06")
}

#[test]
fn t09_find_list() -> Result<()> {
    plain("09")
}

#[test]
fn t10_arguments() -> Result<()> {
    plain("10")
}

#[test]
fn t11_lines() -> Result<()> {
    plain("11")
}

#[test]
fn t12_strings() -> Result<()> {
    plain("12")
}

#[test]
fn t15_starttls() -> Result<()> {
    run("15", "PLAIN SCRAM-SHA-1 SCRAM-SHA-256", true, &[])
}

#[test]
fn t15b_starttls_external() -> Result<()> {
    run("15b", "PLAIN SCRAM-SHA-1 SCRAM-SHA-256 EXTERNAL", true, &[])
}

#[test]
fn t16_starttls_off() -> Result<()> {
    run("16", "PLAIN SCRAM-SHA-1 SCRAM-SHA-256", false, &[])
}

#[test]
fn t17_compress() -> Result<()> {
    plain("17")
}

#[test]
fn t18_update() -> Result<()> {
    plain("18")
}

#[test]
fn t19_update_batching() -> Result<()> {
    plain("19")
}

#[test]
fn t20_update_partial() -> Result<()> {
    plain("20")
}

#[test]
fn t22_transitions_replicated() -> Result<()> {
    // The option is only read where a server is named, on a master too.
    run(
        "22",
        "PLAIN",
        false,
        &[
            ("mupdate_config", "replicated"),
            ("mupdate_server", "127.0.0.1"),
        ],
    )
}

#[test]
fn t24_half_close() -> Result<()> {
    plain("24")
}

/// Every difference is explained where operators look for it.
#[test]
fn differences_are_documented() -> Result<()> {
    let page = std::fs::read_to_string(package_file("../docs/cyrus-behaviour.md"))?;
    for (number, difference) in OURS {
        let heading = format!("### `{}`", difference.reason);
        ensure!(
            page.lines().any(|line| line == heading),
            "{number}: no {heading} in docs/cyrus-behaviour.md"
        );
    }
    Ok(())
}

/// Most transcripts were recorded from a server with a certificate.
fn plain(number: &str) -> Result<()> {
    run(number, "PLAIN SCRAM-SHA-1 SCRAM-SHA-256", true, &[])
}

fn run(number: &str, mechanisms: &str, tls: bool, options: &[(&str, &str)]) -> Result<()> {
    let program = Program::under_test()?;
    let scratch = Scratch::new()?;
    let mut options = options.to_vec();
    options.push(("sasl_mech_list", mechanisms));
    let certificates = if tls {
        Some(Certificates::make(scratch.path(), ADMIN)?)
    } else {
        None
    };
    let files = certificates
        .as_ref()
        .map(|made| ["server.pem", "server.key", "ca.pem"].map(|name| made.file(name)));
    let files = files.map(|files| files.map(|file| file.display().to_string()));
    if let Some([certificate, key, authority]) = &files {
        options.push(("tls_server_cert", certificate));
        options.push(("tls_server_key", key));
        options.push(("tls_client_ca_file", authority));
    }
    Account::of_cyrus()?.give(scratch.path())?;
    let master = Master::start(program, &options)?;

    let masks = Masks {
        mechanisms: mechanisms.split(' ').map(str::to_owned).collect(),
    };
    let mut steps = transcript::load(number)?;
    if program == Program::Ours {
        let differences = OURS
            .iter()
            .filter(|(other, _)| *other == number)
            .map(|(_, difference)| *difference);
        steps = with_differences(steps, &differences.collect::<Vec<_>>())?;
    }
    replay(&master, steps, &masks, certificates.as_ref()).with_context(|| {
        format!(
            "transcript {number}; log of the master:\n{}",
            master.log_tail()
        )
    })
}

/// What our master answers otherwise on purpose, by transcript.
const OURS: &[(&str, Difference)] = &[];
