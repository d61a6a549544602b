//! Cyrus's own process manager with the services of a node.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Node;
use crate::process::Process;

/// One line of cyrus.conf.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// Program and options; `-C` is put in.
    pub command: String,
    /// `host:port`, or a path.
    pub listen: String,
}

/// A running `cyrmaster`. Ends with this value, and all it has started.
#[derive(Debug)]
pub struct Manager {
    process: Process,
}

impl Manager {
    /// Starts it; Cyrus's databases are looked over first (`ctl_cyrusdb -r`), as at each start of a host.
    pub fn start(node: &Node, services: &[Service]) -> Result<Self> {
        Self::start_with(node, &[], services)
    }

    /// As [`Self::start`], with further commands for its START section.
    pub fn start_with(node: &Node, first: &[&str], services: &[Service]) -> Result<Self> {
        ensure!(
            Path::new(MANAGER).is_file(),
            "no {MANAGER}: install cyrus-common"
        );
        let conf = node.conf().display().to_string();
        let with_conf = |command: &str| {
            let (program, options) = command.split_once(' ').unwrap_or((command, ""));
            format!("{program} -C {conf} {options}")
        };
        let mut text = format!("START {{\n  recover cmd=\"ctl_cyrusdb -C {conf} -r\"\n");
        for (number, command) in first.iter().enumerate() {
            writeln!(text, "  first{number} cmd=\"{}\"", with_conf(command))?;
        }
        text.push_str("}\nSERVICES {\n");
        for service in services {
            let (name, listen) = (service.name, &service.listen);
            let command = with_conf(&service.command);
            writeln!(
                text,
                "  {name} cmd=\"{command}\" listen=\"{listen}\" prefork=1"
            )?;
        }
        text.push_str("}\nEVENTS {\n}\n");
        let file = node.directory().join("cyrus.conf");
        fs::write(&file, text)?;
        node.account().give(&file)?;
        let path = env::var("PATH").unwrap_or_default();
        let mut command = Command::new(MANAGER);
        command
            .args(["-C", &conf, "-M"])
            .arg(&file)
            .arg("-p")
            .arg(node.directory().join("master.pid"))
            .env("PATH", format!("{}:{path}", super::PROGRAMS))
            .current_dir(node.directory());
        let process = Process::start(command, &node.directory().join("cyrmaster.txt"))?;
        Ok(Self { process })
    }

    /// Process ids of its services that run this program, by name.
    pub fn children(&self, program: &str) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // It may have ended meanwhile.
            let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
                continue;
            };
            let (before, after) = stat.rsplit_once(')').context("/proc/…/stat")?;
            let parent = after.split_whitespace().nth(1);
            let is_program = before
                .split_once('(')
                .is_some_and(|(_, name)| name == program);
            if is_program && parent == Some(self.process.id().to_string().as_str()) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Stops it and its services, and waits until they have ended.
    pub fn stop(self) -> Result<()> {
        self.process.stop_all()
    }

    /// The end of what was written to its standard error.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

const MANAGER: &str = "/usr/sbin/cyrmaster";
