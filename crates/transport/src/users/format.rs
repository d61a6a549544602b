//! The lines of a users file: see `docs/users-file.md`.
//!
//! ```text
//! file     = *( ( comment / salt-key / user / empty ) LF )
//! comment  = "#" *OCTET
//! salt-key = "!salt-key" TAB base64            ; 32 octets
//! user     = name 1*( TAB verifier )
//! verifier = mechanism "$" iterations ":" salt "$" stored-key ":" server-key   ; as in RFC 5803
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{User, Users};
use crate::Secret;
use crate::scram::{ITERATIONS_MAX, ITERATIONS_MIN, ScramHash, Verifier};

/// Longest user name, in octets.
pub const NAME_BYTES_MAX: usize = 255;

/// Octets of the key of the salts for users that do not exist.
pub(super) const SALT_KEY_BYTES: usize = 32;

/// Longest salt, in octets, decoded.
const SALT_BYTES_MAX: usize = 128;

/// First field of the line with the salt key.
const SALT_KEY_WORD: &str = "!salt-key";

/// Why a name is no user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Nothing.
    #[error("user name is empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] octets.
    #[error("user name is longer than {NAME_BYTES_MAX} octets")]
    TooLong,
    /// A control character, a TAB among them.
    #[error("user name has a control character")]
    Control,
    /// `#` or `!` in front, which the file uses for itself.
    #[error("user name begins with '#' or '!'")]
    Mark,
    /// Not in the form that `SASLprep` (RFC 4013) gives it, so no log-in could ever name it.
    #[error("user name is not in the form that SASLprep gives it")]
    NotPrepared,
}

/// Whether a user can have this name.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidName::TooLong);
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidName::Control);
    }
    if name.starts_with(['#', '!']) {
        return Err(InvalidName::Mark);
    }
    // PLAIN hands over prepared names.
    match stringprep::saslprep(name) {
        Ok(prepared) if prepared == name => Ok(()),
        Ok(_) | Err(_) => Err(InvalidName::NotPrepared),
    }
}

/// A line's number, from 1, and what is wrong with it.
type Problem = (usize, &'static str);

/// Reads a whole file.
pub(super) fn parse(text: &[u8]) -> Result<Users, Problem> {
    let mut users = Users {
        by_name: HashMap::new(),
        salt_key: None,
        iterations: HashMap::new(),
    };
    for (index, line) in text.split(|&octet| octet == b'\n').enumerate() {
        parse_line(line, &mut users).map_err(|problem| (index + 1, problem))?;
    }
    Ok(users)
}

fn parse_line(line: &[u8], users: &mut Users) -> Result<(), &'static str> {
    let line = str::from_utf8(line).map_err(|_| "line is not UTF-8")?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (name, rest) = line
        .split_once('\t')
        .ok_or("no TAB after the first field")?;
    if name == SALT_KEY_WORD {
        users.salt_key = Some(parse_salt_key(rest)?);
        return Ok(());
    }
    check_name(name).map_err(|_| "first field is no user name")?;
    let mut verifiers = rest
        .split('\t')
        .map(parse_verifier)
        .collect::<Result<Vec<_>, _>>()?;
    verifiers.sort_by_key(Verifier::hash);
    if verifiers
        .windows(2)
        .any(|pair| matches!(pair, [left, right] if left.hash() == right.hash()))
    {
        return Err("two verifiers for one mechanism");
    }
    for verifier in &verifiers {
        users.iterations.insert(verifier.hash, verifier.iterations);
    }
    let user = User {
        verifiers,
        verified: Mutex::new(None),
    };
    match users.by_name.insert(name.to_owned(), user) {
        None => Ok(()),
        Some(_) => Err("user has a line already"),
    }
}

fn parse_salt_key(field: &str) -> Result<Secret, &'static str> {
    let key = STANDARD.decode(field).map_err(|_| "bad base64")?;
    if key.len() == SALT_KEY_BYTES {
        Ok(Secret::new(key))
    } else {
        Err("salt key has not 32 octets")
    }
}

fn parse_verifier(field: &str) -> Result<Verifier, &'static str> {
    let shape = "verifier is not mechanism$iterations:salt$stored-key:server-key";
    let (mechanism, rest) = field.split_once('$').ok_or(shape)?;
    let (front, keys) = rest.split_once('$').ok_or(shape)?;
    let (iterations, salt) = front.split_once(':').ok_or(shape)?;
    let (stored_key, server_key) = keys.split_once(':').ok_or(shape)?;
    let hash = ScramHash::of_mechanism(mechanism).ok_or("unknown mechanism")?;
    let iterations = iterations
        .parse()
        .ok()
        .filter(|count: &NonZeroU32| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&count.get()))
        .ok_or("iterations are not within 4096 and 262144")?;
    let decode = |text| STANDARD.decode(text).map_err(|_| "bad base64");
    let verifier = Verifier {
        hash,
        iterations,
        salt: decode(salt)?,
        stored_key: Zeroizing::new(decode(stored_key)?),
        server_key: Zeroizing::new(decode(server_key)?),
    };
    if verifier.salt.is_empty() || verifier.salt.len() > SALT_BYTES_MAX {
        return Err("salt is empty or too long");
    }
    let key_bytes = hash.key_bytes();
    if verifier.stored_key.len() != key_bytes || verifier.server_key.len() != key_bytes {
        return Err("key has the wrong length for its mechanism");
    }
    Ok(verifier)
}

/// One line of a user, with its LF.
pub(super) fn user_line(name: &str, verifiers: &[Verifier]) -> Zeroizing<String> {
    let mut line = Zeroizing::new(name.to_owned());
    for verifier in verifiers {
        let written = write!(
            line,
            "\t{}${}:{}${}:{}",
            verifier.hash.mechanism(),
            verifier.iterations,
            STANDARD.encode(&verifier.salt),
            STANDARD.encode(&verifier.stored_key),
            STANDARD.encode(&verifier.server_key),
        );
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    line.push('\n');
    line
}

/// The line of the salt key, with its LF.
pub(super) fn salt_key_line(key: &[u8]) -> String {
    format!("{SALT_KEY_WORD}\t{}\n", STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann(hash: ScramHash) -> Verifier {
        Verifier::derive(
            hash,
            b"secret",
            b"0123456789abcdef",
            NonZeroU32::new(4096).unwrap(),
        )
    }

    #[test]
    fn a_line_survives_the_round_trip() {
        let verifiers: Vec<_> = ScramHash::ALL.into_iter().map(ann).collect();
        let line = user_line("ann@example.net", &verifiers);
        let users = parse(line.as_bytes()).unwrap();
        let user = users.user("ann@example.net").unwrap();
        assert_eq!(user_line("ann@example.net", &user.verifiers), line);
        assert!(user.verifier(ScramHash::Sha512).unwrap().matches(b"secret"));
    }

    #[test]
    fn comments_empty_lines_and_cr_are_skipped() {
        let line = user_line("ann", &[ann(ScramHash::Sha1)]);
        let text = format!("# a comment\n\r\n\n{}\r\n", line.trim_end());
        assert_eq!(parse(text.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn bad_lines_are_refused_by_number() {
        let good = user_line("ann", &[ann(ScramHash::Sha1)]);
        let verifier = good.trim_end().split_once('\t').unwrap().1;
        let bad = [
            "ann".to_owned(),
            "ann\t".to_owned(),
            format!("ann\t{verifier}\t{verifier}"),
            format!("\t{verifier}"),
            format!("a\u{7f}b\t{verifier}"),
            format!("{}\t{verifier}", "x".repeat(NAME_BYTES_MAX + 1)),
            format!("bob\t{}", verifier.replace("SHA-1", "SHA-3")),
            format!("bob\t{}", verifier.replace("SHA-1", "SHA-256")),
            format!("bob\t{}", verifier.replace("$4096:", "$4095:")),
            format!("bob\t{}", verifier.replace("$4096:", "$4000000000:")),
            format!("bob\t{}", verifier.replace("$4096:", "$+:")),
            format!("bob\t{verifier}!"),
            "!salt-key\tAAAA".to_owned(),
        ];
        for line in bad {
            let text = format!("{}{line}\n", &*good);
            let (number, problem) = parse(text.as_bytes()).unwrap_err();
            assert_eq!(number, 2, "{line}: {problem}");
        }
        let twice = format!("{}{}", &*good, &*good);
        assert_eq!(parse(twice.as_bytes()).unwrap_err().0, 2);
        assert_eq!(parse(b"ann\t\xff\n").unwrap_err().0, 1);
    }

    #[test]
    fn names() {
        assert_eq!(check_name("mupd"), Ok(()));
        assert_eq!(check_name("host/be1.example.net@EXAMPLE.NET"), Ok(()));
        assert_eq!(check_name("jürgen"), Ok(()));
        assert_eq!(check_name(""), Err(InvalidName::Empty));
        assert_eq!(check_name("a\tb"), Err(InvalidName::Control));
        assert_eq!(check_name("#a"), Err(InvalidName::Mark));
        assert_eq!(check_name("ju\u{308}rgen"), Err(InvalidName::NotPrepared));
    }
}
