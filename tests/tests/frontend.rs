//! A Cyrus frontend on our slave: what it answers, and a whole murder with it.

use anyhow::{Context as _, Result, bail, ensure};
use mupdate_tests::account::Account;
use mupdate_tests::certificates::Certificates;
use mupdate_tests::cyrus::ADMIN;
use mupdate_tests::frontend::Follower;
use mupdate_tests::harness::{Above, murder_with_slave};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::replay::{Masks, escape};
use mupdate_tests::scratch::Scratch;
use mupdate_tests::transcript::{self, Step};
use mupdate_tests::wire::Wire;

/// What the real slave says, ours says: octet for octet, but for names, versions and mechanisms in its greeting.
#[test]
fn t21_slave() -> Result<()> {
    let scratch = Scratch::new()?;
    let certificates = Certificates::make(scratch.path(), ADMIN)?;
    Account::of_cyrus()?.give(scratch.path())?;
    let file = |name| certificates.file(name).display().to_string();
    let mut master = Master::start(Program::Ours, &[])?;
    let options = [
        ("sasl_mech_list", MECHANISMS),
        ("tls_server_cert", &file("server.pem")),
        ("tls_server_key", &file("server.key")),
    ];
    let mut slave = Follower::make(master.port(), &options)?;
    slave.launch()?;
    replay(&slave, master.port()).with_context(|| slave.log())?;
    slave.stop()?;
    master.stop()
}

#[test]
fn murder_below_cyrus() -> Result<()> {
    murder_with_slave(Above::Cyrus, &["--sasl-mechs", "PLAIN"])
}

#[test]
fn murder_in_both_roles() -> Result<()> {
    murder_with_slave(Above::Ours, &["--sasl-mechs", "SCRAM-SHA-256"])
}

/// With TLS the master of Cyrus ends again and again, so there is only ours to follow.
#[test]
fn murder_in_both_roles_with_tls() -> Result<()> {
    murder_with_slave(Above::Ours, &["--tls"])
}

fn replay(slave: &Follower, master_port: u16) -> Result<()> {
    let masks = Masks {
        mechanisms: MECHANISMS.split(' ').map(str::to_owned).collect(),
    };
    let role = format!(" \"mupdate://127.0.0.1:{master_port}\"\r\n");
    let mut wire = Wire::connect(slave.port())?;
    let mut answers = 0;
    for step in transcript::load("21")? {
        match step {
            Step::Open { .. } => {}
            Step::Send(_, octets) => wire.send(&octets)?,
            Step::Expect(_, recorded) => {
                let mut actual = wire.line()?.context("the slave has closed")?;
                let greets = recorded.starts_with(b"* OK MUPDATE ");
                if greets && actual == RESYNC {
                    actual = wire.line()?.context("the slave has closed")?;
                }
                let right = if greets {
                    actual.starts_with(b"* OK MUPDATE ") && actual.ends_with(role.as_bytes())
                } else {
                    masks.agree(&recorded, &actual)
                };
                ensure!(
                    right,
                    "expected {}, got {}",
                    escape(&recorded),
                    escape(&actual)
                );
                answers += 1;
            }
            other => bail!("the transcript has a step that is not replayed: {other:?}"),
        }
    }
    ensure!(answers > 10, "the transcript has {answers} lines only");
    wire.half_close()?;
    let rest = wire.rest()?;
    ensure!(rest.is_empty(), "said more than that: {}", escape(&rest));
    Ok(())
}

/// What ours offers beyond Cyrus's, which peers that do not know it pass over.
const RESYNC: &[u8] = b"* RESYNC \"1\"\r\n";
const MECHANISMS: &str = "PLAIN SCRAM-SHA-1 SCRAM-SHA-256";
