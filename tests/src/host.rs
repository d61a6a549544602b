//! A host with Cyrus's programs and ours, an account for an administrator, and a port.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cyrus::{ADMIN, Node, PASSWORD};
use crate::ports::free_port;
use crate::programs;
use crate::scratch::Scratch;

/// Nothing runs on it yet.
#[derive(Debug)]
pub struct Host {
    /// Its configuration and directories.
    pub node: Node,
    /// Where its server may listen.
    pub port: u16,
    /// Where its data are.
    pub scratch: Scratch,
    programs: Scratch,
}

impl Host {
    /// Makes one of this name, with further lines for its imapd.conf.
    pub fn make(servername: &str, options: &[(&str, &str)]) -> Result<Self> {
        let (scratch, programs) = (Scratch::new()?, Scratch::new()?);
        programs::copy_to(programs.path())?;
        let users = programs.join("users").display().to_string();
        let node = Node::make(scratch.path(), servername, &[])?;
        let mut all = vec![("mupdate_users_file", users.as_str())];
        all.extend(options);
        node.configure(&all)?;
        node.prepare()?;
        let arguments = ["passwd", "--users", &users, ADMIN];
        let (status, _, complaint) = programs::run("mupdatectl", &arguments, PASSWORD)?;
        ensure!(status == Some(0), "mupdatectl passwd: {complaint}");
        node.account().give(programs.path())?;
        node.account().give(scratch.path())?;
        Ok(Self {
            node,
            port: free_port()?,
            scratch,
            programs,
        })
    }

    /// Our program.
    pub fn program(&self) -> PathBuf {
        self.programs.join("mupdate")
    }
}
