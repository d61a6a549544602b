//! By whom our program is started, and what it tells them: systemd, Cyrus's master, syslog and the journal.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{ADMIN, Manager, PASSWORD, Service};
use mupdate_tests::frontend::{Database, PROXYING, upstream};
use mupdate_tests::host::Host;
use mupdate_tests::master::{Master, Program};
use mupdate_tests::process::Process;
use mupdate_tests::programs;
use mupdate_tests::supervisor::{Notifications, with_sockets};
use mupdate_tests::syslog::Syslog;
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

/// `Type=notify` with a watchdog: ready, alive, stopping.
#[test]
fn systemd_is_told() -> Result<()> {
    let host = Started::make(&[])?;
    let mut notifications = Notifications::listen(host.scratch.path(), host.node.account())?;
    let mut command = host.command(&["-m", "--listen", &host.address()]);
    command
        .env("NOTIFY_SOCKET", notifications.path())
        .env("WATCHDOG_USEC", "300000");
    let process = host.start(command)?;
    notifications
        .wait("READY=1", 1)
        .with_context(|| process.log_tail())?;
    host.log_in()?.ok("NOOP")?;
    notifications.wait("WATCHDOG=1", 5)?;
    ensure!(notifications.count("STOPPING=1") == 0, "it is not to stop");
    process.stop()?;
    notifications.wait("STOPPING=1", 1)?;
    ensure!(notifications.count("READY=1") == 1, "ready once");
    Ok(())
}

/// Units that are ordered behind a slave's begin when the host's `mailboxes.db` has the list.
#[test]
fn a_slave_is_ready_when_the_list_is_in_place() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    master
        .logged_in()?
        .ok("ACTIVATE \"user.amy\" \"be1!p\" \"amy\tlrs\t\"")?;
    let port = master.port();
    master.stop()?;
    let server = format!("127.0.0.1:{port}");
    let options: Vec<(&str, &str)> = upstream(&server).into_iter().chain(PROXYING).collect();
    let host = Started::make(&options)?;
    let mut notifications = Notifications::listen(host.scratch.path(), host.node.account())?;
    let mut command = host.command(&["--listen", &host.address()]);
    command.env("NOTIFY_SOCKET", notifications.path());
    let process = host.start(command)?;
    notifications
        .wait("STATUS=waits for a whole list", 1)
        .with_context(|| process.log_tail())?;
    // It has tried in vain by now, and more than once.
    std::thread::sleep(Duration::from_secs(3));
    ensure!(notifications.count("READY=1") == 0, "ready without a list");
    master.launch()?;
    notifications
        .wait("READY=1", 1)
        .with_context(|| process.log_tail())?;
    let names = Database(&host.node).listing()?;
    ensure!(
        names.names() == ["user.amy"],
        "ready with {names:?} in mailboxes.db"
    );
    process.stop()?;

    // What it had when it stopped is a whole list, too.
    master.stop()?;
    let mut command = host.command(&["--listen", &host.address()]);
    command.env("NOTIFY_SOCKET", notifications.path());
    let process = host.start(command)?;
    notifications
        .wait("READY=1", 2)
        .with_context(|| process.log_tail())?;
    process.stop().map(drop)
}

/// Sockets of a `.socket` unit are served, and none of its own is opened.
#[test]
fn sockets_of_systemd_are_served() -> Result<()> {
    let host = Started::make(&[])?;
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, host.port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, host.port));
    let account = host.node.account();
    let mut command = with_sockets(&host.program(), &[v4, v6], &host.scratch, account)?;
    command.args(host.arguments(&["-m"]));
    host.node.account().enter(&mut command);
    let process = host.start(command)?;
    for address in [v4, v6] {
        let served = wait_for("log-in", || {
            Wire::logged_in_at(address, ADMIN, PASSWORD).map(Some)
        });
        served.with_context(|| process.log_tail())?.ok("NOOP")?;
    }
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 3905));
    let said = process.log_tail();
    ensure!(
        !said.contains(&default.to_string()),
        "it listens elsewhere too:\n{said}"
    );
    process.stop().map(drop)
}

/// Where standard error is the journal's, lines go there with level and fields; elsewhere they don't.
#[test]
fn the_journal_gets_lines_with_priority_and_fields() -> Result<()> {
    let host = Started::make(&[("mupdate_workers_max", "50")])?;
    let journal = Journal::catch()?;
    let log = host.log();
    fs::write(&log, "")?;
    host.node.account().give(&log)?;
    let status = fs::metadata(&log)?;
    let mut command = host.command(&["-m", "--listen", &host.address()]);
    command.env(
        "JOURNAL_STREAM",
        format!("{}:{}", status.dev(), status.ino()),
    );
    let process = host.start(command)?;
    host.log_in()?;
    let said = process.log_tail();
    process.stop()?;
    if Path::new(JOURNAL).exists() {
        ensure!(said.is_empty(), "on standard error:\n{said}");
    } else {
        ensure!(
            said.contains("can't be logged to"),
            "no word of it:\n{said}"
        );
    }
    if let Some(journal) = journal {
        let datagrams = journal.datagrams();
        for wanted in ["mupdate_workers_max", "mupdate is ready role=\"master\""] {
            let datagram = datagrams.iter().find(|datagram| datagram.contains(wanted));
            let datagram = datagram.with_context(|| format!("no {wanted} in {datagrams:?}"))?;
            ensure!(
                datagram.starts_with("PRIORITY=5\nSYSLOG_IDENTIFIER=mupdate\nMESSAGE="),
                "{datagram}"
            );
        }
    }

    // A JOURNAL_STREAM that is another's, as after a redirection.
    let mut command = host.command(&["-m", "--listen", &host.address()]);
    command.env(
        "JOURNAL_STREAM",
        format!("{}:{}", status.dev(), status.ino() + 1),
    );
    let process = host.start(command)?;
    host.log_in()?;
    let said = process.log_tail();
    ensure!(
        said.contains("mupdate is ready"),
        "not on standard error:\n{said}"
    );
    process.stop().map(drop)
}

/// Cyrus's programs refuse to be root; ours does where Cyrus's master has started it, and elsewhere only warns.
#[test]
fn root_is_refused_under_cyrus_only() -> Result<()> {
    let host = Started::make(&[])?;
    if !is_root() {
        // Nobody else can be root, and whoever runs this is served under Cyrus's master.
        return host.under_cyrus()?.stop();
    }
    let shim = programs::package_file("cyrus-murder/service_shim.py");
    let mut command = Command::new("python3");
    command.arg(shim).arg(host.address()).arg(host.program());
    command.args(host.arguments(&["-m"]));
    let mut process = host.start(command)?;
    wait_for("end", || Ok((!process.is_running()).then_some(())))?;
    let said = process.log_tail();
    ensure!(said.contains("must not run as root"), "{said}");

    let mut command = Command::new(host.program());
    command.args(host.arguments(&["-m", "--listen", &host.address()]));
    let process = host.start(command)?;
    host.log_in().with_context(|| process.log_tail())?;
    ensure!(process.log_tail().contains("runs as root"), "no warning");
    process.stop().map(drop)
}

/// Cyrus's master disables a service that has ended five times in a row, so a trouble that may pass ends nothing: the
/// process tries again, and it is the same process.
#[test]
fn a_trouble_that_may_pass_ends_no_service() -> Result<()> {
    let host = Started::make(&[])?;
    let data = host.node.config_directory().join("mupdate");
    fs::write(&data, "a file where a directory shall be")?;
    let manager = host.manage()?;
    let first = wait_for("process", || {
        Ok(manager.children("mupdate")?.first().copied())
    })?;
    // Two attempts at least.
    std::thread::sleep(Duration::from_secs(8));
    ensure!(manager.children("mupdate")? == [first], "another process");
    fs::remove_file(&data)?;
    host.log_in()
        .with_context(|| manager.log_tail())?
        .ok("NOOP")?;
    ensure!(
        manager.children("mupdate")? == [first],
        "another process serves"
    );
    manager.stop()
}

/// With `auditlog` every change has a line with who has made it; without, none.
#[test]
fn changes_are_audited() -> Result<()> {
    for audits in [true, false] {
        let host = Started::make(&[("auditlog", if audits { "yes" } else { "no" })])?;
        let process = host.start(host.command(&["-m", "--listen", &host.address()]))?;
        edit(&mut host.log_in()?)?;
        let said = process.log_tail();
        process.stop()?;
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("auditlog: "))
            .collect();
        if !audits {
            ensure!(lines.is_empty(), "without auditlog: {lines:?}");
            continue;
        }
        ensure!(lines.len() == WANTED.len(), "{lines:#?}");
        for (line, wanted) in lines.iter().zip(WANTED) {
            let (_, session) = line.split_once("sessionid=<").context("no session")?;
            ensure!(session.starts_with("127.0.0.1:"), "{line}");
            for part in wanted {
                ensure!(line.contains(part), "no {part} in {line}");
            }
        }
    }
    Ok(())
}

/// Lines in syslog have name, process id, facility and level as Cyrus's own, so that a site's filters fit.
#[test]
fn syslog_has_lines_as_cyrus_writes_them() -> Result<()> {
    let host = Started::make(&[("auditlog", "yes"), ("syslog_prefix", "ours")])?;
    let Some(syslog) = Syslog::catch()? else {
        // Whoever has /dev/log gets the lines; here only that nothing goes elsewhere can be seen.
        let manager = host.under_cyrus()?;
        ensure!(
            !manager.log_tail().contains("auditlog"),
            "{}",
            manager.log_tail()
        );
        return manager.stop();
    };
    let manager = host.under_cyrus()?;
    edit(&mut host.log_in()?)?;
    let id = *manager.children("mupdate")?.first().context("no process")?;
    let name = format!("ours/mupdate[{id}]: ");
    let lines = wait_for("lines", || {
        let mut lines = syslog.lines();
        lines.retain(|line| line.contains(&name) && line.contains("auditlog: "));
        Ok((lines.len() == WANTED.len()).then_some(lines))
    })?;
    // Facility mail, level notice, as Cyrus's "auditlog:" lines.
    ensure!(
        lines.iter().all(|line| line.starts_with("<21>")),
        "{lines:?}"
    );
    manager.stop()
}

/// One edit of each kind that changes something, and some that do not.
fn edit(wire: &mut Wire) -> Result<()> {
    wire.ok("RESERVE \"user.amy\" \"be1!p\"")?;
    wire.ok("ACTIVATE \"user.amy\" \"be1!p\" \"amy\tlrs\t\"")?;
    wire.ok("DEACTIVATE \"user.amy\" \"be2!p\"")?;
    wire.ok("DELETE \"user.amy\"")?;
    wire.ok("DELETE \"user.amy\"")
}

const WANTED: [&[&str]; 4] = [
    &[
        "auditlog: reserve ",
        "userid=<mupd>",
        "mailbox=<user.amy>",
        "location=<be1!p>",
    ],
    &[
        "auditlog: activate ",
        "location=<be1!p>",
        "acl=<amy\\tlrs\\t>",
    ],
    &["auditlog: deactivate ", "location=<be2!p>"],
    &["auditlog: delete ", "mailbox=<user.amy>"],
];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A host whose server the tests start in every way there is.
struct Started(Host);

impl Deref for Started {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Started {
    fn make(options: &[(&str, &str)]) -> Result<Self> {
        Host::make("host.murder.test", options).map(Self)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let conf = self.node.conf().display().to_string();
        let more = more.iter().map(ToString::to_string);
        ["-C".to_owned(), conf].into_iter().chain(more).collect()
    }

    /// Our program as the user of Cyrus's programs.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(self.arguments(arguments));
        self.node.account().enter(&mut command);
        command
    }

    fn log(&self) -> PathBuf {
        self.scratch.join("started.txt")
    }

    fn start(&self, mut command: Command) -> Result<Process> {
        command.current_dir(self.scratch.path());
        Process::start(command, &self.log())
    }

    /// Under Cyrus's master, whether it serves or not.
    fn manage(&self) -> Result<Manager> {
        let service = Service {
            name: "mupdate",
            command: format!("{} -m", self.program().display()),
            listen: self.address(),
        };
        Manager::start(&self.node, &[service])
    }

    /// Under Cyrus's master, serving.
    fn under_cyrus(&self) -> Result<Manager> {
        let manager = self.manage()?;
        self.log_in().with_context(|| manager.log_tail())?;
        Ok(manager)
    }

    fn log_in(&self) -> Result<Wire> {
        wait_for("log-in", || {
            Wire::logged_in(self.port, ADMIN, PASSWORD).map(Some)
        })
    }
}

/// Listens where systemd's journal does, on a machine that has none.
struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    fn catch() -> Result<Option<Self>> {
        let path = Path::new(JOURNAL);
        if path.exists() || !is_root() {
            return Ok(None);
        }
        fs::create_dir_all(path.parent().context("no directory")?)?;
        let socket = UnixDatagram::bind(path)?;
        Command::new("chmod").args(["666", JOURNAL]).status()?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Some(Self { socket }))
    }

    fn datagrams(&self) -> Vec<String> {
        let mut octets = vec![0; 64 * 1024];
        let mut datagrams = Vec::new();
        while let Ok(length) = self.socket.recv(&mut octets) {
            let datagram = octets.get(..length).unwrap_or_default();
            datagrams.push(String::from_utf8_lossy(datagram).into_owned());
        }
        datagrams
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(fs::remove_file(JOURNAL));
    }
}

const JOURNAL: &str = "/run/systemd/journal/socket";
