//! Where a dialogue is played.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};

use super::script::{Action, Expected};
use crate::master::Master;
use crate::replay::escape;
use crate::response::Response;
use crate::wait::wait_for;
use crate::wire::Wire;

pub(super) struct Stage {
    master: Master,
    peers: BTreeMap<String, Wire>,
}

impl Stage {
    pub(super) fn new(master: Master) -> Self {
        Self {
            master,
            peers: BTreeMap::new(),
        }
    }

    pub(super) fn log_tail(&self) -> String {
        self.master.log_tail()
    }

    pub(super) fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Option(..) => {}
            Action::Connect(peer) => {
                let wire = Wire::connect(self.master.port())?;
                self.peers.insert(peer.clone(), wire);
            }
            Action::Send(peer, octets) => self.peer(peer)?.send(octets)?,
            Action::Hear(peer, expected) => hear(self.known(peer)?, expected)?,
            Action::HearAfterUpdates(peer, expected) => {
                hear_after_updates(self.known(peer)?, expected)?;
            }
            Action::Fill(peer, prefix, count, octets) => {
                fill(self.peer(peer)?, prefix, *count, *octets)?;
            }
            Action::Leave(peer) => drop(self.peers.remove(peer)),
            Action::Restart { killed } => {
                if *killed {
                    self.master.kill()?;
                } else {
                    self.master.stop()?;
                }
                self.master.launch()?;
            }
            Action::LoseData => {
                self.master.stop()?;
                self.master.lose_data()?;
                self.master.launch()?;
            }
            Action::EndRecovery => self.master.end_recovery()?,
        }
        Ok(())
    }

    /// Whatever was said, the master still serves.
    pub(super) fn close(mut self) -> Result<()> {
        ensure!(self.master.is_running(), "the master has ended");
        // The peers leave first: there may be no place for another.
        self.peers.clear();
        wait_for("a session after the dialogue", || {
            self.master.logged_in()?.ok("NOOP").map(Some)
        })?;
        self.master.stop()
    }

    /// A peer that speaks without having connected logs in first.
    fn peer(&mut self, name: &str) -> Result<&mut Wire> {
        if !self.peers.contains_key(name) {
            let wire = self.master.logged_in()?;
            self.peers.insert(name.to_owned(), wire);
        }
        self.known(name)
    }

    fn known(&mut self, name: &str) -> Result<&mut Wire> {
        self.peers
            .get_mut(name)
            .with_context(|| format!("{name} is not connected"))
    }
}

fn hear(wire: &mut Wire, expected: &Expected) -> Result<()> {
    match expected {
        Expected::End => {
            let rest = wire.rest()?;
            ensure!(rest.is_empty(), "said {} before the end", escape(&rest));
        }
        Expected::Line(wanted) => {
            let line = wire.line()?.context("closed")?;
            let heard = escape(&line);
            let heard = heard.strip_suffix("\\r\\n").unwrap_or(&heard);
            ensure!(matches(wanted, heard), "heard {heard}");
        }
        Expected::Response(wanted) => {
            let response = wire.response()?.context("closed")?;
            ensure!(is(wanted, &response), "heard {}", escape(&response.raw));
        }
    }
    Ok(())
}

fn hear_after_updates(wire: &mut Wire, expected: &Expected) -> Result<()> {
    let Expected::Response(wanted) = expected else {
        return hear(wire, expected);
    };
    let mut passed = String::new();
    loop {
        let response = wire
            .response()?
            .with_context(|| format!("closed after{passed}"))?;
        if is(wanted, &response) {
            return Ok(());
        }
        if !matches!(response.word.as_str(), "MAILBOX" | "RESERVE" | "DELETE") {
            bail!("heard {} after{passed}", escape(&response.raw));
        }
        if passed.len() < PASSED_SHOWN {
            write!(passed, " {}", escape(&response.raw))?;
        }
    }
}

fn is(wanted: &Response, heard: &Response) -> bool {
    let text = |octets: &[u8]| escape(octets);
    let arguments = wanted.arguments.iter().zip(&heard.arguments);
    wanted.tag == heard.tag
        && wanted.word == heard.word
        && wanted.arguments.len() == heard.arguments.len()
        && arguments
            .into_iter()
            .all(|(wanted, heard)| matches(&text(wanted), &text(heard)))
}

fn matches(wanted: &str, heard: &str) -> bool {
    match wanted.split_once("...") {
        Some((first, last)) => {
            heard.len() >= first.len() + last.len()
                && heard.starts_with(first)
                && heard.ends_with(last)
        }
        None => wanted == heard,
    }
}

/// Pipelined, with an OK demanded for each.
fn fill(wire: &mut Wire, prefix: &str, count: usize, octets: usize) -> Result<()> {
    let acl = format!("{}\tlrs\t", "x".repeat(octets));
    for start in (0..count).step_by(FILL_STEP) {
        let numbers = start..count.min(start + FILL_STEP);
        for number in numbers.clone() {
            let command =
                format!("F{number} ACTIVATE \"{prefix}{number}\" \"be1!p1\" \"{acl}\"\r\n");
            wire.send(command.as_bytes())?;
        }
        for number in numbers {
            let answer = wire.response()?.context("closed")?;
            ensure!(
                answer.ends(&format!("F{number}")) && answer.word == "OK",
                "heard {}",
                escape(&answer.raw)
            );
        }
    }
    Ok(())
}

const FILL_STEP: usize = 50;
const PASSED_SHOWN: usize = 2000;
