//! Responses of RESYNC (`docs/resync.md`, sections 5, 6 and 8).

use std::fmt::Display;

use super::{LINE_END, arguments, literal, quoted, word};
use crate::codec::command::ResyncCommand;
use crate::resync::{
    DigestKey, EntryHashBytes, EpochBytes, HASHES_PER_LINE_MAX, RESYNC_VERSION, SUMS_PER_LINE_MAX,
    WireSum,
};

/// `* RESYNC "1"`
pub(super) fn capability(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* RESYNC ");
    quoted(out, RESYNC_VERSION.as_bytes());
    out.extend_from_slice(LINE_END);
}

/// What follows the tag of a command. Numbers go as quoted strings.
pub(super) fn command(out: &mut Vec<u8>, command: &ResyncCommand<'_>) {
    match command {
        ResyncCommand::Resync {
            epoch,
            sequence,
            hosts,
        } => {
            out.extend_from_slice(b" RESYNC ");
            word(out, epoch);
            out.push(b' ');
            word(out, sequence);
            arguments(out, hosts);
        }
        ResyncCommand::Groups { buckets } => {
            out.extend_from_slice(b" GROUPS ");
            word(out, buckets);
        }
        ResyncCommand::Buckets { buckets, groups } => {
            out.extend_from_slice(b" BUCKETS ");
            word(out, buckets);
            arguments(out, &[groups]);
        }
        ResyncCommand::Entries { buckets, named } => {
            out.extend_from_slice(b" ENTRIES ");
            word(out, buckets);
            arguments(out, named);
        }
    }
}

/// `tag HISTORY "epoch" {32+} key ["old epoch" "last shared sequence" …]`
pub fn history(
    out: &mut Vec<u8>,
    tag: impl AsRef<[u8]>,
    epoch: EpochBytes,
    key: &DigestKey,
    forks: impl IntoIterator<Item = (EpochBytes, u64)>,
) {
    begin(out, tag, b" HISTORY ");
    quoted(out, epoch_text(epoch).as_bytes());
    out.push(b' ');
    literal(out, &key.0);
    for (old, sequence) in forks {
        out.push(b' ');
        quoted(out, epoch_text(old).as_bytes());
        number(out, sequence);
    }
    out.extend_from_slice(LINE_END);
}

/// `tag LOG "sequence"`
pub fn log(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, sequence: u64) {
    line(out, tag, b" LOG", &[sequence], None);
}

/// `tag FULL "sequence" {20+} sum`
pub fn full(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, sequence: u64, sum: WireSum) {
    line(out, tag, b" FULL", &[sequence], Some(sum));
}

/// `tag DIGEST "sequence" "buckets" {20+} sum`
pub fn digest(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, sequence: u64, buckets: u32, sum: WireSum) {
    line(out, tag, b" DIGEST", &[sequence, buckets.into()], Some(sum));
}

/// `tag POSITION "sequence"`
pub fn position(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, sequence: u64) {
    line(out, tag, b" POSITION", &[sequence], None);
}

/// `tag POINT "sequence" {20+} sum`
pub fn point(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, sequence: u64, sum: WireSum) {
    line(out, tag, b" POINT", &[sequence], Some(sum));
}

/// `tag SUMS "first" {20*n+} sums`, in as many lines as it takes; none for no sums.
pub fn sums(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, first: u32, sums: &[WireSum]) {
    let mut first = first;
    for part in sums.chunks(SUMS_PER_LINE_MAX) {
        begin(out, tag.as_ref(), b" SUMS");
        number(out, first);
        out.push(b' ');
        let mut octets = Vec::new();
        for sum in part {
            sum.write_to(&mut octets);
        }
        literal(out, &octets);
        out.extend_from_slice(LINE_END);
        first = first.saturating_add(u32::try_from(part.len()).unwrap_or(u32::MAX));
    }
}

/// `tag UNKNOWN {16*n+} hashes`, in as many lines as it takes; none for no hashes.
pub fn unknown(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, hashes: &[EntryHashBytes]) {
    for part in hashes.chunks(HASHES_PER_LINE_MAX) {
        begin(out, tag.as_ref(), b" UNKNOWN ");
        literal(out, part.as_flattened());
        out.extend_from_slice(LINE_END);
    }
}

/// `tag NO "behind sequence"`
pub fn behind(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, sequence: u64) {
    super::no(out, tag, &format!("behind {sequence}"));
}

/// An epoch as it is sent: 32 hexadecimal digits.
pub fn epoch_text(epoch: EpochBytes) -> String {
    format!("{:032x}", u128::from_be_bytes(epoch))
}

fn line(
    out: &mut Vec<u8>,
    tag: impl AsRef<[u8]>,
    word: &[u8],
    numbers: &[u64],
    sum: Option<WireSum>,
) {
    begin(out, tag, word);
    for each in numbers {
        number(out, each);
    }
    if let Some(sum) = sum {
        let mut octets = Vec::new();
        sum.write_to(&mut octets);
        out.push(b' ');
        literal(out, &octets);
    }
    out.extend_from_slice(LINE_END);
}

fn begin(out: &mut Vec<u8>, tag: impl AsRef<[u8]>, word: &[u8]) {
    out.extend_from_slice(tag.as_ref());
    out.extend_from_slice(word);
}

/// ` "number"`
fn number(out: &mut Vec<u8>, number: impl Display) {
    out.push(b' ');
    quoted(out, number.to_string().as_bytes());
}
