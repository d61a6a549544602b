//! What two servers may say differently in the same place.

use std::fmt::Write as _;

/// Which parts of a line are not compared.
#[derive(Clone, Debug)]
pub struct Masks {
    /// What the server under test offers in `* AUTH`, in this order; the recorded server had more mechanisms.
    pub mechanisms: Vec<String>,
}

impl Masks {
    /// Whether `actual` is right where `recorded` was recorded.
    pub fn agree(&self, recorded: &[u8], actual: &[u8]) -> bool {
        let (recorded, actual) = (escape(recorded), escape(actual));
        if recorded == actual {
            return true;
        }
        if let Some(mechanisms) = recorded.strip_prefix("* AUTH") {
            return self.is_offer(&actual, mechanisms.contains("\"EXTERNAL\""));
        }
        if recorded.starts_with("* OK MUPDATE ") {
            return is_greeting(&actual);
        }
        if let Some(head) = recorded.strip_suffix("...") {
            return actual.starts_with(head) && actual.ends_with("\\r\\n");
        }
        // The server that was recorded cannot say what is wrong with a log-in.
        if let Some(head) = recorded.strip_suffix("\"undefined error!\"\\r\\n") {
            return actual
                .strip_prefix(head)
                .is_some_and(|text| text.starts_with('"') && text.ends_with("\"\\r\\n"));
        }
        false
    }

    /// Mechanisms with channel binding come and go with the SASL library; EXTERNAL with the client's certificate.
    fn is_offer(&self, actual: &str, external: bool) -> bool {
        let Some(offered) = actual
            .strip_prefix("* AUTH")
            .and_then(|rest| rest.strip_suffix("\\r\\n"))
        else {
            return false;
        };
        let offered: Vec<&str> = offered
            .split_whitespace()
            .filter(|name| !name.ends_with("-PLUS\""))
            .collect();
        let wanted = self
            .mechanisms
            .iter()
            .filter(|name| external || *name != "EXTERNAL");
        offered == wanted.map(|name| format!("\"{name}\"")).collect::<Vec<_>>()
    }
}

/// Host, implementation and version differ; the slave whose greeting is in one transcript is replayed on a master.
fn is_greeting(actual: &str) -> bool {
    let strings: Vec<&str> = actual.split('"').collect();
    matches!(strings.as_slice(), ["* OK MUPDATE ", host, " ", name, " ", version, " ", "(master)", "\\r\\n"]
        if ![host, name, version].iter().any(|text| text.is_empty()))
}

/// Octets as a transcript writes them, without the short form for long runs.
pub fn escape(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b'\r' => out.push_str("\\r"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            32..127 => out.push(char::from(octet)),
            // Writing to a string does not fail.
            _ => drop(write!(out, "\\x{octet:02x}")),
        }
    }
    out
}
