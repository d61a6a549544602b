//! Rules of libwrap (`hosts.allow`, `hosts.deny`), which Debian's Cyrus programs ask. Built with the feature
//! `libwrap` this one asks too, under Cyrus's master; without it, whoever relies on such rules is told.

pub(crate) use means::HostRules;

#[cfg(feature = "libwrap")]
mod means {
    use server::Verdict;
    use tokio::net::TcpStream;

    /// The rules for this service.
    #[derive(Debug, Clone)]
    pub(crate) struct HostRules(host_rules::HostRules);

    impl HostRules {
        pub(crate) fn start(service: &str) -> std::io::Result<Option<Self>> {
            let rules = host_rules::HostRules::start(service, None);
            Ok(Some(Self(rules.map_err(std::io::Error::other)?)))
        }

        pub(crate) fn verdict(&self, socket: &TcpStream) -> Verdict {
            Box::pin(self.0.admits(socket))
        }
    }
}

#[cfg(not(feature = "libwrap"))]
mod means {
    use std::convert::Infallible;
    use std::fs;
    use std::path::Path;

    use server::Verdict;
    use tokio::net::TcpStream;
    use tracing::warn;

    /// There are none.
    #[derive(Debug, Clone)]
    pub(crate) struct HostRules(Infallible);

    impl HostRules {
        #[expect(clippy::unnecessary_wraps, reason = "as it is with libwrap")]
        pub(crate) fn start(service: &str) -> std::io::Result<Option<Self>> {
            complain(service);
            Ok(None)
        }

        pub(crate) fn verdict(&self, _socket: &TcpStream) -> Verdict {
            match self.0 {}
        }
    }

    /// Where libwrap looks.
    const FILES: [&str; 2] = ["/etc/hosts.allow", "/etc/hosts.deny"];

    /// Names the rules that Cyrus's program would have followed.
    fn complain(service: &str) {
        for file in FILES {
            let Ok(text) = fs::read(Path::new(file)) else {
                continue;
            };
            for (line, rule) in rules_for(&String::from_utf8_lossy(&text), service) {
                warn!(
                    file,
                    line,
                    rule,
                    "host rules are not read: this program was built without libwrap (feature 'libwrap')"
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
}
