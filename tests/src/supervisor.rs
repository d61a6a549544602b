//! What a supervisor such as systemd gives a program: a socket for its notifications, and listening sockets.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::account::Account;
use crate::programs::package_file;
use crate::scratch::Scratch;
use crate::wait::wait_for;

/// The other end of `NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct Notifications {
    path: PathBuf,
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Notifications {
    /// A socket in `directory` that this account may write to.
    pub fn listen(directory: &Path, account: &Account) -> Result<Self> {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(STEP))?;
        account.give(&path)?;
        Ok(Self {
            path,
            socket,
            seen: Vec::new(),
        })
    }

    /// Its path, for `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines so far, such as `READY=1`.
    pub fn lines(&mut self) -> &[String] {
        let mut octets = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut octets) {
            let text =
                String::from_utf8_lossy(octets.get(..length).unwrap_or_default()).into_owned();
            self.seen.extend(text.lines().map(str::to_owned));
        }
        &self.seen
    }

    /// How often this line has come.
    pub fn count(&mut self, line: &str) -> usize {
        self.lines().iter().filter(|seen| *seen == line).count()
    }

    /// Waits until this line has come so often.
    pub fn wait(&mut self, line: &str, times: usize) -> Result<()> {
        let said = wait_for(line, || Ok((self.count(line) >= times).then_some(())));
        said.with_context(|| format!("notifications: {:?}", self.seen))
    }
}

/// A command line that runs a program with listening sockets at these addresses, as systemd gives them. The program's
/// arguments are to be added.
pub fn with_sockets(
    program: &Path,
    addresses: &[SocketAddr],
    scratch: &Scratch,
    account: &Account,
) -> Result<Command> {
    let shim = scratch.join("socket_shim.py");
    fs::copy(package_file("cyrus-murder/socket_shim.py"), &shim)?;
    account.give(&shim)?;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut command = Command::new("python3");
    command.arg(shim).arg(addresses.join(",")).arg(program);
    Ok(command)
}

const STEP: Duration = Duration::from_millis(50);
