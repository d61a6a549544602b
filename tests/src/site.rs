//! Hosts of a site under Cyrus's own process manager, with the cyrus.conf that they have.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::account::Account;
use crate::cyrus::{ADMIN, Manager, Node, PASSWORD, Service};
use crate::frontend::{Database, Imap, PROXY, PROXYING, add_user, upstream};
use crate::ports::free_port;
use crate::programs;
use crate::scratch::Scratch;
use crate::wait::wait_for;
use crate::wire::Wire;

/// Our programs, and a users file for hosts that run them.
#[derive(Debug)]
pub struct Programs(Scratch);

impl Programs {
    /// Copies them to where a system account can run them.
    pub fn make() -> Result<Self> {
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

/// A host under Cyrus's own process manager. Ends with this value.
#[derive(Debug)]
pub struct Host {
    /// Its imapd.conf and directories.
    pub node: Node,
    manager: Manager,
    first: Vec<&'static str>,
    services: Vec<Service>,
    /// Port of imapd.
    pub port: u16,
    lmtp: Option<u16>,
    mupdate: Option<u16>,
    _scratch: Scratch,
}

impl Host {
    /// A frontend whose mupdate, ours, is the master; with lmtpd.
    pub fn frontend(own: &Programs, mupdate: u16) -> Result<Self> {
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

    /// A backend with delayed deletion, which pushes its list when it starts.
    pub fn backend(master: u16) -> Result<Self> {
        let options = [&[("delete_mode", "delayed")], &PROXYING[..], &MAIL].concat();
        Self::start(master, &options, &["ctl_mboxlist -m"], Vec::new())
    }

    /// Backend and frontend at once, with a slave of ours.
    pub fn unified(own: &Programs, master: u16) -> Result<Self> {
        let mupdate = free_port()?;
        let services = vec![service("mupdate", own.command(""), mupdate)];
        let users = own.users();
        let mut options = PROXYING.to_vec();
        options.extend(MAIL);
        options.extend([
            ("mupdate_users_file", users.as_str()),
            ("mupdate_config", "unified"),
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
        let admins = format!("cyrus {ADMIN} {PROXY}");
        let prefix = format!("mt-{port}");
        all.extend([("admins", admins.as_str()), ("syslog_prefix", &prefix)]);
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

    /// Stops everything, and starts it again.
    pub fn restart(mut self) -> Result<Self> {
        self.manager.stop()?;
        self.manager = Manager::start_with(&self.node, &self.first, &self.services)?;
        self.await_greeting()?;
        if let Some(port) = self.mupdate {
            wait_for("greeting of the slave", || Wire::greeted(port).map(Some))?;
        }
        Ok(self)
    }

    /// Stops everything, and waits until it has ended.
    pub fn stop(self) -> Result<()> {
        self.manager.stop()
    }

    /// Moves a user with all mailboxes to another host.
    ///
    /// Cyrus may answer OK to what it has not done; only the line before the answer tells.
    pub fn transfer(&self, user: &str, to: &Self) -> Result<()> {
        let command = format!("XFER user/{user} {}", to.name());
        let said = Imap::logged_in(self.port, ADMIN, PASSWORD)?.ok(&command)?;
        let wanted = format!("* OK USER {user}");
        ensure!(said.contains(&wanted), "{command}: {said:?}");
        Ok(())
    }

    /// As [`Self::transfer`] between unified servers; returns the target, which is started anew.
    ///
    /// imapd of 3.6 and later takes no mailbox in of which its `mailboxes.db` has a record, not even the record of a
    /// mailbox elsewhere that every slave writes. So they are taken out while the slave of the target is stopped.
    pub fn transfer_unified(&self, user: &str, mut to: Self) -> Result<Self> {
        to.manager.stop()?;
        let mut services = to.services.clone();
        services.retain(|service| service.name != "mupdate");
        to.manager = Manager::start_with(&to.node, &to.first, &services)?;
        to.await_greeting()?;
        let database = Database(&to.node);
        let (inbox, below) = (format!("Nuser\x1f{user}"), format!("Nuser\x1f{user}\x1f"));
        for (key, value) in database.records()? {
            if (key == inbox || key.starts_with(&below)) && flags(&value).contains('r') {
                database.remove(&key)?;
            }
        }
        self.transfer(user, &to)?;
        to.restart()
    }

    fn await_greeting(&self) -> Result<()> {
        wait_for("greeting of imapd", || Imap::connect(self.port).map(Some))
            .map(drop)
            .with_context(|| self.manager.log_tail())
    }

    /// Its name in the murder.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What its programs have before their names in syslog.
    pub fn syslog_name(&self) -> String {
        format!("mt-{}/", self.port)
    }

    /// Records of its own mailboxes, and all that is not of mailboxes.
    pub fn local(&self) -> Result<BTreeMap<String, String>> {
        let mut records = Database(&self.node).records()?;
        records.retain(|key, value| !key.starts_with('N') || !flags(value).contains('r'));
        Ok(records)
    }

    /// Unique ids of the mailboxes that live here, by name.
    pub fn ids(&self) -> Result<BTreeMap<String, String>> {
        let mut records = self.local()?;
        records.retain(|_, value| !flags(value).contains('d'));
        let ids = records.into_iter().filter_map(|(key, value)| {
            let name = key.strip_prefix('N')?.replace('\x1f', ".");
            let mut words = value.split([' ', '(', ')']);
            words.find(|word| *word == "I")?;
            Some((name, words.next()?.to_owned()))
        });
        Ok(ids.collect())
    }

    /// Whether lmtpd takes mail for these users.
    pub fn recipients(&self, users: &[&str]) -> Result<Vec<bool>> {
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

/// Letters of a record's type: `r` is another server's mailbox, `d` a tombstone.
fn flags(value: &str) -> &str {
    let mut words = value.split([' ', '(', ')']);
    words.find(|word| *word == "T");
    words.next().unwrap_or_default()
}

/// What imapd.conf of a host with mailboxes needs beyond [`PROXYING`]. XFER wants users to be movable, and the proxy
/// user to be an administrator where they go to.
const MAIL: [(&str, &str); 2] = [("proxyservers", PROXY), ("allowusermoves", "yes")];
