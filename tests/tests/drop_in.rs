//! Our program in the place of Cyrus's: started by Cyrus's own process manager, with the lines of cyrus.conf that
//! Cyrus's has.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{ADMIN, Manager, PASSWORD, Service};
use mupdate_tests::harness::{murder_drop_in, murder_drop_in_with_libsasl};
use mupdate_tests::host::Host;
use mupdate_tests::listing::{Known, Listing};
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

#[test]
fn plain() -> Result<()> {
    murder_drop_in(&["--sasl-mechs", "PLAIN"])
}

#[test]
fn scram_sha_256() -> Result<()> {
    murder_drop_in(&["--sasl-mechs", "SCRAM-SHA-256"])
}

#[test]
fn tls() -> Result<()> {
    murder_drop_in(&["--tls"])
}

/// Passwords from sasldb, and the mechanism's security layer on the connections of Cyrus's programs to the master.
#[test]
fn digest_md5() -> Result<()> {
    murder_drop_in_with_libsasl(&["--sasl-mechs", "DIGEST-MD5"])
}

/// Cyrus's master starts one process for each address; there is one list all the same, and it goes on when either of
/// them ends.
#[test]
fn ipv4_and_ipv6_have_one_list() -> Result<()> {
    let site = Site::make(&[])?;
    let command = site.ours();
    let manager = Manager::start(
        &site.node,
        &[
            Service {
                name: "mupdate",
                command: command.clone(),
                listen: format!("127.0.0.1:{}", site.port),
            },
            Service {
                name: "mupdate6",
                command,
                listen: format!("[::1]:{}", site.port),
            },
        ],
    )?;
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, site.port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, site.port));
    let reach = |address| {
        wait_for("log-in", || {
            Wire::logged_in_at(address, ADMIN, PASSWORD).map(Some)
        })
        .with_context(|| format!("{address}\n{}", manager.log_tail()))
    };
    let mut made = 0;
    for round in 0..4 {
        for (one, other) in [(v4, v6), (v6, v4)] {
            let (mut one, mut other) = (reach(one)?, reach(other)?);
            made += 1;
            one.ok(&format!("ACTIVATE \"user.u{made}\" \"be1!p\" \"u\tlrs\t\""))?;
            ensure!(
                other.listing("LIST")?.names().len() == made,
                "round {round}: two lists"
            );
        }
        let mut ids = wait_for("two processes", || {
            let ids = manager.children("mupdate")?;
            Ok((ids.len() == 2).then_some(ids))
        })?;
        ids.sort_unstable();
        // The older and the younger in turn, so that the one with the list ends, and the one that stands by.
        let id = *ids.get(round % 2).context("no process")?;
        let killed = Command::new("kill")
            .args(["-9", &id.to_string()])
            .status()?;
        ensure!(killed.success(), "kill -9 {id}");
        wait_for("end of the killed process", || {
            Ok((!manager.children("mupdate")?.contains(&id)).then_some(()))
        })?;
    }
    reach(v4)?;
    reach(v6)?;
    manager.stop()
}

/// Cyrus's program, ours, Cyrus's, ours, on one host: each finds what the other has left.
#[test]
fn there_and_back() -> Result<()> {
    let site = Site::make(&[])?;
    let mut wanted = Listing::default();
    for phase in 0..4 {
        let command = if phase % 2 == 0 {
            "mupdate -m".to_owned()
        } else {
            site.ours()
        };
        // `ctl_cyrusdb -r` runs at each of these starts.
        let manager = site.run(command)?;
        let mut wire = site.log_in(&manager)?;
        ensure!(
            active(wire.listing("LIST")?) == wanted,
            "phase {phase} begins with another list"
        );
        for number in 0..20 {
            edit(
                &mut wire,
                &mut wanted,
                &format!("user.p{phase}n{number}"),
                phase,
            )?;
        }
        if phase > 0 {
            let before = phase - 1;
            let changed = format!("user.p{before}n3");
            edit(&mut wire, &mut wanted, &changed, phase + 10)?;
            let gone = format!("user.p{before}n4");
            wire.ok(&format!("DELETE \"{gone}\""))?;
            wanted.0.remove(&gone);
        }
        ensure!(active(wire.listing("LIST")?) == wanted, "phase {phase}");
        drop(wire);
        manager.stop()?;
        // `M` and the time of our export are seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let manager = site.run("mupdate -m".to_owned())?;
    ensure!(
        active(site.log_in(&manager)?.listing("LIST")?) == wanted,
        "in the end Cyrus's has another list"
    );
    manager.stop()
}

/// A file that somebody has emptied takes nothing with it, and what it lacks is named.
#[test]
fn an_emptied_file_deletes_nothing() -> Result<()> {
    let site = Site::make(&[("mupdate_log", "stderr")])?;
    let manager = site.run(site.ours())?;
    let mut wire = site.log_in(&manager)?;
    let mut wanted = Listing::default();
    for number in 0..5 {
        edit(&mut wire, &mut wanted, &format!("user.n{number}"), 0)?;
    }
    drop(wire);
    manager.stop()?;
    fs::remove_file(site.node.config_directory().join("mailboxes.db"))?;
    let manager = site.run(site.ours())?;
    ensure!(
        site.log_in(&manager)?.listing("LIST")? == wanted,
        "the list is another"
    );
    let named = site
        .node
        .config_directory()
        .join("mupdate/missing-from-mailboxes.db");
    let named = fs::read_to_string(named).context("nothing is named")?;
    for name in wanted.names() {
        ensure!(
            named.lines().any(|line| line == name),
            "{name} is not named"
        );
    }
    manager.stop()?;
    // The file is whole again, so Cyrus's program has all of it.
    let manager = site.run("mupdate -m".to_owned())?;
    ensure!(
        active(site.log_in(&manager)?.listing("LIST")?) == wanted,
        "Cyrus's program has another list"
    );
    manager.stop()
}

/// Keys of Cyrus up to 3.4 are taken over, and kept in that form.
#[test]
fn a_file_of_an_older_series_is_taken_over() -> Result<()> {
    let site = Site::make(&[])?;
    let path = site.node.config_directory().join("mailboxes.db");
    let path = path.display().to_string();
    site.node.tool("ctl_cyrusdb", &["-r"], "")?;
    let mut wanted = Listing::default();
    for name in ["user.amy", "user.amy.Drafts", "user.amy-x", "user.bob"] {
        let value = "%(T r P p S be1 M 1700000000 A %(u lrs))";
        let key = [path.as_str(), "twoskip", "set", name, value];
        site.node.tool("cyr_dbtool", &key, "")?;
        let known = Known::Active("be1!p".to_owned(), "u\tlrs\t".to_owned());
        wanted.0.insert(name.to_owned(), known);
    }
    // Without Cyrus's START section, which would make a file of its own series of it.
    let mut process = site
        .node
        .serve_program(&site.program(), &["-m"], site.port)?;
    let mut wire = wait_for("log-in", || {
        ensure!(process.is_running(), "it has ended");
        Wire::logged_in(site.port, ADMIN, PASSWORD).map(Some)
    })
    .with_context(|| process.log_tail())?;
    ensure!(wire.listing("LIST")? == wanted, "another list");
    wire.ok("ACTIVATE \"user.new\" \"be1!p\" \"u\tlrs\t\"")?;
    let shown = site
        .node
        .tool("cyr_dbtool", &[&path, "twoskip", "show"], "")?;
    ensure!(
        shown.lines().any(|line| line.starts_with("user.new\t")),
        "not in the file, in its form:\n{shown}"
    );
    process.stop().map(drop)
}

/// A host that is started by Cyrus's master.
struct Site(Host);

impl Deref for Site {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Site {
    fn make(options: &[(&str, &str)]) -> Result<Self> {
        Host::make("master.murder.test", options).map(Self)
    }

    fn program(&self) -> String {
        self.0.program().display().to_string()
    }

    fn ours(&self) -> String {
        format!("{} -m", self.program())
    }

    fn run(&self, command: String) -> Result<Manager> {
        let listen = format!("127.0.0.1:{}", self.port);
        let service = Service {
            name: "mupdate",
            command,
            listen,
        };
        Manager::start(&self.node, &[service])
    }

    fn log_in(&self, manager: &Manager) -> Result<Wire> {
        wait_for("log-in", || {
            Wire::logged_in(self.port, ADMIN, PASSWORD).map(Some)
        })
        .with_context(|| manager.log_tail())
    }
}

fn edit(wire: &mut Wire, wanted: &mut Listing, name: &str, version: usize) -> Result<()> {
    let location = format!("be{version}!p");
    let acl = format!("u{version}\tlrs\t");
    wire.ok(&format!("ACTIVATE \"{name}\" \"{location}\" \"{acl}\""))?;
    wanted
        .0
        .insert(name.to_owned(), Known::Active(location, acl));
    Ok(())
}

/// Reservations are thrown away by `ctl_cyrusdb -r`.
fn active(listing: Listing) -> Listing {
    listing
        .0
        .into_iter()
        .filter(|(_, known)| matches!(known, Known::Active(..)))
        .collect()
}
