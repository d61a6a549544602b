//! Recorded dialogues, `vectors/transcripts/*.txt`; the head of `capture.py` there explains their form.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::programs::package_file;

/// One line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A connection is opened.
    Open {
        /// What it is called; empty where there is only one.
        name: String,
        /// Whether its greeting is in the transcript.
        shown: bool,
    },
    /// The connection of this name logs in with PLAIN.
    LogIn(String),
    /// The connection of this name sends these octets.
    Send(String, Vec<u8>),
    /// On the connection of this name the server sends this line, or this last piece of one.
    Expect(String, Vec<u8>),
    /// The server closes the connection of this name.
    End(String),
    /// The connection that spoke last starts TLS.
    Tls {
        /// Whether it shows a client certificate.
        certificate: bool,
    },
    /// The connection that spoke last compresses from here on.
    Deflate,
    /// The connection that spoke last will send nothing more.
    HalfClose,
    /// The server was asked whether it still greets.
    Greets,
    /// Anything else that was noted.
    Remark(String),
}

/// The steps of the transcript with this number, for instance `08b`.
pub fn load(number: &str) -> Result<Vec<Step>> {
    let directory = package_file("vectors/transcripts");
    let (prefix, suffix) = (format!("{number}-"), ".txt");
    let mut names =
        fs::read_dir(&directory)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let name = names
        .find(|name| name.starts_with(&prefix) && name.ends_with(suffix))
        .with_context(|| format!("no transcript {number} in {}", directory.display()))?;
    let text = fs::read_to_string(directory.join(&name))?;
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let steps = lines.map(|line| step(line).with_context(|| format!("{name}: {line}")));
    let steps = steps.collect::<Result<Vec<_>>>()?;
    Ok(join_sends(steps))
}

fn step(line: &str) -> Result<Step> {
    let line = match line.strip_prefix('@') {
        Some(stamped) => stamped.split_once(' ').context("a time without a line")?.1,
        None => line,
    };
    if let Some(remark) = line.strip_prefix("-- ") {
        return Ok(remark_step(remark));
    }
    let (head, text) = line
        .split_once(':')
        .context("neither a remark nor a wire line")?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (who, name) = match head.split_once('[') {
        Some((who, name)) => (who, name.trim_end_matches(']')),
        None => (head, ""),
    };
    let name = name.to_owned();
    Ok(match who {
        "C" => Step::Send(name, unescape(text)?),
        "S" if text == "<EOF>" => Step::End(name),
        "S" => Step::Expect(name, unescape(text)?),
        _ => bail!("neither C nor S"),
    })
}

fn remark_step(remark: &str) -> Step {
    let (name, text) = match remark
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((name, text)) => (name.to_owned(), text),
        None => (String::new(), remark),
    };
    match text {
        "connection opened" => Step::Open { name, shown: true },
        "connection opened, greeting not shown" => Step::Open { name, shown: false },
        "authenticated as an admin" => Step::LogIn(name),
        "TLS handshake done" => Step::Tls { certificate: false },
        "TLS handshake done with a client certificate" => Step::Tls { certificate: true },
        "client shut down its sending side" => Step::HalfClose,
        text if text.starts_with("raw DEFLATE") => Step::Deflate,
        text if text.starts_with("a new connection is greeted") => Step::Greets,
        text => Step::Remark(text.to_owned()),
    }
}

/// Octets as a transcript writes them: `\r`, `\n`, `\t`, `\\`, `\xNN`, and `<N*"x">` for a long run.
pub fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((count, unit, after)) = run(rest)? {
            out.extend(unit.repeat(count));
            rest = after;
            continue;
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        if first != '\\' {
            out.push(u8::try_from(first).context("not ASCII")?);
            continue;
        }
        let (octet, length) = match rest.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', ..] => (
                u8::from_str_radix(rest.get(1..3).context("cut escape")?, 16)?,
                3,
            ),
            _ => bail!("unknown escape"),
        };
        out.push(octet);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(out)
}

/// `<N*"x">` at the beginning of `text`: how often, what, and what follows.
fn run(text: &str) -> Result<Option<(usize, Vec<u8>, &str)>> {
    let Some((count, rest)) = text
        .strip_prefix('<')
        .and_then(|rest| rest.split_once("*\""))
    else {
        return Ok(None);
    };
    let (Ok(count), Some((unit, after))) = (count.parse(), rest.split_once("\">")) else {
        return Ok(None);
    };
    Ok(Some((count, unescape(unit)?, after)))
}

/// Lines that were sent in one go are sent in one go again: what follows a complete line without a pause is joined.
fn join_sends(steps: Vec<Step>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        if let (Some(Step::Send(before, data)), Step::Send(name, octets)) = (out.last_mut(), &step)
            && before == name
            && data.ends_with(b"\n")
        {
            data.extend_from_slice(octets);
            continue;
        }
        out.push(step);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transcript_can_be_read() {
        for number in ["01", "08b", "14", "17", "19", "25"] {
            let steps = load(number).unwrap();
            assert!(
                steps.iter().any(|step| matches!(step, Step::Send(..))),
                "{number}"
            );
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(
            unescape("a\\r\\n\\x00\\\\<3*\"\\t\">").unwrap(),
            b"a\r\n\0\\\t\t\t"
        );
        assert_eq!(unescape("<x> <2*y").unwrap(), b"<x> <2*y");
    }
}
