//! A real backend's mailbox list, and the tool that compares it with the master's.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::Node;
use super::slave::client_options;
use crate::listing::{Known, Listing};
use crate::scratch::Scratch;

/// The mailbox list of a backend, without any mail, and its `ctl_mboxlist`.
#[derive(Debug)]
pub struct Backend {
    node: Node,
    host: String,
    _scratch: Scratch,
}

impl Backend {
    /// Makes a backend called `host` with these mailboxes, all on partition `default`, each readable for its owner.
    pub fn make(master_port: u16, host: &str, mailboxes: &[&str]) -> Result<Self> {
        Self::make_with(master_port, host, mailboxes, &[])
    }

    /// As [`Self::make`], with further lines for its imapd.conf.
    pub fn make_with(
        master_port: u16,
        host: &str,
        mailboxes: &[&str],
        options: &[(&str, &str)],
    ) -> Result<Self> {
        let scratch = Scratch::new()?;
        let server = format!("127.0.0.1:{master_port}");
        let mut all = client_options(&server).to_vec();
        all.extend([("proxyservers", "mailproxy"), ("virtdomains", "userid")]);
        all.extend(options);
        let node = Node::make(scratch.path(), host, &all)?;
        node.prepare()?;
        let backend = Self {
            node,
            host: host.to_owned(),
            _scratch: scratch,
        };
        backend
            .node
            .tool("ctl_mboxlist", &["-u"], &dump(mailboxes)?)?;
        Ok(backend)
    }

    /// What the master must hold for these mailboxes of this backend.
    pub fn listing(&self, mailboxes: &[&str]) -> Listing {
        let location = format!("{}!default", self.host);
        let entry = |name: &&str| {
            (
                (*name).to_owned(),
                Known::Active(location.clone(), ACL.to_owned()),
            )
        };
        mailboxes.iter().map(entry).collect()
    }

    /// `ctl_mboxlist -m -w`: what it would do, line by line.
    pub fn compare(&self) -> Result<Vec<String>> {
        let shown = self.node.tool("ctl_mboxlist", &["-m", "-w"], "")?;
        Ok(shown.lines().map(str::to_owned).collect())
    }

    /// `ctl_mboxlist -m`, as at every start of a backend.
    pub fn push(&self) -> Result<()> {
        self.node.tool("ctl_mboxlist", &["-m"], "").map(drop)
    }

    /// `ctl_mboxlist -m -a`: the backend is right even where the master knows another host.
    pub fn override_master(&self) -> Result<()> {
        self.node.tool("ctl_mboxlist", &["-m", "-a"], "").map(drop)
    }

    /// Its own mailboxes are all still there.
    pub fn check_own(&self, mailboxes: &[&str]) -> Result<()> {
        let shown = self.node.tool("ctl_mboxlist", &["-d"], "")?;
        for name in mailboxes {
            let row = shown
                .lines()
                .find(|line| line.starts_with(&format!("\"{name}\":")));
            let alive = row.is_some_and(|row| row.contains("\"partition\": \"default\""));
            ensure!(alive, "{name} is gone from its backend; left are\n{shown}");
        }
        Ok(())
    }
}

/// What `ctl_mboxlist -u` reads.
fn dump(mailboxes: &[&str]) -> Result<String> {
    let mut text = String::from("{\n");
    for (number, name) in mailboxes.iter().enumerate() {
        let comma = if number == 0 { "" } else { ",\n" };
        write!(
            text,
            "{comma}\"{name}\": {{\"name\": \"{name}\", \"mtime\": \"1700000000\", \"uidvalidity\": \"1700000000\", \
             \"createdmodseq\": \"1\", \"foldermodseq\": \"1\", \"mbtype\": \"e\", \"partition\": \"default\", \
             \"acl\": {{\"owner\": \"lrs\"}}, \"uniqueid\": \"unique{number:018}\", \"name_history\": []}}"
        )?;
    }
    text.push_str("\n}\n");
    Ok(text)
}

const ACL: &str = "owner\tlrs\t";
