//! Our programs with log-ins by libsasl2, as a site configures it for Cyrus.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::cyrus::Node;
use crate::ports::free_port;
use crate::process::Process;
use crate::programs;
use crate::scratch::Scratch;
use crate::wait::wait_for;
use crate::wire::Wire;

/// Our `mupdate` on loopback, a master or a slave. Ends with this value.
#[derive(Debug)]
pub struct Server {
    node: Node,
    port: u16,
    process: Process,
    _scratch: Scratch,
    _programs: Scratch,
}

impl Server {
    /// Starts it with further lines for its imapd.conf, and waits until it greets. Its sasldb has the users of every
    /// node.
    ///
    /// # Errors
    ///
    /// When it ends instead; as it does where it was built without the feature `sasl-cyrus`.
    pub fn start(flags: &[&str], options: &[(&str, &str)]) -> Result<Self> {
        let (scratch, programs) = (Scratch::new()?, Scratch::new()?);
        let mut all = vec![("mupdate_login", "cyrus-sasl")];
        all.extend(options);
        let node = Node::make(scratch.path(), "master.murder.test", &all)?;
        node.prepare()?;
        programs::copy_to(programs.path())?;
        let port = free_port()?;
        let mut command = Command::new(programs.join("mupdate"));
        command.args(flags).arg("-C").arg(node.conf());
        command
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .current_dir(scratch.path());
        node.account().enter(&mut command);
        let process = Process::start(command, &scratch.join("mupdate.log"))?;
        let mut server = Self {
            node,
            port,
            process,
            _scratch: scratch,
            _programs: programs,
        };
        wait_for("greeting", || {
            ensure!(server.process.is_running(), "mupdate has ended");
            Ok(Wire::greeted(port).ok())
        })
        .with_context(|| format!("log of mupdate:\n{}", server.process.log_tail()))?;
        Ok(server)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its imapd.conf and directories.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its log so far.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(
            self.node.directory().join("mupdate.log"),
        )?)
    }
}

/// The real `mupdatetest`: logs in with one mechanism and sends `commands`; what it showed.
pub fn mupdatetest(port: u16, mechanism: &str, password: &str, commands: &str) -> Result<String> {
    let mut child = Command::new("/usr/lib/cyrus/bin/mupdatetest")
        .args(["-m", mechanism, "-u", "mupd", "-a", "mupd", "-w", password])
        .args(["-p", &port.to_string(), "127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start mupdatetest: is cyrus-clients installed?")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // It may have ended already, after a log-in that failed.
    drop(stdin.write_all(commands.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output()?;
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
