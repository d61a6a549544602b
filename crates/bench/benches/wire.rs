//! Octets to commands and back: `cargo bench -p bench --bench wire`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that fails may end"
)]

#[expect(dead_code, reason = "shared with the other benches")]
mod support;

use bytes::BytesMut;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use proto::Entry;
use proto::codec::{
    Command, Limits, ResponseLimits, ResponseSplitter, encode, parse_command, parse_response,
};
use proto::session::{ServerSession, SessionConfig, Step};

/// Commands or lines of one run.
const MANY: usize = 1000;

fn main() {
    divan::main();
}

fn commands() -> Vec<u8> {
    (0..MANY).flat_map(activate).collect()
}

fn activate(number: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    if let Entry::Active { location, acl } = support::entry(number, 0) {
        let command = Command::Activate {
            name: support::name(number).to_vec().into(),
            location: location.as_bytes().into(),
            acl: acl.as_bytes().into(),
        };
        encode::command(&mut octets, "A1", &command);
    }
    octets
}

fn lines() -> Vec<u8> {
    let mut octets = Vec::new();
    for number in 0..MANY {
        encode::entry_line(
            &mut octets,
            "U01",
            &support::name(number),
            &support::entry(number, 0),
        );
    }
    octets
}

/// A session after its log-in.
fn session() -> ServerSession {
    let mut session = ServerSession::new(SessionConfig::default());
    session.authenticated();
    session
}

/// What a server does with pipelined ACTIVATEs before the first is decided: splitting, parsing, checking.
#[divan::bench]
fn session_takes_activates(bencher: Bencher<'_, '_>) {
    let octets = commands();
    bencher
        .counter(ItemsCount::new(MANY))
        .counter(BytesCount::new(octets.len()))
        .with_inputs(|| {
            let mut session = session();
            session.buffer().extend_from_slice(&octets);
            session
        })
        .bench_values(|mut session| {
            let mut requests = 0;
            while let Step::Request(request) = session.next() {
                black_box(request);
                requests += 1;
            }
            assert_eq!(requests, MANY);
        });
}

/// Parsing alone, of one command that is known to be whole.
#[divan::bench]
fn parse_activate(bencher: Bencher<'_, '_>) {
    let one = activate(7);
    assert!(parse_command(&one).is_ok());
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| parse_command(black_box(&one)).is_ok());
}

/// Lines of a dump.
#[divan::bench]
fn encode_entries(bencher: Bencher<'_, '_>) {
    let entries: Vec<_> = (0..MANY)
        .map(|n| (support::name(n), support::entry(n, 0)))
        .collect();
    let bytes = lines().len();
    bencher
        .counter(ItemsCount::new(MANY))
        .counter(BytesCount::new(bytes))
        .with_inputs(|| Vec::with_capacity(bytes))
        .bench_values(|mut page| {
            for (name, entry) in &entries {
                encode::entry_line(&mut page, "U01", name, entry);
            }
            page
        });
}

/// What a slave does with the lines of a dump.
#[divan::bench]
fn split_and_parse_lines(bencher: Bencher<'_, '_>) {
    let octets = lines();
    bencher
        .counter(ItemsCount::new(MANY))
        .counter(BytesCount::new(octets.len()))
        .with_inputs(|| {
            (
                ResponseSplitter::new(ResponseLimits::default()),
                BytesMut::from(&*octets),
            )
        })
        .bench_values(|(mut splitter, mut input)| {
            let mut found = 0;
            while let Some(line) = splitter.next(&mut input).unwrap() {
                found += usize::from(parse_response(&line).is_ok());
            }
            assert_eq!(found, MANY);
        });
}

/// A command that comes one octet at a time.
#[divan::bench]
fn session_takes_an_activate_octet_by_octet(bencher: Bencher<'_, '_>) {
    let one = activate(7);
    assert!(one.len() < Limits::default().after_login.line_bytes_max);
    bencher
        .counter(BytesCount::new(one.len()))
        .with_inputs(session)
        .bench_values(|mut session| {
            let mut requests = 0;
            for octet in &one {
                session.buffer().extend_from_slice(&[*octet]);
                while let Step::Request(request) = session.next() {
                    black_box(request);
                    requests += 1;
                }
            }
            assert_eq!(requests, 1);
        });
}
