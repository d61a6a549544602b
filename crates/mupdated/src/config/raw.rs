//! Lines of imapd.conf, as Cyrus reads them (`config_read_file` in Cyrus's lib/libconfig.c): `option:
//! value`, `#` comments, a `\` at the end of a line joins the next to it, `@include: file`. Names are
//! case-insensitive.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// How deep `@include` may nest.
const INCLUDE_DEPTH_MAX: usize = 8;
/// What a value may begin with instead of a path.
const DIRECTORY_WORD: &str = "{configdirectory}";

/// All options of an imapd.conf, unchecked, each with where it stands.
#[derive(Debug, Clone, Default)]
pub struct RawConfig {
    options: HashMap<String, RawOption>,
}

/// One option's value and place.
#[derive(Debug, Clone)]
pub(crate) struct RawOption {
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} line {}", self.file.display(), self.line)
    }
}

/// Why an imapd.conf can't be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// The file can't be read.
    #[error("configuration {}: {cause}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file to be included can't be read.
    #[error("{place}: '@include: {}' {cause}", file.display())]
    Include {
        /// Where.
        place: Place,
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A line without `option:`.
    #[error("{place}: not of the form 'option: value'")]
    NotAnOption {
        /// Where.
        place: Place,
    },
    /// Nothing behind the colon.
    #[error("{place}: option '{name}' has no value; leave the line out for its default")]
    EmptyValue {
        /// Where.
        place: Place,
        /// The option.
        name: String,
    },
    /// An option that stands twice.
    #[error("{place}: option '{name}' is set already, at {first}")]
    Twice {
        /// Where the second is.
        place: Place,
        /// The option.
        name: String,
        /// Where the first is.
        first: Place,
    },
    /// Files that include each other.
    #[error("{place}: @include is nested more than {INCLUDE_DEPTH_MAX} deep")]
    TooDeep {
        /// Where.
        place: Place,
    },
}

impl SyntaxError {
    /// The line it is about.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Io { .. } => None,
            Self::Include { place, .. }
            | Self::NotAnOption { place }
            | Self::EmptyValue { place, .. }
            | Self::Twice { place, .. }
            | Self::TooDeep { place } => Some(place),
        }
    }
}

impl RawConfig {
    /// Reads a file and what it includes.
    pub fn read(file: &Path) -> Result<Self, SyntaxError> {
        let (config, mut mistakes) = Self::read_all(file);
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(mistakes.swap_remove(0))
        }
    }

    /// Reads a file and what it includes, and goes on behind each mistake.
    pub(crate) fn read_all(file: &Path) -> (Self, Vec<SyntaxError>) {
        let (mut config, mut mistakes) = (Self::default(), Vec::new());
        match fs::read(file) {
            Ok(octets) => config.read_lines(file, &octets, 0, &mut mistakes),
            Err(cause) => mistakes.push(SyntaxError::Io {
                file: file.into(),
                cause,
            }),
        }
        (config, mistakes)
    }

    /// Puts the value of `configdirectory` where a value begins with `{configdirectory}` (Cyrus:
    /// `config_read`).
    pub(crate) fn expand(&mut self, service: &str) {
        let Some((_, directory)) = self.option(service, "configdirectory") else {
            return;
        };
        let directory = directory.value.clone();
        for option in self.options.values_mut() {
            let length = DIRECTORY_WORD.len();
            let Some((word, rest)) = option.value.split_at_checked(length) else {
                continue;
            };
            if word.eq_ignore_ascii_case(DIRECTORY_WORD) && directory != option.value {
                option.value = format!("{directory}{rest}");
            }
        }
    }

    /// All options, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawOption)> {
        self.options
            .iter()
            .map(|(name, option)| (name.as_str(), option))
    }

    /// The option, under the service's own name (`mupdate_admins`) before its plain one (`admins`).
    pub(crate) fn option(&self, service: &str, name: &str) -> Option<(&str, &RawOption)> {
        let own = self.options.get_key_value(&format!("{service}_{name}"));
        let found = own.or_else(|| self.options.get_key_value(name));
        found.map(|(name, option)| (name.as_str(), option))
    }

    /// All options whose name begins with `prefix`, by the rest of the name, sorted; those under the
    /// service's own name win.
    pub(crate) fn with_prefix(&self, service: &str, prefix: &str) -> Vec<(String, String)> {
        let own_prefix = format!("{service}_{prefix}");
        let mut found = BTreeMap::new();
        for prefix in [prefix, &own_prefix] {
            for (name, option) in &self.options {
                if let Some(rest) = name.strip_prefix(prefix) {
                    found.insert(rest.to_owned(), option.value.clone());
                }
            }
        }
        found.into_iter().collect()
    }

    fn read_lines(
        &mut self,
        file: &Path,
        octets: &[u8],
        depth: usize,
        mistakes: &mut Vec<SyntaxError>,
    ) {
        let text = String::from_utf8_lossy(octets);
        for (line, content) in logical_lines(&text) {
            let place = Place {
                file: file.into(),
                line,
            };
            if let Err(mistake) = self.read_line(&content, place, depth, mistakes) {
                mistakes.push(mistake);
            }
        }
    }

    fn read_line(
        &mut self,
        content: &str,
        place: Place,
        depth: usize,
        mistakes: &mut Vec<SyntaxError>,
    ) -> Result<(), SyntaxError> {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            return Ok(());
        }
        let Some((name, value)) = content.split_once(':') else {
            return Err(SyntaxError::NotAnOption { place });
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(SyntaxError::NotAnOption { place });
        }
        if value.is_empty() {
            return Err(SyntaxError::EmptyValue { place, name });
        }
        if name == "@include" {
            if depth >= INCLUDE_DEPTH_MAX {
                return Err(SyntaxError::TooDeep { place });
            }
            let file = Path::new(value);
            match fs::read(file) {
                Ok(octets) => self.read_lines(file, &octets, depth + 1, mistakes),
                Err(cause) => {
                    let file = file.into();
                    return Err(SyntaxError::Include { place, file, cause });
                }
            }
            return Ok(());
        }
        if let Some(first) = self.options.get(&name) {
            let first = first.place.clone();
            return Err(SyntaxError::Twice { place, name, first });
        }
        self.options.insert(
            name,
            RawOption {
                value: value.to_owned(),
                place,
            },
        );
        Ok(())
    }
}

/// Lines with their numbers, joined where one ends in a backslash.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (content, joins_next) = match line.strip_suffix('\\') {
            Some(content) => (content, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| continues) {
            Some((_, joined)) => joined.push_str(content),
            None => lines.push((number, content.to_owned())),
        }
        continues = joins_next;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RawConfig, SyntaxError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("imapd.conf");
        fs::write(&file, text).unwrap();
        RawConfig::read(&file)
    }

    fn complaint(text: &str) -> String {
        let complaint = read(text).unwrap_err().to_string();
        complaint.rsplit_once("imapd.conf").unwrap().1.to_owned()
    }

    #[test]
    fn reads_what_cyrus_reads() {
        let text =
            "# a comment\n\n Admins : a b \\\n  c\nmupdate_servername: own\nservername: host\n";
        let config = read(text).unwrap();
        assert_eq!(
            config.option("mupdate", "admins").unwrap().1.value,
            "a b   c"
        );
        assert_eq!(
            config.option("mupdate", "servername").unwrap().1.value,
            "own"
        );
        assert_eq!(config.option("imap", "servername").unwrap().1.value, "host");
        assert!(config.option("mupdate", "nothing").is_none());
    }

    #[test]
    fn names_file_and_line_of_every_mistake() {
        assert_eq!(
            complaint("a: 1\nnonsense\n"),
            " line 2: not of the form 'option: value'"
        );
        assert!(complaint("a:\n").starts_with(" line 1: option 'a' has no value"));
        assert!(
            complaint("a: 1\nb: \\\n2\na: 3\n").starts_with(" line 1"),
            "the first place is named too"
        );
    }

    #[test]
    fn a_value_may_begin_with_the_word_for_configdirectory() {
        let text = "mupdate_data_dir: {ConfigDirectory}/m\nconfigdirectory: /c\nadmins: a {configdirectory}\n";
        let mut config = read(text).unwrap();
        config.expand("mupdate");
        let value = |name: &str| config.option("mupdate", name).unwrap().1.value.clone();
        assert_eq!(value("mupdate_data_dir"), "/c/m");
        assert_eq!(value("admins"), "a {configdirectory}");
        assert_eq!(value("configdirectory"), "/c");
    }

    #[test]
    fn the_line_of_a_missing_include_is_named() {
        let said = complaint("a: 1\n@include: /nowhere/x\n");
        assert!(
            said.starts_with(" line 2: '@include: /nowhere/x' "),
            "{said}"
        );
    }

    #[test]
    fn includes_other_files_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (main, other) = (dir.path().join("imapd.conf"), dir.path().join("more.conf"));
        fs::write(&main, format!("@include: {}\n", other.display())).unwrap();
        fs::write(&other, "admins: a\n").unwrap();
        assert_eq!(
            RawConfig::read(&main)
                .unwrap()
                .option("mupdate", "admins")
                .unwrap()
                .1
                .value,
            "a"
        );
        fs::write(&other, format!("@include: {}\n", main.display())).unwrap();
        assert!(matches!(
            RawConfig::read(&main),
            Err(SyntaxError::TooDeep { .. })
        ));
    }
}
