//! Says again what a transcript's client said, and compares what the server answers.
//!
//! Lines must be the same octets, but for what cannot be (see [`Masks`]). A streaming connection is compared by what
//! its lines add up to, whenever the server has answered a command there: a server may push a change earlier, more
//! than once, or only its last state.

mod masks;
mod peer;
mod stream;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub use masks::{Masks, escape};

use crate::certificates::Certificates;
use crate::cyrus::{ADMIN, PASSWORD};
use crate::master::Master;
use crate::transcript::Step;
use peer::Peer;

/// What the server under test answers to one thing said in a transcript, where that is not what was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Name of the paragraph in `docs/cyrus-behaviour.md` that gives the reason.
    pub reason: &'static str,
    /// How what the client sent begins or ends, as the transcript writes it.
    pub said: &'static str,
    /// The lines that answer it, as a transcript writes them; `<EOF>` for a closed connection, `...` at the end of a
    /// line for any text.
    pub answered: &'static [&'static str],
}

/// Replays `steps` against `master`.
///
/// # Errors
///
/// At the first line that is not as expected, naming what was said before it.
pub fn replay(
    master: &Master,
    steps: Vec<Step>,
    masks: &Masks,
    certificates: Option<&Certificates>,
) -> Result<()> {
    let mut replay = Replay {
        master,
        masks,
        certificates,
        peers: BTreeMap::new(),
        speaker: String::new(),
    };
    let mut before = String::new();
    for step in steps {
        replay.settle_others(&step)?;
        let shown = format!("{step:.200?}");
        replay
            .step(step)
            .with_context(|| format!("{shown}, after {before}"))?;
        before = shown;
    }
    for (name, peer) in &mut replay.peers {
        peer.settle()
            .and_then(|()| peer.finish())
            .with_context(|| format!("end of connection [{name}]"))?;
    }
    Ok(())
}

/// Lets connections that the recorded server took down with itself be served instead: `bystander` sends a NOOP where it
/// was closed, and is answered.
pub fn with_survivor(steps: Vec<Step>, bystander: &str) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        if !matches!(&step, Step::End(name) if name == bystander) {
            out.push(step);
            continue;
        }
        let asked = matches!(out.last(), Some(Step::Send(name, _)) if name == bystander);
        if !asked {
            out.push(Step::Send(bystander.to_owned(), b"N NOOP\r\n".to_vec()));
        }
        out.push(Step::Expect(
            bystander.to_owned(),
            b"N OK \"Noop done\"\r\n".to_vec(),
        ));
    }
    out
}

/// Puts what is answered on purpose in the place of what was recorded.
///
/// # Errors
///
/// When the transcript has no such line: then the difference is out of date.
pub fn with_differences(steps: Vec<Step>, differences: &[Difference]) -> Result<Vec<Step>> {
    let mut unused: Vec<&Difference> = differences.iter().collect();
    let mut out = Vec::with_capacity(steps.len());
    let mut replaced = None;
    for step in steps {
        match &step {
            Step::Send(name, octets) => {
                replaced = None;
                out.push(step.clone());
                let said = escape(octets);
                let Some(at) = unused.iter().position(|difference| {
                    said.starts_with(difference.said) || said.ends_with(difference.said)
                }) else {
                    continue;
                };
                for line in unused.remove(at).answered {
                    out.push(answer(name, line)?);
                }
                replaced = Some(name.clone());
            }
            Step::Expect(name, _) | Step::End(name) if replaced.as_ref() == Some(name) => {}
            _ => {
                replaced = None;
                out.push(step);
            }
        }
    }
    ensure!(unused.is_empty(), "not in the transcript: {unused:?}");
    Ok(out)
}

/// The steps with the line in every greeting by which ours offers RESYNC.
pub fn with_offer_of_resync(steps: Vec<Step>) -> Vec<Step> {
    let mut out = Vec::with_capacity(steps.len());
    for step in steps {
        let offer = match &step {
            Step::Expect(name, line) if line == b"* PARTIAL-UPDATE\r\n" => {
                Some(Step::Expect(name.clone(), b"* RESYNC \"1\"\r\n".to_vec()))
            }
            _ => None,
        };
        out.push(step);
        out.extend(offer);
    }
    out
}

fn answer(name: &str, line: &str) -> Result<Step> {
    let name = name.to_owned();
    if line == "<EOF>" {
        return Ok(Step::End(name));
    }
    Ok(Step::Expect(name, crate::transcript::unescape(line)?))
}

struct Replay<'a> {
    master: &'a Master,
    masks: &'a Masks,
    certificates: Option<&'a Certificates>,
    peers: BTreeMap<String, Peer>,
    speaker: String,
}

impl Replay<'_> {
    /// Before anything else happens, streams must have caught up with what was expected of them.
    fn settle_others(&mut self, step: &Step) -> Result<()> {
        let busy = if let Step::Expect(name, _) = step {
            Some(name)
        } else {
            None
        };
        for (name, peer) in &mut self.peers {
            if Some(name) != busy {
                peer.settle()
                    .with_context(|| format!("stream of connection [{name}]"))?;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Open { name, shown } => {
                let mut peer = Peer::connect(self.master.port())?;
                if !shown {
                    peer.skip_greeting()?;
                }
                if let Some(mut old) = self.peers.insert(name, peer) {
                    old.finish()
                        .context("end of the earlier connection of that name")?;
                }
            }
            Step::LogIn(name) => self.peer(&name)?.log_in(ADMIN, PASSWORD)?,
            Step::Send(name, octets) => {
                self.peer(&name)?.send(&octets)?;
                self.speaker = name;
                // Without a line end it was one piece of several; the pause makes it one on the wire as well.
                if !octets.ends_with(b"\n") {
                    sleep(Duration::from_millis(10));
                }
            }
            Step::Expect(name, octets) => {
                let masks = self.masks;
                self.peer(&name)?.expect(&octets, masks)?;
            }
            Step::End(name) => self.peer(&name)?.end()?,
            Step::Tls { certificate } => self.start_tls(certificate)?,
            Step::Deflate => {
                let speaker = self.speaker.clone();
                self.peer(&speaker)?.wire().start_deflate();
            }
            Step::HalfClose => {
                let speaker = self.speaker.clone();
                self.peer(&speaker)?.wire().half_close()?;
            }
            Step::Greets => {
                Peer::connect(self.master.port())?.skip_greeting()?;
            }
            Step::Remark(_) => {}
        }
        Ok(())
    }

    fn start_tls(&mut self, certificate: bool) -> Result<()> {
        let Some(certificates) = self.certificates else {
            bail!("no certificates for this transcript")
        };
        let client = certificates.client();
        let identity = certificate.then(|| client.identity());
        let speaker = self.speaker.clone();
        self.peer(&speaker)?.wire().start_tls(identity)
    }

    fn peer(&mut self, name: &str) -> Result<&mut Peer> {
        self.peers
            .get_mut(name)
            .with_context(|| format!("no connection [{name}]"))
    }
}
