//! The system account that Cyrus programs run as.

use std::fs;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Whom the Cyrus programs run as: `cyrus` when the tests are started by root, since `mupdate` and its tools refuse to
/// be root; else whoever runs the tests.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name for `cyrus_user` of an imapd.conf.
    pub user: String,
    /// Name for `cyrus_group` of an imapd.conf.
    pub group: String,
    uid: u32,
    gid: u32,
    change: bool,
}

impl Account {
    /// Looks the account up in the system's lists.
    pub fn of_cyrus() -> Result<Self> {
        let me = rustix::process::geteuid();
        let change = me.is_root();
        let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let row = rows(&passwd)
            .find(|row| {
                if change {
                    row.first() == Some(&"cyrus")
                } else {
                    number(row, 2) == Some(me.as_raw())
                }
            })
            .context("no account for the Cyrus programs in /etc/passwd: install cyrus-common")?;
        let uid = number(&row, 2).context("no user id in /etc/passwd")?;
        let gid = number(&row, 3).context("no group id in /etc/passwd")?;
        let groups = fs::read_to_string("/etc/group").context("read /etc/group")?;
        let group = rows(&groups)
            .find(|row| number(row, 2) == Some(gid))
            .and_then(|row| row.first().map(|name| (*name).to_owned()))
            .context("no such group in /etc/group")?;
        let user = row.first().copied().unwrap_or_default().to_owned();
        Ok(Self {
            user,
            group,
            uid,
            gid,
            change,
        })
    }

    /// Lets `command` run as this account.
    pub fn enter<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if self.change {
            command.uid(self.uid).gid(self.gid)
        } else {
            command
        }
    }

    /// Gives `path`, with everything below it, to this account.
    pub fn give(&self, path: &Path) -> Result<()> {
        if !self.change {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("chown {}", path.display()))?;
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
                self.give(&entry?.path())?;
            }
        }
        Ok(())
    }
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn number(row: &[&str], column: usize) -> Option<u32> {
    row.get(column)?.parse().ok()
}
