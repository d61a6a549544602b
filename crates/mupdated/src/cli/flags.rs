//! The options of `mupdate` as Cyrus's program takes them: with `getopt`, and what is unknown is passed
//! over. A line of cyrus.conf that has worked for years must not stop the service.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Options of one letter that are known: Cyrus's, and those for help.
const LETTERS: &[u8] = b"maDhV";
/// Options of one letter that have a value.
const LETTERS_WITH_VALUE: &[u8] = b"C";

/// A command line as clap takes it, and what was passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) known: Vec<OsString>,
    pub(crate) unknown: Vec<OsString>,
}

/// Sorts out letters that nobody knows and words that belong to no option. Long options are all left to
/// clap: they are ours, and a mistake in one is better complained of; but not if
/// `is_service`, since whoever reads the complaint would have no service.
pub(crate) fn sort_out(
    arguments: impl IntoIterator<Item = OsString>,
    long: &[LongOption],
    is_service: bool,
) -> Flags {
    let mut arguments = arguments.into_iter();
    let mut flags = Flags {
        known: arguments.next().into_iter().collect(),
        unknown: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            flags.unknown.extend(arguments);
            break;
        }
        match argument.as_bytes() {
            [b'-', b'-', name @ ..] => {
                let (name, has_value) = match name.iter().position(|octet| *octet == b'=') {
                    Some(at) => (name.get(..at).unwrap_or_default(), true),
                    None => (name, false),
                };
                let found = long.iter().find(|option| option.name.as_bytes() == name);
                if found.is_none() && is_service {
                    flags.unknown.push(argument);
                    continue;
                }
                flags.known.push(argument);
                if found.is_some_and(|option| option.takes_value) && !has_value {
                    flags.known.extend(arguments.next());
                }
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                flags.letters(letters, &mut arguments);
            }
            _ => flags.unknown.push(argument),
        }
    }
    flags
}

/// A long option that clap knows.
#[derive(Debug, Clone)]
pub(crate) struct LongOption {
    pub(crate) name: String,
    pub(crate) takes_value: bool,
}

impl Flags {
    fn letters(&mut self, letters: &[u8], rest: &mut impl Iterator<Item = OsString>) {
        for (at, letter) in letters.iter().enumerate() {
            let option = OsString::from_vec(vec![b'-', *letter]);
            if LETTERS_WITH_VALUE.contains(letter) {
                self.known.push(option);
                match letters.get(at + 1..) {
                    Some(value) if !value.is_empty() => {
                        self.known.push(OsStr::from_bytes(value).to_owned());
                    }
                    _ => self.known.extend(rest.next()),
                }
                return;
            }
            if LETTERS.contains(letter) {
                self.known.push(option);
            } else {
                self.unknown.push(option);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(line: &str, is_service: bool) -> (String, String) {
        let long =
            [("listen", true), ("check-config", false)].map(|(name, takes_value)| LongOption {
                name: name.to_owned(),
                takes_value,
            });
        let flags = sort_out(line.split(' ').map(OsString::from), &long, is_service);
        let joined = |words: Vec<OsString>| words.join(OsStr::new(" ")).into_string().unwrap();
        (joined(flags.known), joined(flags.unknown))
    }

    #[test]
    fn cyrus_lines_are_taken() {
        for (line, known, unknown) in [
            ("mupdate -C /c -m", "mupdate -C /c -m", ""),
            ("mupdate -C/c -a", "mupdate -C /c -a", ""),
            ("mupdate -mC /c", "mupdate -m -C /c", ""),
            ("mupdate -U 5 -T 60 -m", "mupdate -m", "-U 5 -T 60"),
            ("mupdate -xm word", "mupdate -m", "-x word"),
            ("mupdate -- -m", "mupdate", "-m"),
            ("mupdate --listen a:1 -m", "mupdate --listen a:1 -m", ""),
            ("mupdate --listen=a:1 b", "mupdate --listen=a:1", "b"),
            ("mupdate --wrong -m", "mupdate -m", "--wrong"),
        ] {
            let expected = (known.to_owned(), unknown.to_owned());
            assert_eq!(sorted(line, true), expected, "{line}");
        }
    }

    #[test]
    fn by_hand_an_unknown_long_option_is_left_to_clap() {
        assert_eq!(sorted("mupdate --lisen a:1", false).0, "mupdate --lisen");
    }
}
