//! Transcripts as lists of what happens.

pub(crate) struct Script {
    /// Line numbers of the file, and what happens there.
    pub(crate) lines: Vec<(usize, Line)>,
}

pub(crate) enum Line {
    Connection { who: char, authenticated: bool },
    EndOfInput,
    Tls { certificate: bool },
    Client { who: char, octets: Vec<u8> },
    Server { who: char, octets: Vec<u8> },
    Closed { who: char },
}

impl Script {
    pub(crate) fn parse(text: &str) -> Self {
        let mut lines: Vec<(usize, Line)> = Vec::new();
        for (at, text) in text.lines().enumerate() {
            let Some(line) = parse_line(text) else {
                continue;
            };
            if let (
                Line::Client { who, octets },
                Some((
                    _,
                    Line::Client {
                        who: last,
                        octets: all,
                    },
                )),
            ) = (&line, lines.last_mut())
                && who == last
            {
                all.extend_from_slice(octets);
            } else {
                lines.push((at + 1, line));
            }
        }
        Self { lines }
    }
}

fn parse_line(text: &str) -> Option<Line> {
    if text.is_empty() || text.starts_with('#') || text.starts_with("--") {
        return None;
    }
    if let Some(event) = text.strip_prefix("== ") {
        return Some(parse_event(event));
    }
    let (side, rest) = text.split_at(1);
    let (who, rest) = match rest.strip_prefix('[') {
        Some(named) => (named.chars().next().unwrap(), &named[3..]),
        None => (' ', &rest[1..]),
    };
    let rest = rest.strip_prefix(' ').unwrap();
    Some(match (side, rest) {
        ("C", _) => Line::Client {
            who,
            octets: unescape(rest),
        },
        ("S", "<EOF>") => Line::Closed { who },
        ("S", _) => Line::Server {
            who,
            octets: unescape(rest),
        },
        _ => panic!("neither client nor server: {text}"),
    })
}

fn parse_event(event: &str) -> Line {
    match event {
        "new connection" => Line::Connection {
            who: ' ',
            authenticated: false,
        },
        "end of input" => Line::EndOfInput,
        "TLS" => Line::Tls { certificate: false },
        "TLS with a client certificate" => Line::Tls { certificate: true },
        _ => {
            let who = event.strip_prefix("authenticated").unwrap();
            let who = who.strip_prefix(" [").and_then(|who| who.chars().next());
            Line::Connection {
                who: who.unwrap_or(' '),
                authenticated: true,
            }
        }
    }
}

/// `\r`, `\n`, `\t`, `\xNN`, `\\`, and `<1000*"t">` for a thousand times `t`.
fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((count, tail)) = repeated(rest) {
            octets.extend(vec![tail.as_bytes()[0]; count]);
            rest = &tail[3..];
        } else if let Some(escaped) = rest.strip_prefix('\\') {
            let (octet, len) = match escaped.as_bytes()[0] {
                b'r' => (b'\r', 1),
                b'n' => (b'\n', 1),
                b't' => (b'\t', 1),
                b'x' => (u8::from_str_radix(&escaped[1..3], 16).unwrap(), 3),
                other => (other, 1),
            };
            octets.push(octet);
            rest = &escaped[len..];
        } else {
            octets.extend_from_slice(first.to_string().as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    octets
}

/// The count, and the text from the octet to repeat on.
fn repeated(text: &str) -> Option<(usize, &str)> {
    let (count, tail) = text.strip_prefix('<')?.split_once("*\"")?;
    Some((count.parse().ok()?, tail))
}
