//! Log-ins as a site has them configured for Cyrus: sasldb, DIGEST-MD5 with its security layer, and no password but
//! the right one; with real clients, real slaves and a real master.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{Backend, PASSWORD};
use mupdate_tests::libsasl::{Server, mupdatetest};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

const ALL: &str = "DIGEST-MD5 SCRAM-SHA-256 PLAIN";
const NOOP: &str = "A1 NOOP\r\nA2 FIND \"user.ann\"\r\nA3 LOGOUT\r\n";

#[test]
fn a_real_client_by_every_mechanism() -> Result<()> {
    let server = Server::start(&["-m"], &[("sasl_mech_list", ALL)])?;
    for (mechanism, bits) in [("DIGEST-MD5", 128), ("SCRAM-SHA-256", 0), ("PLAIN", 0)] {
        let shown = mupdatetest(server.port(), mechanism, PASSWORD, NOOP)?;
        ensure!(
            shown.contains("Authenticated.")
                && shown.contains(&format!("Security strength factor: {bits}\n"))
                && shown.contains("A1 OK \"Noop done\"")
                && shown.contains("A2 OK \"Search completed\"")
                && shown.contains("A3 OK \"bye-bye\""),
            "{mechanism}: {shown}"
        );
        let shown = mupdatetest(server.port(), mechanism, "Secret", NOOP)?;
        ensure!(
            shown.contains("Authentication failed.") && !shown.contains("A1 OK"),
            "{mechanism}, wrong password: {shown}"
        );
    }
    ensure!(server.log()?.contains("wrong password"), "not in the log");
    Ok(())
}

#[test]
fn a_minimum_layer_is_asked_for() -> Result<()> {
    let options = [("sasl_mech_list", ALL), ("sasl_minimum_layer", "128")];
    let server = Server::start(&["-m"], &options)?;
    let greeting = Wire::connect(server.port())?.greeting()?;
    ensure!(
        greeting.first().map(String::as_str) == Some("* AUTH \"DIGEST-MD5\""),
        "{greeting:?}"
    );
    let shown = mupdatetest(server.port(), "PLAIN", PASSWORD, NOOP)?;
    ensure!(!shown.contains("A1 OK"), "{shown}");
    let shown = mupdatetest(server.port(), "DIGEST-MD5", PASSWORD, NOOP)?;
    ensure!(shown.contains("A1 OK"), "{shown}");
    Ok(())
}

#[test]
fn a_real_backend_through_the_layer() -> Result<()> {
    let server = Server::start(&["-m"], &[("sasl_mech_list", ALL)])?;
    // More than a packet of the layer, both ways.
    let names: Vec<String> = (0..300).map(|number| format!("user.u{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let options = [("force_sasl_client_mech", "DIGEST-MD5")];
    let backend = Backend::make_with(server.port(), "be1.murder.test", &names, &options)?;
    backend.push()?;
    let mut wire = Wire::logged_in(server.port(), "mupd", PASSWORD)?;
    ensure!(
        wire.listing("LIST")? == backend.listing(&names),
        "lists differ"
    );
    ensure!(backend.compare()?.is_empty(), "{:?}", backend.compare());
    Ok(())
}

#[test]
fn our_slave_logs_in_at_a_real_master_through_the_layer() -> Result<()> {
    let master = Master::start(Program::Cyrus, &[("sasl_mech_list", ALL)])?;
    let mut wire = master.logged_in()?;
    wire.ok("ACTIVATE \"user.ann\" \"be1!default\" \"\"")?;
    follows(master.port(), &mut wire)
}

#[test]
fn our_slave_logs_in_at_our_master_through_the_layer() -> Result<()> {
    let master = Server::start(&["-m"], &[("sasl_mech_list", ALL)])?;
    let mut wire = Wire::logged_in(master.port(), "mupd", PASSWORD)?;
    wire.ok("ACTIVATE \"user.ann\" \"be1!default\" \"\"")?;
    follows(master.port(), &mut wire)
}

/// What is said after the log-in, in the clear and as Cyrus's program keeps it, and nothing of the log-in.
#[test]
fn telemetry_of_a_user_who_has_a_directory() -> Result<()> {
    let ours = Server::start(&["-m"], &[("sasl_mech_list", ALL)])?;
    let cyrus = Master::start(Program::Cyrus, &[("sasl_mech_list", ALL)])?;
    for (node, port) in [(ours.node(), ours.port()), (cyrus.node(), cyrus.port())] {
        let directory = node.config_directory().join("log/mupd");
        fs::create_dir(&directory)?;
        node.account().give(&directory)?;
        for mechanism in ["DIGEST-MD5", "PLAIN"] {
            mupdatetest(port, mechanism, PASSWORD, NOOP)?;
        }
        let texts = wait_for("two transcripts", || {
            let files: std::io::Result<Vec<_>> = fs::read_dir(&directory)?.collect();
            let texts: std::io::Result<Vec<_>> = files?
                .iter()
                .map(|file| fs::read_to_string(file.path()))
                .collect();
            let texts = texts?;
            let whole = texts.iter().filter(|text| text.contains("A3 OK")).count();
            Ok((whole == 2).then_some(texts))
        })?;
        for text in texts {
            check_transcript(&text).with_context(|| text.clone())?;
        }
    }
    Ok(())
}

/// A heading, then lines with the time that they came.
fn check_transcript(text: &str) -> Result<()> {
    let (heading, rest) = text.split_once("\n\n").context("no heading")?;
    ensure!(
        heading.starts_with("---------- mupd ") && heading.split_whitespace().count() == 7,
        "{heading}"
    );
    ensure!(
        rest.starts_with('<'),
        "not the client's first command first"
    );
    for (mark, said) in [
        ('<', "A1 NOOP"),
        ('>', "A1 OK"),
        ('<', "A3 LOGOUT"),
        ('>', "A3 OK"),
    ] {
        let at = rest.find(said).with_context(|| format!("no {said}"))?;
        let (_, before) = rest
            .get(..at)
            .unwrap_or_default()
            .rsplit_once(['\n', '\r'])
            .unwrap_or_default();
        let stamp = before.trim_matches(mark);
        ensure!(
            before.is_empty() || (before.starts_with(mark) && stamp.parse::<u64>().is_ok()),
            "{said} is behind {before:?}"
        );
    }
    ensure!(!rest.contains("A01"), "the log-in is in it");
    Ok(())
}

fn follows(master_port: u16, master: &mut Wire) -> Result<()> {
    let server = format!("127.0.0.1:{master_port}");
    let slave = Server::start(
        &[],
        &[
            ("sasl_mech_list", "PLAIN"),
            ("mupdate_server", &server),
            ("mupdate_authname", "mupd"),
            ("mupdate_password", PASSWORD),
            ("mupdate_retry_delay", "2"),
            ("force_sasl_client_mech", "DIGEST-MD5"),
        ],
    )?;
    let mut wire = Wire::logged_in(slave.port(), "mupd", PASSWORD)?;
    master.ok("ACTIVATE \"user.bob\" \"be2!default\" \"\"")?;
    let wanted = master.listing("LIST")?;
    ensure!(wanted.0.len() == 2, "{wanted:?}");
    wait_for("the master's list", || {
        Ok((wire.listing("LIST")? == wanted).then_some(()))
    })
}
