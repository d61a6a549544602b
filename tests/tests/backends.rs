//! The real `ctl_mboxlist -m` of Cyrus 3.6.1 against our master: a comparison never costs a backend a mailbox.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::account::Account;
use mupdate_tests::certificates::Certificates;
use mupdate_tests::cyrus::{ADMIN, Backend};
use mupdate_tests::listing::Listing;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::scratch::Scratch;
use mupdate_tests::wire::Wire;

/// Names whose order as octets is not the order of Cyrus's database.
const NAMES: [&str; 9] = [
    "shared",
    "user.amy",
    "user.amy-x",
    "user.amy.Drafts",
    "user.amy.Sent",
    "user.amy.Sent Items",
    "user.amy2",
    "user.amy^x",
    "user.john^doe.a",
];

/// The same with virtual domains, one of which is another's beginning.
const DOMAIN_NAMES: [&str; 7] = [
    "foo-bar.test!user.x",
    "foo-bar.test!user.x.a-b",
    "foo-bar.test!user.x.a.b",
    "foo.test!user.x",
    "foo.test!user.x-y",
    "foo.test!user.x.y",
    "user.local",
];

const HOST: &str = "be1.murder.test";

#[test]
fn empty_master_hier() -> Result<()> {
    fills_an_empty_master("hier", &NAMES)
}

#[test]
fn empty_master_bytes() -> Result<()> {
    fills_an_empty_master("bytes", &NAMES)
}

#[test]
fn empty_master_domains_hier() -> Result<()> {
    fills_an_empty_master("hier", &DOMAIN_NAMES)
}

#[test]
fn empty_master_domains_bytes() -> Result<()> {
    fills_an_empty_master("bytes", &DOMAIN_NAMES)
}

#[test]
fn corrections_hier() -> Result<()> {
    corrects_the_master("hier", &NAMES)
}

#[test]
fn corrections_bytes() -> Result<()> {
    corrects_the_master("bytes", &NAMES)
}

#[test]
fn corrections_domains_hier() -> Result<()> {
    corrects_the_master("hier", &DOMAIN_NAMES)
}

#[test]
fn corrections_domains_bytes() -> Result<()> {
    corrects_the_master("bytes", &DOMAIN_NAMES)
}

#[test]
fn recovery_hier() -> Result<()> {
    refills_a_master_in_recovery("hier")
}

#[test]
fn recovery_bytes() -> Result<()> {
    refills_a_master_in_recovery("bytes")
}

/// Cyrus's own clients send a malformed empty response with EXTERNAL, which Cyrus's own server refuses.
#[test]
fn a_certificate_is_enough() -> Result<()> {
    let scratch = Scratch::new()?;
    let certificates = Certificates::make(scratch.path(), ADMIN)?;
    Account::of_cyrus()?.give(scratch.path())?;
    let path = |name: &str| certificates.file(name).display().to_string();
    let master = Master::start(
        Program::Ours,
        &[
            ("tls_server_cert", &path("server.pem")),
            ("tls_server_key", &path("server.key")),
            ("tls_client_ca_file", &path("ca.pem")),
            ("sasl_mech_list", "EXTERNAL"),
            ("allowplaintext", "no"),
        ],
    )?;
    let backend = Backend::make_with(
        master.port(),
        HOST,
        &NAMES,
        &[
            ("tls_client_cert", &path("client.pem")),
            ("tls_client_key", &path("client.key")),
            ("tls_client_ca_file", &path("ca.pem")),
            ("force_sasl_client_mech", "EXTERNAL"),
        ],
    )?;
    ensure!(
        checked_compare(&backend, &NAMES)?.len() == NAMES.len(),
        "nothing to push?"
    );
    backend.push()?;
    ensure!(
        checked_compare(&backend, &NAMES)?.is_empty(),
        "the push was not complete"
    );
    ensure!(
        master.status("mailboxes")? == NAMES.len().to_string(),
        "not all arrived"
    );
    Ok(())
}

/// Without `-a` the backend gives way to another host's entry, with it the master does.
#[test]
fn another_host_gives_way_to_an_override() -> Result<()> {
    let (master, backend) = start("hier", &NAMES)?;
    backend.push()?;
    master
        .logged_in()?
        .ok(r#"ACTIVATE "user.amy" "elsewhere.test!default" "owner	lrs	""#)?;
    let shown = backend.compare()?;
    ensure!(
        shown == ["Remove Local Mailbox: user.amy"],
        "-m -w shows {shown:?}"
    );
    backend.override_master()?;
    holds(&master, &backend.listing(&NAMES))?;
    backend.check_own(&NAMES)
}

/// What would happen to the mailboxes of the backend itself with a master that lists in octet order and answers every
/// FIND: this is what the other tests are worth.
#[test]
fn a_plain_find_would_cost_mailboxes() -> Result<()> {
    let (master, backend) = start("bytes", &NAMES)?;
    backend.push()?;
    let mut wire = master.logged_in()?;
    let listed = names(&mut wire, &format!("LIST \"{HOST}!\""))?;
    let mut sorted = listed.clone();
    sorted.sort();
    ensure!(listed == sorted, "not in octet order: {listed:?}");
    // In this session a backend's own entries are not found; in another they are.
    ensure!(
        wire.listing("FIND \"user.amy\"")?.0.is_empty(),
        "found what LIST was asked for"
    );
    ensure!(
        master.logged_in()?.listing("FIND \"user.amy\"")?.0.len() == 1,
        "not found in a session of its own"
    );
    Ok(())
}

fn fills_an_empty_master(order: &str, names: &[&str]) -> Result<()> {
    let (master, backend) = start(order, names)?;
    let shown = checked_compare(&backend, names)?;
    for name in names {
        ensure!(
            shown.contains(&format!("Force Activate: {name}")),
            "{name} is not pushed: {shown:?}"
        );
    }
    push_until_quiet(&master, &backend, names, order)
}

fn corrects_the_master(order: &str, names: &[&str]) -> Result<()> {
    let (master, backend) = start(order, names)?;
    backend.push()?;
    let mut wire = master.logged_in()?;
    let entries = [
        // What the master lost.
        (names.first(), "DELETE", ""),
        // After a RENAME by Cyrus 3.6 there is no partition.
        (names.get(1), "ACTIVATE", "!"),
        (names.get(2), "ACTIVATE", "!"),
        // Another partition, which a plain comparison takes for another mailbox.
        (names.get(3), "ACTIVATE", "!elsewhere"),
        // A creation that was cut short.
        (names.get(4), "RESERVE", "!default"),
    ];
    for (name, command, partition) in entries {
        let name = name.context("too few names")?;
        wire.ok(&match command {
            "DELETE" => format!("DELETE \"{name}\""),
            "RESERVE" => format!("RESERVE \"{name}\" \"{HOST}{partition}\""),
            _ => format!("ACTIVATE \"{name}\" \"{HOST}{partition}\" \"wrong\tlrs\t\""),
        })?;
    }
    // A mailbox that the backend does not have, and one that is none of its business.
    wire.ok(&format!(
        "ACTIVATE \"user.amy.ghost\" \"{HOST}!default\" \"\""
    ))?;
    wire.ok("ACTIVATE \"user.amy.other\" \"be2.murder.test!default\" \"\"")?;
    let shown = checked_compare(&backend, names)?;
    ensure!(!shown.is_empty(), "nothing to correct?");
    backend.push()?;
    ensure!(
        wire.listing("FIND \"user.amy.other\"")?.0.len() == 1,
        "another host's entry is gone"
    );
    wire.ok("DELETE \"user.amy.other\"")?;
    push_until_quiet(&master, &backend, names, order)
}

fn refills_a_master_in_recovery(order: &str) -> Result<()> {
    let (mut master, first) = start(order, &NAMES)?;
    let others = [
        "user.bob",
        "user.bob.a-b",
        "user.bob.a.b",
        "user.amy.shared-out",
    ];
    let second = Backend::make(master.port(), "be2.murder.test", &others)?;
    first.push()?;
    second.push()?;
    let mut all = first.listing(&NAMES);
    all.0.extend(second.listing(&others).0);
    holds(&master, &all)?;

    master.stop()?;
    master.lose_data()?;
    master.launch()?;
    for (backend, names) in [(&first, NAMES.as_slice()), (&second, &others)] {
        checked_compare(backend, names)?;
        backend.push()?;
        checked_compare(backend, names)?;
        backend.check_own(names)?;
    }
    holds(&master, &all)?;
    master.end_recovery()?;
    holds(&master, &all)?;
    for (backend, names) in [(&first, NAMES.as_slice()), (&second, &others)] {
        checked_compare(backend, names)?;
        backend.push()?;
        backend.check_own(names)?;
    }
    holds(&master, &all)
}

fn start(order: &str, names: &[&str]) -> Result<(Master, Backend)> {
    let master = Master::start(
        Program::Ours,
        &[("mupdate_list_order", order), ("virtdomains", "userid")],
    )?;
    let backend = Backend::make(master.port(), HOST, names)?;
    Ok((master, backend))
}

/// `-m -w` must not want to remove anything of the backend's own.
fn checked_compare(backend: &Backend, names: &[&str]) -> Result<Vec<String>> {
    let shown = backend.compare()?;
    for line in &shown {
        ensure!(
            !line.starts_with("Remove Local Mailbox"),
            "{names:?}: -m -w shows {shown:?}"
        );
    }
    Ok(shown)
}

/// After a push the master holds the backend's list, and the backend has lost nothing; a second one changes nothing.
fn push_until_quiet(master: &Master, backend: &Backend, names: &[&str], order: &str) -> Result<()> {
    for _ in 0..2 {
        backend.push()?;
        holds(master, &backend.listing(names))?;
        backend.check_own(names)?;
    }
    let shown = checked_compare(backend, names)?;
    // In the order of its database the backend finds every mailbox at the head of the list.
    ensure!(
        order != "hier" || shown.is_empty(),
        "after a push -m -w shows {shown:?}"
    );
    Ok(())
}

fn holds(master: &Master, wanted: &Listing) -> Result<()> {
    let held = master.logged_in()?.listing("LIST")?;
    ensure!(
        held == *wanted,
        "the master holds {held:?} instead of {wanted:?}"
    );
    Ok(())
}

fn names(wire: &mut Wire, command: &str) -> Result<Vec<String>> {
    let (data, _) = wire.data(command)?;
    let first = |response: mupdate_tests::response::Response| response.arguments.into_iter().next();
    Ok(data
        .into_iter()
        .filter_map(first)
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .collect())
}
