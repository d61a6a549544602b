//! Values to octets, in the bytes that Cyrus itself sends.
//!
//! Mailbox, location and ACL always go as `{n+}` literals, texts as quoted strings; `{n}` is never
//! sent. Everything is appended to a `Vec<u8>`, so that many lines can go out in one write.

mod lines;
pub mod resync;

pub use lines::Lines;

use super::command::Command;
use crate::{AclRef, EntryRef, LocationRef, NameRef};

/// `tag OK "text"`
pub fn ok(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, text: &str) {
    status(out, tag, b" OK ", text);
}

/// `tag NO "text"`
pub fn no(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, text: &str) {
    status(out, tag, b" NO ", text);
}

/// `tag BAD "text"`
pub fn bad(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, text: &str) {
    status(out, tag, b" BAD ", text);
}

/// `* BYE "text"`. Never to be sent to a peer in the middle of a dump: a Cyrus slave takes it for
/// the end of the dump and deletes what it has not heard of.
pub fn bye(out: &mut Vec<u8>, text: &str) {
    status(out, "*", b" BYE ", text);
}

/// `tag OK text`, one of the replies that Cyrus sends without quotes (to STARTTLS and COMPRESS).
pub fn ok_bare(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, text: impl AsRef<[u8]>) {
    status_bare(out, tag, b" OK ", text);
}

/// `tag NO text`, without quotes (to AUTHENTICATE, STARTTLS and COMPRESS).
pub fn no_bare(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, text: impl AsRef<[u8]>) {
    status_bare(out, tag, b" NO ", text);
}

/// `tag BAD text`, without quotes (to STARTTLS and COMPRESS).
pub fn bad_bare(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, text: impl AsRef<[u8]>) {
    status_bare(out, tag, b" BAD ", text);
}

/// `tag MAILBOX {n+} name {n+} location {n+} acl`
pub fn mailbox_line<'a>(
    out: &mut Vec<u8>,
    tag: impl AsRef<[u8]>,
    name: impl Into<NameRef<'a>>,
    location: impl Into<LocationRef<'a>>,
    acl: impl Into<AclRef<'a>>,
) {
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(MAILBOX);
    mailbox_name(out, name.into());
    location_and_acl(out, location.into(), acl.into());
}

/// `tag RESERVE {n+} name {n+} location`
pub fn reserve_line<'a>(
    out: &mut Vec<u8>,
    tag: impl AsRef<[u8]>,
    name: impl Into<NameRef<'a>>,
    location: impl Into<LocationRef<'a>>,
) {
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(b" RESERVE ");
    mailbox_name(out, name.into());
    out.push(b' ');
    literal(out, location.into().as_bytes());
    out.extend_from_slice(LINE_END);
}

/// `tag DELETE {n+} name`; only in a stream, never in a dump.
pub fn delete_line<'a>(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, name: impl Into<NameRef<'a>>) {
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(b" DELETE ");
    mailbox_name(out, name.into());
    out.extend_from_slice(LINE_END);
}

/// [`mailbox_line`] or [`reserve_line`], whichever the entry is.
pub fn entry_line<'a>(
    out: &mut Vec<u8>,
    tag: impl AsRef<[u8]>,
    name: impl Into<NameRef<'a>>,
    entry: impl Into<EntryRef<'a>>,
) {
    match entry.into() {
        EntryRef::Active { location, acl } => mailbox_line(out, tag, name, location, acl),
        EntryRef::Reserved { location, .. } => reserve_line(out, tag, name, location),
    }
}

/// What a server says of itself before it takes commands (RFC 3656 section 3.1).
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a> {
    /// SASL mechanisms, in the order in which they are named.
    pub mechanisms: &'a [String],
    /// Whether STARTTLS is possible now.
    pub starttls: bool,
    /// Whether COMPRESS is possible now.
    pub compress: bool,
    /// Whether RESYNC is offered (`docs/resync.md`).
    pub resync: bool,
    /// Name of the host.
    pub servername: &'a str,
    /// Name of the software.
    pub implementation: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Where changes are to go.
    pub role: BannerRole<'a>,
}

/// Who takes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BannerRole<'a> {
    /// This server.
    Master,
    /// The server at this URL, `mupdate://…`.
    Slave {
        /// The URL, as it is sent.
        url: &'a str,
    },
}

/// The greeting, sent on connect and again after STARTTLS. Mechanisms and algorithm are quoted, as
/// Cyrus does and its clients expect.
pub fn banner(out: &mut Vec<u8>, banner: &Banner<'_>) {
    out.extend_from_slice(b"* AUTH");
    for mechanism in banner.mechanisms {
        out.push(b' ');
        quoted(out, mechanism.as_bytes());
    }
    out.extend_from_slice(LINE_END);
    if banner.starttls {
        out.extend_from_slice(b"* STARTTLS\r\n");
    }
    if banner.compress {
        out.extend_from_slice(b"* COMPRESS \"DEFLATE\"\r\n");
    }
    out.extend_from_slice(b"* PARTIAL-UPDATE\r\n");
    if banner.resync {
        resync::capability(out);
    }
    out.extend_from_slice(b"* OK MUPDATE");
    let role = match banner.role {
        BannerRole::Master => "(master)",
        BannerRole::Slave { url } => url,
    };
    for text in [
        banner.servername,
        banner.implementation,
        banner.version,
        role,
    ] {
        out.push(b' ');
        quoted(out, text.as_bytes());
    }
    out.extend_from_slice(LINE_END);
}

/// A client's command. Arguments go as `{n+}` literals, the mechanism and the algorithm as quoted
/// strings: what Cyrus clients send.
pub fn command(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, command: &Command<'_>) {
    out.extend_from_slice(tag.as_ref());
    match command {
        Command::Authenticate { mechanism, initial } => {
            out.extend_from_slice(b" AUTHENTICATE ");
            word(out, mechanism);
            match initial.as_deref() {
                None => {}
                Some(b"=") => out.extend_from_slice(b" \"=\""),
                Some(initial) => arguments(out, &[initial]),
            }
        }
        Command::StartTls => out.extend_from_slice(b" STARTTLS"),
        Command::Compress { algorithm } => {
            out.extend_from_slice(b" COMPRESS ");
            word(out, algorithm);
        }
        Command::Logout => out.extend_from_slice(b" LOGOUT"),
        Command::Noop => out.extend_from_slice(b" NOOP"),
        Command::Activate {
            name,
            location,
            acl,
        } => {
            out.extend_from_slice(b" ACTIVATE");
            arguments(out, &[name, location, acl]);
        }
        Command::Reserve { name, location } => {
            out.extend_from_slice(b" RESERVE");
            arguments(out, &[name, location]);
        }
        Command::Deactivate { name, location } => {
            out.extend_from_slice(b" DEACTIVATE");
            arguments(out, &[name, location]);
        }
        Command::Delete { name } => {
            out.extend_from_slice(b" DELETE");
            arguments(out, &[name]);
        }
        Command::Find { name } => {
            out.extend_from_slice(b" FIND");
            arguments(out, &[name]);
        }
        Command::List { prefix } => {
            out.extend_from_slice(b" LIST");
            arguments(out, prefix.as_slice());
        }
        Command::Update { hosts } => {
            out.extend_from_slice(b" UPDATE");
            arguments(out, hosts);
        }
        Command::Resync(command) => resync::command(out, command),
    }
    out.extend_from_slice(LINE_END);
}

fn arguments(out: &mut Vec<u8>, arguments: &[impl AsRef<[u8]>]) {
    for argument in arguments {
        out.push(b' ');
        literal(out, argument.as_ref());
    }
}

/// A name that is quoted, unless it has octets that can't be.
fn word(out: &mut Vec<u8>, name: &[u8]) {
    if name.iter().all(|&octet| printable(octet) == octet) {
        quoted(out, name);
    } else {
        literal(out, name);
    }
}

fn status(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, word: &[u8], text: &str) {
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(word);
    quoted(out, text.as_bytes());
    out.extend_from_slice(LINE_END);
}

fn status_bare(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, word: &[u8], text: impl AsRef<[u8]>) {
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(word);
    out.extend(text.as_ref().iter().map(|&octet| printable(octet)));
    out.extend_from_slice(LINE_END);
}

fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(printable(octet));
    }
    out.push(b'"');
}

/// What would end a line, or a string for a peer in C, becomes a question mark.
fn printable(octet: u8) -> u8 {
    if matches!(octet, b'\r' | b'\n' | 0) {
        b'?'
    } else {
        octet
    }
}

/// What stands behind the name in a line of MAILBOX.
fn location_and_acl(out: &mut Vec<u8>, location: LocationRef<'_>, acl: AclRef<'_>) {
    out.push(b' ');
    literal(out, location.as_bytes());
    out.push(b' ');
    literal(out, acl.as_bytes());
    out.extend_from_slice(LINE_END);
}

fn mailbox_name(out: &mut Vec<u8>, name: NameRef<'_>) {
    literal_header(out, name.len());
    name.write_to(out);
}

fn literal(out: &mut Vec<u8>, octets: &[u8]) {
    literal_header(out, octets.len());
    out.extend_from_slice(octets);
}

/// There are three in every line of a dump, nearly all of them shorter than a hundred octets.
fn literal_header(out: &mut Vec<u8>, len: usize) {
    match len {
        0..10 => out.extend_from_slice(&[b'{', digit(len), b'+', b'}', b'\r', b'\n']),
        10..100 => {
            let (tens, ones) = (digit(len / 10), digit(len));
            out.extend_from_slice(&[b'{', tens, ones, b'+', b'}', b'\r', b'\n']);
        }
        _ => {
            out.push(b'{');
            number(out, len);
            out.extend_from_slice(b"+}\r\n");
        }
    }
}

fn number(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        self::number(out, number / 10);
    }
    out.push(digit(number));
}

/// The last digit of a number.
fn digit(number: usize) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

const MAILBOX: &[u8] = b" MAILBOX ";
const LINE_END: &[u8] = b"\r\n";
