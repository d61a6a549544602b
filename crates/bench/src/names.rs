//! The mailboxes that a bench fills servers with: the same names, locations and ACLs every time, so that servers can be
//! compared and what an earlier run has left is known again.
//!
//! Mailbox number `i` is folder `i % 10` of user `i / 10`: `user.mb000123.Sent`, on `backend1.test!default`, with one
//! entry in its ACL. The folders stand in the order of keys, so the numbers are in name order. Beside them there are
//! [`Scratch`] names, which rows make and remove as they like.

use std::io::Write as _;

use crate::number::{count, length};

/// Where all mailboxes live.
pub const LOCATION: &str = "backend1.test!default";
/// The server part of [`LOCATION`], as a LIST for it has it.
pub const SERVER_PREFIX: &str = "backend1.test!";
/// Most mailboxes: users have six digits.
pub const MAILBOXES_MAX: u64 = 10_000_000;

/// What a user has beside the inbox, which is the first.
pub const FOLDERS: [&str; 10] = [
    "",
    ".Archive",
    ".Drafts",
    ".Lists",
    ".Lists.dev",
    ".Projects",
    ".Projects.2024",
    ".Sent",
    ".Spam",
    ".Trash",
];
const FOLDERS_COUNT: u64 = 10;
const USER_PREFIX: &str = "mb";
const SCRATCH_PREFIX: &str = "user.mbscratch.";

/// Rights of the one entry of an ACL: two that are equally long, so that an edit changes something and the list keeps
/// its size.
const RIGHTS: [&str; 2] = ["lrswipkxtecdan", "lrswipkxtecdn9"];

/// Which of two ACLs, of the same length, a mailbox gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lap {
    /// As loaded.
    First,
    /// Changed.
    Second,
}

/// A name for a row's own use.
#[derive(Debug, Clone, Copy)]
pub struct Scratch {
    /// What tells the row's names from those of others.
    pub row: &'static str,
    /// Which of them.
    pub number: u64,
}

/// Appends the name of mailbox `number`.
pub fn push_name(out: &mut Vec<u8>, number: u64) {
    push(out, "user.");
    push_user(out, number);
    push(out, folder(number));
}

/// Appends the name of a scratch mailbox.
pub fn push_scratch(out: &mut Vec<u8>, name: Scratch) {
    push(out, SCRATCH_PREFIX);
    push(out, name.row);
    push_number(out, name.number, 1);
}

/// Whether a mailbox is one of a bench, as made by this module.
pub fn is_ours(name: &[u8]) -> bool {
    if name.starts_with(SCRATCH_PREFIX.as_bytes()) {
        return true;
    }
    let Some(rest) = name.strip_prefix(b"user.mb") else {
        return false;
    };
    let digits = rest
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let (_, tail) = rest.split_at(digits);
    digits >= USER_DIGITS && FOLDERS.iter().any(|folder| folder.as_bytes() == tail)
}

/// Appends `TAG ACTIVATE` for mailbox `number`.
pub fn push_activate(out: &mut Vec<u8>, tag: &str, number: u64, lap: Lap) {
    push(out, tag);
    push(out, " ACTIVATE ");
    push_literal(out, |name| push_name(name, number));
    push(out, " ");
    push_literal(out, |location| push(location, LOCATION));
    push(out, " ");
    push_literal(out, |acl| push_acl(acl, number, lap));
    push(out, "\r\n");
}

/// Appends `TAG COMMAND name` for mailbox `number`: FIND or DELETE.
pub fn push_about(out: &mut Vec<u8>, tag: &str, command: &str, number: u64) {
    about(out, tag, command, |name| push_name(name, number));
}

/// Appends `TAG COMMAND name` for a scratch mailbox.
pub fn push_about_scratch(out: &mut Vec<u8>, tag: &str, command: &str, scratch: Scratch) {
    about(out, tag, command, |name| push_scratch(name, scratch));
}

/// Appends `TAG COMMAND name` for a mailbox of any name.
pub fn push_about_name(out: &mut Vec<u8>, tag: &str, command: &str, name: &[u8]) {
    about(out, tag, command, |to| to.extend_from_slice(name));
}

/// Appends `TAG RESERVE` for a scratch mailbox.
pub fn push_reserve_scratch(out: &mut Vec<u8>, tag: &str, scratch: Scratch) {
    push(out, tag);
    push(out, " RESERVE ");
    push_literal(out, |name| push_scratch(name, scratch));
    push(out, " ");
    push_literal(out, |location| push(location, LOCATION));
    push(out, "\r\n");
}

/// Appends `TAG ACTIVATE` for a scratch mailbox on `location`, whose ACL names somebody called `mark`.
pub fn push_activate_scratch(
    out: &mut Vec<u8>,
    tag: &str,
    scratch: Scratch,
    location: &str,
    mark: &Mark,
) {
    push(out, tag);
    push(out, " ACTIVATE ");
    push_literal(out, |name| push_scratch(name, scratch));
    push(out, " ");
    push_literal(out, |to| push(to, location));
    push(out, " ");
    push_literal(out, |acl| {
        acl.extend_from_slice(mark.octets());
        push(acl, "\tlrs\t");
    });
    push(out, "\r\n");
}

/// A word in an ACL by which a change is known again where it arrives.
#[derive(Debug, Clone)]
pub struct Mark(Vec<u8>);

impl Mark {
    /// The word for change number `number`.
    pub fn new(number: u64) -> Self {
        let mut octets = b"mark".to_vec();
        push_number(&mut octets, number, MARK_DIGITS);
        Self(octets)
    }

    /// As it stands in the ACL.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Octets of the line in an answer to UPDATE with the tag `tag`, as Cyrus writes it, for mailbox `number`.
pub fn push_line(out: &mut Vec<u8>, tag: &str, number: u64) {
    push(out, tag);
    push(out, " MAILBOX ");
    push_literal(out, |name| push_name(name, number));
    push(out, " ");
    push_literal(out, |location| push(location, LOCATION));
    push(out, " ");
    push_literal(out, |acl| push_acl(acl, number, Lap::First));
    push(out, "\r\n");
}

fn about(out: &mut Vec<u8>, tag: &str, command: &str, name: impl FnOnce(&mut Vec<u8>)) {
    push(out, tag);
    push(out, " ");
    push(out, command);
    push(out, " ");
    push_literal(out, name);
    push(out, "\r\n");
}

fn folder(number: u64) -> &'static str {
    FOLDERS
        .get(length(number % FOLDERS_COUNT))
        .copied()
        .unwrap_or_default()
}

fn push_user(out: &mut Vec<u8>, number: u64) {
    push(out, USER_PREFIX);
    push_number(out, number / FOLDERS_COUNT, USER_DIGITS);
}

fn push_acl(out: &mut Vec<u8>, number: u64, lap: Lap) {
    let [first, second] = RIGHTS;
    push_user(out, number);
    push(out, "\t");
    push(
        out,
        match lap {
            Lap::First => first,
            Lap::Second => second,
        },
    );
    push(out, "\t");
}

/// A literal without a wait, as Cyrus's clients send them.
fn push_literal(out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    let mut octets = Vec::with_capacity(LITERAL_BYTES);
    value(&mut octets);
    push(out, "{");
    push_number(out, count(octets.len()), 1);
    push(out, "+}\r\n");
    out.extend_from_slice(&octets);
}

fn push_number(out: &mut Vec<u8>, number: u64, digits: usize) {
    // A Vec takes everything.
    write!(out, "{number:0digits$}").unwrap_or_default();
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

const USER_DIGITS: usize = 6;
const MARK_DIGITS: usize = 10;
const LITERAL_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Acl, MailboxName};

    fn name(number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        push_name(&mut out, number);
        out
    }

    #[test]
    fn numbers_are_in_the_order_of_keys() {
        let names: Vec<MailboxName> = (0..40)
            .map(|i| MailboxName::try_from(&*name(i)).unwrap())
            .collect();
        assert!(names.is_sorted());
    }

    #[test]
    fn own_names_are_known_and_no_others() {
        for number in [0, 9, 1_234_567, MAILBOXES_MAX - 1] {
            assert!(is_ours(&name(number)), "{number}");
        }
        let mut scratch = Vec::new();
        push_scratch(
            &mut scratch,
            Scratch {
                row: "a",
                number: 3,
            },
        );
        assert_eq!(scratch, b"user.mbscratch.a3");
        assert!(is_ours(&scratch));
        for other in [
            "user.mb12",
            "user.mbeki",
            "user.mb000001.Inbox",
            "user.mb000001x",
            "mb000001",
        ] {
            assert!(!is_ours(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn an_activate() {
        let mut out = Vec::new();
        push_activate(&mut out, "A", 7, Lap::First);
        let expected = "A ACTIVATE {18+}\r\nuser.mb000000.Sent {21+}\r\nbackend1.test!default \
                        {24+}\r\nmb000000\tlrswipkxtecdan\t\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_two_acls_differ_in_normal_form_and_are_equally_long() {
        let acl = |lap| {
            let mut out = Vec::new();
            push_acl(&mut out, 1, lap);
            out
        };
        let (first, second) = (acl(Lap::First), acl(Lap::Second));
        assert_eq!(first.len(), second.len());
        let (first, second) = (
            Acl::try_from(&*first).unwrap(),
            Acl::try_from(&*second).unwrap(),
        );
        assert_ne!(first, second);
        assert_eq!(first.as_bytes().len(), second.as_bytes().len());
    }
}
