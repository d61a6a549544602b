//! A real frontend's `mupdate`.

use anyhow::{Context as _, Result};

use super::{ADMIN, Node, PASSWORD};
use crate::ports::free_port;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wire::Wire;

/// A Cyrus `mupdate` that follows a master. Ends with this value.
#[derive(Debug)]
pub struct Slave {
    node: Node,
    port: u16,
    process: Option<Process>,
    _scratch: Scratch,
}

impl Slave {
    /// Makes a slave of the master on `master_port`, asking again every two seconds; it does not run yet.
    pub fn make(master_port: u16) -> Result<Self> {
        let scratch = Scratch::new()?;
        let server = format!("127.0.0.1:{master_port}");
        let node = Node::make(
            scratch.path(),
            "slave.murder.test",
            &client_options(&server),
        )?;
        node.prepare()?;
        Ok(Self {
            node,
            port: free_port()?,
            process: None,
            _scratch: scratch,
        })
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        self.process = Some(self.node.serve("mupdate", &[], self.port)?);
        Ok(())
    }

    /// Kills it; its database stays.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the slave does not run")?
            .kill()
    }

    /// Stops it from running (SIGSTOP): it reads nothing and answers nothing.
    pub fn freeze(&self) -> Result<()> {
        self.process
            .as_ref()
            .context("the slave does not run")?
            .freeze()
    }

    /// Lets it run again after [`Self::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.process
            .as_ref()
            .context("the slave does not run")?
            .thaw()
    }

    /// Logs in. Fails while the slave has no complete list, since it then gives no greeting.
    pub fn logged_in(&self) -> Result<Wire> {
        Wire::logged_in(self.port, ADMIN, PASSWORD)
    }
}

/// What an imapd.conf needs to talk to a master.
pub(super) fn client_options(server: &str) -> [(&str, &str); 5] {
    [
        ("mupdate_server", server),
        ("mupdate_username", ADMIN),
        ("mupdate_authname", ADMIN),
        ("mupdate_password", PASSWORD),
        ("mupdate_retry_delay", "2"),
    ]
}
