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
use mupdate_tests::replay::{
    Difference, Masks, replay, with_differences, with_offer_of_resync, with_survivor,
};
use mupdate_tests::scratch::Scratch;
use mupdate_tests::transcript::{self, Step};

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

/// Where the process of Cyrus ends, ours answers, and serves everybody else meanwhile.
#[test]
fn t07_delete_of_nothing() -> Result<()> {
    survives("07", &[])
}

#[test]
fn t08_deactivate_of_nothing() -> Result<()> {
    survives("08", &[])
}

#[test]
fn t08b_deactivate_of_a_reservation() -> Result<()> {
    survives("08b", &[])
}

#[test]
fn t14_oversize() -> Result<()> {
    survives("14", &[])
}

#[test]
fn t22b_replicated() -> Result<()> {
    survives("22b", &REPLICATED)
}

#[test]
fn t25_end_of_contents() -> Result<()> {
    survives("25", &[])
}

#[test]
fn t26_literal_limit() -> Result<()> {
    survives("26", &[])
}

/// Every difference is explained where operators look for it.
#[test]
fn differences_are_documented() -> Result<()> {
    let page = std::fs::read_to_string(package_file("../docs/cyrus-behaviour.md"))?;
    for (number, difference) in OURS.iter().chain(WHERE_CYRUS_ENDS) {
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
    options.extend([("sasl_mech_list", mechanisms), ("failedloginpause", "0s")]);
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
        steps = with_offer_of_resync(steps);
    }
    replay(&master, steps, &masks, certificates.as_ref()).with_context(|| {
        format!(
            "transcript {number}; log of the master:\n{}",
            master.log_tail()
        )
    })
}

/// There is nothing to compare with: what ours answers is in the table, all of it.
fn survives(number: &str, options: &[(&str, &str)]) -> Result<()> {
    let mut master = Master::start(Program::Ours, options)?;
    let mut steps = transcript::load(number)?;
    if number == "25" {
        // Before that, but for the log-in, it records what Cyrus stores without a look.
        let end = |step: &Step| matches!(step, Step::Remark(text) if text.starts_with("an ACL of 200000"));
        let at = steps.iter().position(end).context("no such remark")?;
        steps.drain(2..at);
    }
    let steps = with_offer_of_resync(steps);
    let steps = with_survivor(with_differences(steps, &of(number, WHERE_CYRUS_ENDS))?, "w");
    let masks = Masks {
        mechanisms: Vec::new(),
    };
    replay(&master, steps, &masks, None).with_context(|| {
        format!(
            "transcript {number}; log of the master:\n{}",
            master.log_tail()
        )
    })?;
    ensure!(master.is_running(), "the master has ended");
    master.logged_in()?.ok("NOOP")?;
    master.stop()
}

fn of(number: &str, table: &[(&str, Difference)]) -> Vec<Difference> {
    table
        .iter()
        .filter(|(other, _)| *other == number)
        .map(|(_, difference)| *difference)
        .collect()
}

/// The first option is only read where the second is set, on a master too.
const REPLICATED: [(&str, &str); 2] = [
    ("mupdate_config", "replicated"),
    ("mupdate_server", "127.0.0.1"),
];

/// What our master answers otherwise on purpose, by transcript.
const OURS: &[(&str, Difference)] = &[
    (
        "02",
        Difference {
            reason: "mechanism-atom",
            said: r#"A01 AUTHENTICATE PLAIN "AG11cGQAc2VjcmV0"\r\n"#,
            answered: &[r#"A01 OK "Authenticated"\r\n"#],
        },
    ),
    (
        "02",
        Difference {
            reason: "mechanism-atom",
            said: r"N NOOP\r\n",
            answered: &[r#"N OK "Noop done"\r\n"#],
        },
    ),
    (
        "09",
        Difference {
            reason: "find-after-list",
            said: r#"F1 FIND "user.amy"\r\n"#,
            answered: &[r#"F1 OK "Search completed"\r\n"#],
        },
    ),
    (
        "09",
        Difference {
            reason: "find-after-list",
            said: r#"F3 FIND "user.carl"\r\n"#,
            answered: &[r#"F3 OK "Search completed"\r\n"#],
        },
    ),
    (
        "12",
        Difference {
            reason: "names-checked",
            said: r#"13 RESERVE {7+}\r\ns.a\r\nbc "h!p"\r\n"#,
            answered: &[r#"13 NO "..."#],
        },
    ),
    (
        "12",
        Difference {
            reason: "names-checked",
            said: r"14 LIST\r\n",
            answered: &[
                r"14 MAILBOX {5+}\r\n",
                r"s.lit {3+}\r\n",
                r"h!p {0+}\r\n",
                r"\r\n",
                r#"14 OK "list complete"\r\n"#,
            ],
        },
    ),
];

/// What our master answers where the process of Cyrus ends, by transcript.
const WHERE_CYRUS_ENDS: &[(&str, Difference)] = &[
    (
        "07",
        Difference {
            reason: "delete-of-nothing",
            said: r#"1 DELETE "s.none"\r\n"#,
            answered: &[r#"1 OK "done"\r\n"#],
        },
    ),
    (
        "08",
        Difference {
            reason: "deactivate-of-nothing",
            said: r#"1 DEACTIVATE "s.none" "h1!p1"\r\n"#,
            answered: &[r#"1 NO "mailbox doesn't exist"\r\n"#],
        },
    ),
    (
        "08b",
        Difference {
            reason: "deactivate-of-a-reservation",
            said: r#"2 DEACTIVATE "s.res" "h1!p1"\r\n"#,
            answered: &[r#"2 OK "done"\r\n"#],
        },
    ),
    (
        "14",
        Difference {
            reason: "limits",
            said: "tttt",
            answered: &[r#"* BYE "..."#, "<EOF>"],
        },
    ),
    (
        "14",
        Difference {
            reason: "limits",
            said: "1 AUTHENTICATE \"qqqq",
            answered: &[r#"* BYE "..."#, "<EOF>"],
        },
    ),
    (
        "14",
        Difference {
            reason: "limits",
            said: r"1 AUTHENTICATE {2147483648+}\r\n",
            answered: &[r#"* BYE "..."#, "<EOF>"],
        },
    ),
    (
        "14",
        Difference {
            reason: "limits",
            said: r"1 FIND {99999999999}\r\n",
            answered: &[r#"1 BAD "Extra arguments"\r\n"#],
        },
    ),
    (
        "22b",
        Difference {
            reason: "deactivate-of-nothing",
            said: r#"1 DEACTIVATE "s.none" "h1!p1"\r\n"#,
            answered: &[r#"1 NO "mailbox doesn't exist"\r\n"#],
        },
    ),
    (
        "22b",
        Difference {
            reason: "deactivate-of-a-reservation",
            said: r#"1 DEACTIVATE "s.res" "h2!p1"\r\n"#,
            answered: &[r#"1 NO "mailbox not currently active"\r\n"#],
        },
    ),
    (
        "25",
        Difference {
            reason: "limits",
            said: r#"B ACTIVATE "s.big" "h!p" {200000+}"#,
            answered: &[r#"* BYE "..."#, "<EOF>"],
        },
    ),
    (
        "26",
        Difference {
            reason: "limits",
            said: "1 FIND {131073+}",
            answered: &[r#"* BYE "..."#, "<EOF>"],
        },
    ),
];
