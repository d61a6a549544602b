//! The text of a dialogue.

use anyhow::{Context as _, Result, bail};

use crate::response::Response;
use crate::transcript::unescape;

/// What happens in one line of a dialogue.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A line of the master's imapd.conf, before anything else.
    Option(String, String),
    /// A peer connects and does not log in; its greeting is for it to read.
    Connect(String),
    /// A peer sends these octets.
    Send(String, Vec<u8>),
    /// The next thing a peer hears.
    Hear(String, Expected),
    /// A peer hears this sooner or later; updates before it are passed over.
    HearAfterUpdates(String, Expected),
    /// A peer edits many mailboxes: prefix of their names, how many, octets of each ACL.
    Fill(String, String, usize, usize),
    /// A peer goes away without a word.
    Leave(String),
    /// The master is stopped in order, or killed, and started again.
    Restart { killed: bool },
    /// The master is stopped, loses its list but not the mark outside of it, and is started again.
    LoseData,
    /// The operator ends the recovery.
    EndRecovery,
}

/// What is to be heard; `...` stands for anything.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// A response. Its strings count, not whether they are quoted or literals.
    Response(Response),
    /// A line that is no response, for instance of a greeting.
    Line(String),
    /// The end of the connection.
    End,
}

/// The actions of a dialogue with their line numbers.
pub(super) fn parse(text: &str) -> Result<Vec<(usize, Action)>> {
    let lines = text.lines().zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, number)| {
            Ok((
                number,
                action(line).with_context(|| format!("line {number}"))?,
            ))
        })
        .collect()
}

fn action(line: &str) -> Result<Action> {
    if let Some(direction) = line.strip_prefix("! ") {
        return directive(direction);
    }
    let at = line.find(['>', '<', '~']).context("no speaker")?;
    let (peer, said) = line.split_at(at);
    let (sign, said) = said.split_at(1);
    let said = said.strip_prefix(' ').unwrap_or(said);
    let peer = peer.trim().to_owned();
    Ok(match sign {
        ">" => Action::Send(peer, [unescape(said)?, b"\r\n".to_vec()].concat()),
        "<" => Action::Hear(peer, expected(said)?),
        _ => Action::HearAfterUpdates(peer, expected(said)?),
    })
}

fn directive(direction: &str) -> Result<Action> {
    let words: Vec<&str> = direction.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["option", key, value @ ..] => {
            Action::Option((*key).trim_end_matches(':').to_owned(), value.join(" "))
        }
        ["connect", peer] => Action::Connect((*peer).to_owned()),
        ["fill", peer, prefix, count, octets] => Action::Fill(
            (*peer).to_owned(),
            (*prefix).to_owned(),
            count.parse()?,
            octets.parse()?,
        ),
        ["leave", peer] => Action::Leave((*peer).to_owned()),
        ["restart"] => Action::Restart { killed: false },
        ["kill"] => Action::Restart { killed: true },
        ["lose", "data"] => Action::LoseData,
        ["end", "recovery"] => Action::EndRecovery,
        _ => bail!("unknown direction {direction}"),
    })
}

fn expected(said: &str) -> Result<Expected> {
    if said == "EOF" {
        return Ok(Expected::End);
    }
    let octets = [unescape(said)?, b"\r\n".to_vec()].concat();
    Ok(match Response::parse(&octets) {
        Ok(Some((response, _))) if said.contains(' ') && !said.starts_with("* AUTH") => {
            Expected::Response(response)
        }
        _ => Expected::Line(said.to_owned()),
    })
}
