//! On a host that is frontend and backend at once, records of its own mailboxes are nobody else's.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::frontend::{Follower, Records};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

const OWN: &str = "unified.murder.test";

/// How a series of Cyrus writes its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    /// Up to 3.4: the name itself.
    Plain,
    /// From 3.6 on: `N` and the name with other separators.
    ByName,
}

/// Records that imapd, XFER and `cyr_expire` of a host make for its own mailboxes; none may change by one octet.
const LOCAL: [(&str, &str); 9] = [
    (
        "user.local",
        "%(A %(local lrswipkxtecdan) I own0001 T e P default V 1700000001 F 12 C 3 M 1700000001)",
    ),
    (
        "user.local.Weird  (box)",
        "%(T e I own0002 P default V 1700000002 M 1700000002 A %(\"a b\" lrs local lr))",
    ),
    // Being moved away: with a server, which is not us.
    (
        "user.moving",
        "%(A %(moving lrs) I own0003 T emr S be2.murder.test P default V 1700000003 M 1700000003)",
    ),
    // Deleted, kept until it expires.
    (
        "user.gone",
        "%(A %() I own0004 T ed P default V 1700000004 M 1700000004)",
    ),
    // A level between others.
    ("user.between", "%(T ei M 1700000005)"),
    // Remote by its flag, but with a unique id.
    (
        "user.id",
        "%(T er I own0006 P default S be2.murder.test M 1700000006 A %(id lrs))",
    ),
    // Remote by its flag, but our own by its server.
    (
        "user.self",
        "%(T er P default S unified.murder.test M 1700000007 A %(self lrs))",
    ),
    (
        "DELETED.user.local.old.5F3C1A2B",
        "%(A %(local lrs) I own0008 T e P default V 1700000008 M 1700000008)",
    ),
    (
        "example.org!user.local",
        "%(A %(local@example.org lrs) I own0009 T e P default V 1700000009 M 1700000009)",
    ),
];

/// Records of no living mailbox: they give way to a mailbox elsewhere, and to nothing else.
const YIELDING: [&str; 2] = ["user.gone", "user.between"];

/// What the master says about the same names, and about names that the host does not have.
const CLAIMED: [&str; 10] = [
    "user.local",
    "user.local.Weird  (box)",
    "user.moving",
    "user.gone",
    "user.between",
    "user.id",
    "user.self",
    "DELETED.user.local.old.5F3C1A2B",
    "example.org!user.local",
    "user.unmade",
];

#[test]
fn local_records_stay() -> Result<()> {
    stays(Series::ByName)
}

#[test]
fn local_records_of_older_series_stay() -> Result<()> {
    stays(Series::Plain)
}

fn stays(series: Series) -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    backend.ok("ACTIVATE \"user.remote\" \"be2.murder.test!default\" \"remote\tlrs\t\"")?;
    let options = [
        ("servername", OWN),
        ("mupdate_config", "unified"),
        ("virtdomains", "userid"),
    ];
    let mut slave = Follower::make(master.port(), &options)?;
    let local = series.local();
    for (key, value) in &local {
        slave.database().set(key, value)?;
    }
    ensure!(
        slave.database().records()? == local,
        "the records were not made as they are: {:?}",
        slave.database().records()?
    );
    // What another slave has left behind goes.
    let stale = series.value("%(T er P default S be2.murder.test M 1700000000 A %(stale lrs))");
    slave.database().set(&series.key("user.stale"), &stale)?;

    slave.launch()?;
    let expect = |slave: &Follower, remote: &[&str]| {
        wait_for("the right records", || check(slave, series, &local, remote))
            .with_context(|| slave.log())
    };
    expect(&slave, &["user.remote"]).context("after the first resync")?;
    drive(&mut slave, &mut backend, expect)?;
    slave.stop()?;
    expect(&slave, &["user.remote", "user.late"]).context("after a stop")?;
    master.stop()
}

/// All that a master can say about names that are this host's own, live and by a resync.
fn drive(
    slave: &mut Follower,
    backend: &mut Wire,
    expect: impl Fn(&Follower, &[&str]) -> Result<()>,
) -> Result<()> {
    let (few, more) = (["user.remote"], ["user.remote", "user.unmade"]);
    for name in CLAIMED {
        backend.ok(&format!(
            "ACTIVATE \"{name}\" \"{OWN}!default\" \"y\tlr\t\""
        ))?;
    }
    // A line of its own, so that what is waited for comes after all of them.
    backend.ok("ACTIVATE \"user.mark\" \"be2.murder.test!default\" \"\"")?;
    expect(slave, &["user.remote", "user.mark"]).context("active on this host")?;
    backend.ok("DELETE \"user.mark\"")?;
    for name in CLAIMED.iter().filter(|name| !YIELDING.contains(name)) {
        backend.ok(&format!(
            "ACTIVATE \"{name}\" \"be3.murder.test!p3\" \"x\tlrs\t\""
        ))?;
    }
    expect(slave, &more).context("active elsewhere")?;
    for name in CLAIMED {
        backend.ok(&format!("DEACTIVATE \"{name}\" \"be3.murder.test!p3\""))?;
    }
    expect(slave, &more).context("reserved elsewhere")?;

    slave.kill()?;
    for name in CLAIMED.iter().step_by(2) {
        backend.ok(&format!("DELETE \"{name}\""))?;
    }
    slave.launch()?;
    expect(slave, &more).context("after a resync")?;
    for name in CLAIMED.iter().skip(1).step_by(2) {
        backend.ok(&format!("DELETE \"{name}\""))?;
    }
    expect(slave, &few).context("after deletions")?;
    backend.ok("ACTIVATE \"user.late\" \"be2.murder.test!default\" \"late\tlrs\t\"")?;
    expect(slave, &["user.remote", "user.late"]).context("after one more")
}

/// The records of others are as they were, and the rest are these names.
fn check(slave: &Follower, series: Series, local: &Records, remote: &[&str]) -> Result<Option<()>> {
    let records = slave.database().records()?;
    for (key, value) in local {
        let found = records.get(key);
        ensure!(
            found == Some(value),
            "{key:?} is {found:?} instead of {value:?}"
        );
    }
    let others: BTreeSet<_> = records
        .keys()
        .filter(|key| !local.contains_key(*key))
        .cloned()
        .collect();
    let wanted: BTreeSet<_> = remote.iter().map(|name| series.key(name)).collect();
    ensure!(others == wanted, "{others:?} instead of {wanted:?}");
    Ok(Some(()))
}

impl Series {
    fn key(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::ByName => {
                let (domain, local) = match name.split_once('!') {
                    Some((domain, local)) => (format!("{domain}\x1d"), local),
                    None => (String::new(), name),
                };
                format!("N{domain}{}", local.replace('.', "\x1f"))
            }
        }
    }

    /// The older series know no letter for mail.
    fn value(self, value: &str) -> String {
        match self {
            Self::Plain => value.replace("T e ", "").replace("T e", "T "),
            Self::ByName => value.to_owned(),
        }
    }

    /// All that is the host's own, with keys that are not of mailboxes.
    fn local(self) -> Records {
        let others: &[(&str, &str)] = match self {
            Self::Plain => &[("$RUNQ$S$own0001", "1700000001"), ("$RUNQ", "")],
            Self::ByName => &[("Iown0001", "%(N user\x1flocal)"), ("Jown0001", "own0001")],
        };
        let mailboxes = LOCAL
            .iter()
            .map(|(name, value)| (self.key(name), self.value(value)));
        let others = others
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()));
        mailboxes.chain(others).collect()
    }
}
