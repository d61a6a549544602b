//! Rules of libwrap, which Debian's Cyrus programs ask and this one does not: whoever relies on them must
//! be told.

use std::fs;
use std::path::Path;

use tracing::warn;

/// Where libwrap looks.
const FILES: [&str; 2] = ["/etc/hosts.allow", "/etc/hosts.deny"];

/// Names the rules that Cyrus's program would have followed.
pub(crate) fn complain(service: &str) {
    for file in FILES {
        let Ok(text) = fs::read(Path::new(file)) else {
            continue;
        };
        for (line, rule) in rules_for(&String::from_utf8_lossy(&text), service) {
            warn!(
                file,
                line,
                rule,
                "host rules are not read: this one has no effect; use the packet filter, or IPAddressDeny= of systemd"
            );
        }
    }
}

/// Rules that name the service, or all, with their lines.
fn rules_for(text: &str, service: &str) -> Vec<(usize, String)> {
    let names = |word: &str| word == "ALL" || word.split('@').next() == Some(service);
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| {
            let rule = line.trim();
            let daemons = rule.split(':').next().unwrap_or_default();
            !rule.starts_with('#') && daemons.split([' ', '\t', ',']).any(names)
        })
        .map(|(number, line)| (number, line.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_the_service_and_of_all_are_found() {
        let text = "# ALL: ALL\nsshd: 192.0.2.\nsshd, mupdate : LOCAL\nmupdate@192.0.2.1: x\nALL: PARANOID\n";
        let lines: Vec<usize> = rules_for(text, "mupdate")
            .iter()
            .map(|(line, _)| *line)
            .collect();
        assert_eq!(lines, [3, 4, 5]);
    }
}
