//! Whole sites, with the cyrus.conf that such hosts have: a frontend that is the master too, unified servers, replicated
//! backends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::account::Account;
use mupdate_tests::cyrus::{ADMIN, Backend, Manager, Node, PASSWORD, STRANGER, Service};
use mupdate_tests::frontend::{Database, Imap, PROXY, PROXYING, add_user, upstream};
use mupdate_tests::listing::{Known, Listing};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::ports::free_port;
use mupdate_tests::programs;
use mupdate_tests::scratch::Scratch;
use mupdate_tests::syslog::Syslog;
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

#[test]
fn a_frontend_that_is_the_master() -> Result<()> {
    let syslog = Syslog::catch()?;
    let (own, mupdate) = (Programs::make()?, free_port()?);
    let front = Host::frontend(&own, mupdate)?;
    let (one, two) = (Host::backend(mupdate)?, Host::backend(mupdate)?);
    let mut at_one = Imap::logged_in(one.port, ADMIN, PASSWORD)?;
    at_one.ok(&format!("CREATE user/{STRANGER}"))?;
    at_one.ok(&format!("CREATE user/{STRANGER}/a"))?;
    at_one.ok(&format!("SETACL user/{STRANGER}/a {ADMIN} lrswipkxtecda"))?;
    at_one.ok("CREATE user/gone")?;
    at_one.ok(&format!("SETACL user/gone {ADMIN} lrswipkxtecda"))?;
    Imap::logged_in(two.port, ADMIN, PASSWORD)?.ok("CREATE user/other")?;

    let mut mail = Imap::logged_in(front.port, STRANGER, PASSWORD)?;
    mail.ok("SELECT INBOX")?;
    mail.ok("SELECT INBOX/a")?;
    at_one.ok(&format!("RENAME user/{STRANGER}/a user/{STRANGER}/b"))?;
    mail.ok("SELECT INBOX/b")?;
    ensure!(
        mail.command("SELECT INBOX/a")?.word == "NO",
        "the old name is still there"
    );
    at_one.ok("DELETE user/gone")?;
    let accepted = front.recipients(&[STRANGER, "other", "gone"])?;
    ensure!(accepted == [true, true, false], "lmtpd says {accepted:?}");

    let mut wire = Wire::logged_in(mupdate, ADMIN, PASSWORD)?;
    for backend in [&one, &two] {
        backend.node.tool("ctl_mboxlist", &["-m"], "")?;
        let said = backend.node.tool("ctl_mboxlist", &["-m", "-w"], "")?;
        ensure!(
            said.is_empty(),
            "after a push {} says {said}",
            backend.name()
        );
    }
    let listed = wire.listing("LIST")?;
    ensure!(
        listed
            .names()
            .iter()
            .any(|name| name.starts_with("DELETED.user.gone.")),
        "no delayed deletion: {:?}",
        listed.names()
    );
    ensure!(
        Database(&front.node).listing()? == sorted(listed.clone()),
        "mailboxes.db of the frontend is another list: {:?} instead of {listed:?}",
        Database(&front.node).listing()?
    );
    drop(wire);
    for host in [front, one, two] {
        host.manager.stop()?;
    }
    let bad: Vec<String> = syslog
        .iter()
        .flat_map(Syslog::lines)
        .filter(|line| line.contains("mupdate") && (line.contains("ERROR") || is_error(line)))
        .collect();
    ensure!(bad.is_empty(), "in syslog:\n{}", bad.join("\n"));
    Ok(())
}

/// CREATE on either, restarts: what a unified server has of its own stays its own.
#[test]
fn a_unified_pair() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    let own = Programs::make()?;
    let (mut one, two) = (
        Host::unified(&own, master.port())?,
        Host::unified(&own, master.port())?,
    );
    let mut at_one = Imap::logged_in(one.port, ADMIN, PASSWORD)?;
    let mut at_two = Imap::logged_in(two.port, ADMIN, PASSWORD)?;
    at_one.ok(&format!("CREATE user/{STRANGER}"))?;
    at_one.ok(&format!("CREATE user/{STRANGER}/a"))?;
    at_two.ok("CREATE user/other")?;
    let name = format!("user.{STRANGER}");
    let ids = one.ids()?;
    ensure!(ids.contains_key(&name), "no unique id of {name}: {ids:?}");
    for (host, there) in [(&one, "user/other"), (&two, STRANGER_BOX)] {
        wait_for("the other's mailbox", || {
            let listed = Imap::logged_in(host.port, ADMIN, PASSWORD)?.list()?;
            Ok(listed.iter().any(|name| name == there).then_some(()))
        })?;
    }
    ensure!(one.ids()? == ids, "another unique id: {:?}", one.ids()?);
    let before = (one.local()?, two.local()?);
    ensure!(
        !before.0.is_empty() && !before.1.is_empty(),
        "nothing is local"
    );
    one = one.restart()?;
    let two = two.restart()?;
    ensure!(
        (one.local()?, two.local()?) == before,
        "a restart has changed local records"
    );
    for host in [one, two] {
        host.manager.stop()?;
    }
    master.stop()
}

/// Both have the same mailboxes, and push with `-m -a`.
#[test]
fn a_replicated_pair() -> Result<()> {
    let options = [
        ("mupdate_server", "127.0.0.1"),
        ("mupdate_config", "replicated"),
    ];
    let mut master = Master::start(Program::Ours, &options)?;
    let shared = ["user.amy", "user.amy.Drafts", "user.amy-x", "user.bob"];
    let replicated = [("mupdate_config", "replicated")];
    let one = Backend::make_with(master.port(), "be1.murder.test", &shared, &replicated)?;
    let two = Backend::make_with(master.port(), "be2.murder.test", &shared, &replicated)?;
    for backend in [&one, &two, &one, &two] {
        backend.override_master()?;
        for backend in [&one, &two] {
            backend.check_own(&shared)?;
        }
        let names = master.logged_in()?.listing("LIST")?;
        ensure!(names.names().len() == shared.len(), "{:?}", names.names());
    }
    master.stop()
}

const STRANGER_BOX: &str = "user/plainuser";

/// Our programs, and a users file for hosts that run them.
struct Programs(Scratch);

impl Programs {
    fn make() -> Result<Self> {
        let own = Self(Scratch::new()?);
        programs::copy_to(own.0.path())?;
        let users = own.users();
        let arguments = ["passwd", "--users", &users, ADMIN];
        let (status, _, complaint) = programs::run("mupdatectl", &arguments, PASSWORD)?;
        ensure!(status == Some(0), "mupdatectl passwd: {complaint}");
        Account::of_cyrus()?.give(own.0.path())?;
        Ok(own)
    }

    fn users(&self) -> String {
        self.0.join("users").display().to_string()
    }

    fn command(&self, options: &str) -> String {
        format!("{} {options}", self.0.join("mupdate").display())
    }
}

/// A host under Cyrus's own process manager.
struct Host {
    node: Node,
    manager: Manager,
    first: Vec<&'static str>,
    services: Vec<Service>,
    port: u16,
    lmtp: Option<u16>,
    mupdate: Option<u16>,
    _scratch: Scratch,
}

impl Host {
    fn frontend(own: &Programs, mupdate: u16) -> Result<Self> {
        let lmtp = free_port()?;
        let services = vec![
            service("mupdate", own.command("-m"), mupdate),
            service("lmtp", "lmtpd -a".to_owned(), lmtp),
        ];
        let users = own.users();
        let mut options = PROXYING.to_vec();
        options.push(("mupdate_users_file", &users));
        let mut host = Self::start(mupdate, &options, &[], services)?;
        host.lmtp = Some(lmtp);
        wait_for("greeting of the master", || {
            Wire::greeted(mupdate).map(Some)
        })?;
        Ok(host)
    }

    fn backend(master: u16) -> Result<Self> {
        let options = [("proxyservers", PROXY), ("delete_mode", "delayed")];
        let options = [options.as_slice(), &PROXYING].concat();
        Self::start(master, &options, &["ctl_mboxlist -m"], Vec::new())
    }

    fn unified(own: &Programs, master: u16) -> Result<Self> {
        let mupdate = free_port()?;
        let services = vec![service("mupdate", own.command(""), mupdate)];
        let users = own.users();
        let mut options = PROXYING.to_vec();
        options.extend([
            ("mupdate_users_file", users.as_str()),
            ("mupdate_config", "unified"),
            ("proxyservers", PROXY),
        ]);
        let mut host = Self::start(master, &options, &[], services)?;
        host.mupdate = Some(mupdate);
        wait_for("greeting of the slave", || Wire::greeted(mupdate).map(Some))?;
        Ok(host)
    }

    fn start(
        master: u16,
        options: &[(&str, &str)],
        first: &[&'static str],
        mut services: Vec<Service>,
    ) -> Result<Self> {
        let (scratch, port) = (Scratch::new()?, free_port()?);
        let server = format!("127.0.0.1:{master}");
        let mut all = upstream(&server).to_vec();
        all.extend(options);
        let name = format!("127.0.0.1:{port}");
        let admins = format!("cyrus {ADMIN}");
        all.push(("admins", &admins));
        let node = Node::make(scratch.path(), &name, &all)?;
        node.prepare()?;
        add_user(&node, &name, PROXY)?;
        services.push(service("imap", "imapd".to_owned(), port));
        let manager = Manager::start_with(&node, first, &services)?;
        let host = Self {
            node,
            manager,
            first: first.to_vec(),
            services,
            port,
            lmtp: None,
            mupdate: None,
            _scratch: scratch,
        };
        host.await_greeting()?;
        Ok(host)
    }

    fn restart(mut self) -> Result<Self> {
        self.manager.stop()?;
        self.manager = Manager::start_with(&self.node, &self.first, &self.services)?;
        self.await_greeting()?;
        if let Some(port) = self.mupdate {
            wait_for("greeting of the slave", || Wire::greeted(port).map(Some))?;
        }
        Ok(self)
    }

    fn await_greeting(&self) -> Result<()> {
        wait_for("greeting of imapd", || Imap::connect(self.port).map(Some))
            .map(drop)
            .with_context(|| self.manager.log_tail())
    }

    /// Its name in the murder.
    fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Records of its own mailboxes, and all that is not of mailboxes.
    fn local(&self) -> Result<BTreeMap<String, String>> {
        let mut records = Database(&self.node).records()?;
        records.retain(|key, value| !key.starts_with('N') || !is_remote(value));
        Ok(records)
    }

    /// Unique ids of its own mailboxes, by name.
    fn ids(&self) -> Result<BTreeMap<String, String>> {
        let ids = self.local()?.into_iter().filter_map(|(key, value)| {
            let name = key.strip_prefix('N')?.replace('\x1f', ".");
            let mut words = value.split([' ', '(', ')']);
            words.find(|word| *word == "I")?;
            Some((name, words.next()?.to_owned()))
        });
        Ok(ids.collect())
    }

    /// Whether lmtpd takes mail for these users.
    fn recipients(&self, users: &[&str]) -> Result<Vec<bool>> {
        let port = self.lmtp.context("no lmtpd")?;
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let mut reader = BufReader::new(socket.try_clone()?);
        let mut socket = socket;
        let mut ask = |line: &str| {
            if !line.is_empty() {
                socket.write_all(format!("{line}\r\n").as_bytes())?;
            }
            loop {
                let mut said = String::new();
                ensure!(
                    reader.read_line(&mut said)? > 0,
                    "lmtpd closes after {line}"
                );
                if said.as_bytes().get(3) != Some(&b'-') {
                    return Ok(said);
                }
            }
        };
        ask("")?;
        ask("LHLO test")?;
        ask("MAIL FROM:<>")?;
        let mut accepted = Vec::new();
        for user in users {
            accepted.push(ask(&format!("RCPT TO:<{user}>"))?.starts_with("250"));
        }
        Ok(accepted)
    }
}

fn service(name: &'static str, command: String, port: u16) -> Service {
    Service {
        name,
        command,
        listen: format!("127.0.0.1:{port}"),
    }
}

/// With the identifiers of each ACL in byte order, as [`Database::listing`] has them.
fn sorted(listing: Listing) -> Listing {
    let sorted = |known| match known {
        Known::Active(at, acl) => {
            let words: Vec<&str> = acl.split_terminator('\t').collect();
            let mut pairs: Vec<String> = words
                .chunks(2)
                .map(|pair| format!("{}\t", pair.join("\t")))
                .collect();
            pairs.sort_unstable();
            Known::Active(at, pairs.concat())
        }
        reserved @ Known::Reserved(_) => reserved,
    };
    let mailboxes = listing.0.into_iter();
    mailboxes
        .map(|(name, known)| (name, sorted(known)))
        .collect()
}

/// Flag `r`: the mailbox is another server's.
fn is_remote(value: &str) -> bool {
    let mut words = value.split([' ', '(', ')']);
    words.find(|word| *word == "T");
    words.next().is_some_and(|flags| flags.contains('r'))
}

/// A priority of `err` or worse: `<facility * 8 + level>`.
fn is_error(line: &str) -> bool {
    let number = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    number.is_some_and(|(number, _)| number.parse().is_ok_and(|number: u32| number % 8 <= 3))
}
