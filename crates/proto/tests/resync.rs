//! RESYNC (`docs/resync.md`): octets and what they mean, and which command is legal when.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proto::codec::{
    Command, Limits, Response, ResponseLimits, ResponseSplitter, ResyncCommand, ResyncResponse,
    encode, parse_command, parse_response,
};
use proto::resync::{DigestKey, Named, ResyncFrom, WireSum};
use proto::session::{Question, Request, ServerSession, SessionConfig, Step};

const EPOCH: [u8; 16] = *b"\0\x0123456789abcde\xff";

fn logged_in() -> ServerSession {
    let mut session = ServerSession::new(SessionConfig {
        resync_available: true,
        ..SessionConfig::default()
    });
    session.authenticated();
    session
}

fn comparing() -> ServerSession {
    let mut session = logged_in();
    feed(&mut session, b"1 RESYNC \"\" \"0\"\r\n");
    assert!(matches!(
        session.next(),
        Step::Request(Request::Resync { .. })
    ));
    assert!(session.is_waiting());
    session.comparing();
    session
}

fn feed(session: &mut ServerSession, octets: &[u8]) {
    session.buffer().extend_from_slice(octets);
}

/// The next step, when the octets come one at a time.
fn step(session: &mut ServerSession, octets: &[u8]) -> Step {
    for (at, octet) in octets.iter().enumerate() {
        feed(session, &[*octet]);
        let step = session.next();
        if step != Step::NeedInput {
            assert_eq!(at + 1, octets.len(), "{step:?}");
            return step;
        }
    }
    Step::NeedInput
}

fn reply(text: &str) -> Step {
    Step::Reply(format!("{text}\r\n").into_bytes())
}

#[test]
fn a_place_is_taken_apart() {
    let epoch = encode::resync::epoch_text(EPOCH);
    assert_eq!(epoch, "000132333435363738396162636465ff");
    let command = format!("R1 RESYNC \"{epoch}\" \"90210\" {{3+}}\r\nbe1 \"be2\"\r\n");
    let Step::Request(Request::Resync { tag, from, hosts }) =
        step(&mut logged_in(), command.as_bytes())
    else {
        panic!("no RESYNC");
    };
    assert_eq!(tag.as_bytes(), b"R1");
    let sequence = 90210;
    let epoch = EPOCH;
    assert_eq!(from, ResyncFrom::Place { epoch, sequence });
    assert_eq!(hosts, [b"be1", b"be2"]);
    let Step::Request(Request::Resync { from, hosts, .. }) =
        step(&mut logged_in(), b"R1 resync {0+}\r\n \"0\"\r\n")
    else {
        panic!("no RESYNC");
    };
    assert_eq!((from, hosts.len()), (ResyncFrom::Nothing, 0));
}

#[test]
fn what_is_no_place_is_bad() {
    for arguments in [
        "\"\" \"1\"",
        "\"xyz\" \"0\"",
        "\"0123456789abcdef0123456789abcdef\" \"x\"",
        "\"0123456789abcdef0123456789abcdef\" \"\"",
        "\"0123456789abcdef0123456789abcdef\" \"1\" \"\"",
    ] {
        let mut session = logged_in();
        let told = step(&mut session, format!("1 RESYNC {arguments}\r\n").as_bytes());
        assert_eq!(
            told,
            reply("1 BAD \"Badly formed arguments\""),
            "{arguments}"
        );
        let next = step(&mut session, b"2 NOOP\r\n");
        assert!(matches!(next, Step::Request(Request::Noop { .. })));
    }
    let mut session = logged_in();
    feed(&mut session, b"1 RESYNC \"\"\r\n");
    let told = session.next();
    assert_eq!(told, reply("1 BAD \"Missing arguments\""));
}

#[test]
fn nothing_is_legal_before_log_in() {
    for word in ["RESYNC", "GROUPS", "BUCKETS", "ENTRIES"] {
        let mut session = ServerSession::new(SessionConfig {
            resync_available: true,
            ..SessionConfig::default()
        });
        // Binary contents are skipped whole, whatever they spell.
        feed(
            &mut session,
            format!("1 {word} {{9+}}\r\n\0\r\n2 NOOP\r\n").as_bytes(),
        );
        assert_eq!(session.next(), reply("1 BAD \"Please login first\""));
        assert_eq!(session.next(), Step::NeedInput);
    }
    let mut session = ServerSession::new(SessionConfig::default());
    session.authenticated();
    let told = step(&mut session, b"1 RESYNC");
    assert_eq!(told, Step::NeedInput);
    let told = step(&mut session, b" ");
    assert_eq!(told, reply("1 BAD \"Unrecognized command\""));
}

#[test]
fn questions_belong_into_a_compare_and_little_else_does() {
    let mut session = logged_in();
    let told = step(&mut session, b"1 GROUPS \"16\"\r\n");
    assert_eq!(told, reply("1 BAD \"only legal in a compare\""));
    let mut session = comparing();
    assert!(session.is_comparing() && session.is_authenticated());
    for command in [
        "FIND \"a\"",
        "LIST",
        "UPDATE",
        "DELETE \"a\"",
        "COMPRESS \"DEFLATE\"",
    ] {
        let told = step(&mut session, format!("1 {command}\r\n").as_bytes());
        assert_eq!(told, reply("1 BAD \"not legal in a compare\""), "{command}");
    }
    let noop = step(&mut session, b"1 NOOP\r\n");
    assert!(matches!(noop, Step::Request(Request::Noop { .. })));
    let again = step(&mut session, b"1 RESYNC \"\" \"0\"\r\n");
    assert!(matches!(again, Step::Request(Request::Resync { .. })));
    session.streaming();
    for command in ["RESYNC \"\" \"0\"", "GROUPS \"16\""] {
        let told = step(&mut session, format!("1 {command}\r\n").as_bytes());
        assert_eq!(
            told,
            reply("1 BAD \"not legal when streaming\""),
            "{command}"
        );
    }
    let mut refused = logged_in();
    feed(&mut refused, b"1 RESYNC \"\" \"0\"\r\n2 LIST\r\n");
    assert!(matches!(
        refused.next(),
        Step::Request(Request::Resync { .. })
    ));
    assert_eq!(refused.next(), Step::NeedInput);
    refused.resync_refused();
    assert!(matches!(
        refused.next(),
        Step::Request(Request::List { .. })
    ));
}

#[test]
fn questions_are_binary() {
    let named = vec![
        Named {
            bucket: 0x0A0D_0022,
            hashes: vec![[0; 16], *b"\r\n9 NOOP\r\n\0\0\0\0\0\0"],
        },
        Named {
            bucket: 3,
            hashes: Vec::new(),
        },
    ];
    let mut records = Vec::new();
    for record in &named {
        record.write_to(&mut records);
    }
    for cut in [1, 4, 8, 30, 41] {
        let (one, other) = records.split_at(cut);
        let command = Command::Resync(ResyncCommand::Entries {
            buckets: b"32".into(),
            named: vec![one.into(), other.into()],
        });
        let mut octets = Vec::new();
        encode::command(&mut octets, "E1", &command);
        assert_eq!(parse_command(&octets).unwrap().1, command);
        let Step::Request(Request::Compare {
            buckets, question, ..
        }) = step(&mut comparing(), &octets)
        else {
            panic!("no ENTRIES");
        };
        assert_eq!((buckets, question), (32, Question::Entries(named.clone())));
    }
    let asked = step(
        &mut comparing(),
        b"1 BUCKETS \"16\" {8+}\r\n\0\0\0\0\0\0\x01\0\r\n",
    );
    assert!(matches!(
        asked,
        Step::Request(Request::Compare { question: Question::Buckets(groups), .. }) if groups == [0, 256]
    ));
    for bad in [
        b"1 GROUPS \"17\"\r\n".as_slice(),
        b"1 GROUPS \"8\"\r\n",
        b"1 BUCKETS \"16\" {3+}\r\n\0\0\0\r\n",
        b"1 BUCKETS \"16\" {0+}\r\n\r\n",
        b"1 ENTRIES \"16\" {7+}\r\n\0\0\0\0\0\0\0\r\n",
        b"1 ENTRIES \"16\" {8+}\r\n\0\0\0\0\0\0\0\x01\r\n",
    ] {
        let told = step(&mut comparing(), bad);
        assert_eq!(
            told,
            reply("1 BAD \"Badly formed arguments\""),
            "{}",
            bad.escape_ascii()
        );
    }
}

#[test]
fn a_binary_string_is_bounded() {
    let asked = |len: usize| {
        let mut session = comparing();
        let mut octets = format!("1 ENTRIES \"16\" {{{len}+}}\r\n").into_bytes();
        octets.resize(octets.len() + len, 0);
        feed(&mut session, &octets);
        feed(&mut session, b"\r\n2 NOOP\r\n");
        session.next()
    };
    assert!(matches!(
        asked(64 * 1024),
        Step::Request(Request::Compare { .. })
    ));
    assert_eq!(
        asked(64 * 1024 + 8),
        reply("1 BAD \"Badly formed arguments\"")
    );
    let max = Limits::default().after_login.literal_bytes_max;
    assert_eq!(
        asked(max + 1),
        Step::Close(b"* BYE \"literal too long\"\r\n".to_vec())
    );
}

#[test]
fn responses_are_those_of_the_specification() {
    let sum = WireSum { count: 1, root: 2 };
    let sum_text = "{20+}\r\n\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02";
    let mut out = Vec::new();
    let key = DigestKey([b'k'; 32]);
    encode::resync::history(&mut out, "R", [0xAB; 16], &key, [([1; 16], 512)]);
    encode::resync::log(&mut out, "R", 7);
    encode::resync::full(&mut out, "R", 7, sum);
    encode::resync::digest(&mut out, "R", 7, 32, sum);
    encode::resync::position(&mut out, "R", 7);
    encode::resync::point(&mut out, "R", 7, sum);
    encode::resync::sums(&mut out, "R", 16, &[sum]);
    encode::resync::unknown(&mut out, "R", &[[b'h'; 16]]);
    encode::resync::behind(&mut out, "R", 7);
    let expected = format!(
        "R HISTORY \"abababababababababababababababab\" {{32+}}\r\n{} \
         \"01010101010101010101010101010101\" \"512\"\r\n\
         R LOG \"7\"\r\nR FULL \"7\" {sum_text}\r\nR DIGEST \"7\" \"32\" {sum_text}\r\n\
         R POSITION \"7\"\r\nR POINT \"7\" {sum_text}\r\nR SUMS \"16\" {sum_text}\r\n\
         R UNKNOWN {{16+}}\r\n{}\r\nR NO \"behind 7\"\r\n",
        "k".repeat(32),
        "h".repeat(16)
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_malformed_response_is_an_error() {
    for octets in [
        "R LOG \"x\"\r\n",
        "R LOG \"1\" \"2\"\r\n",
        "R POINT \"1\"\r\n",
        "R POINT \"1\" {1+}\r\nx\r\n",
        "R POINT \"1\" {40+}\r\n0123456789012345678901234567890123456789\r\n",
        "R HISTORY \"abababababababababababababababab\" \"short\"\r\n",
        "R UNKNOWN {1+}\r\nx\r\n",
    ] {
        assert!(parse_response(octets.as_bytes()).is_err(), "{octets}");
    }
    let ignored = parse_response(b"* POINT \"1\"\r\n").unwrap();
    assert!(matches!(
        ignored,
        Response::Capability { name: b"POINT", .. }
    ));
}

fn sum() -> impl Strategy<Value = WireSum> {
    any::<(u32, u128)>().prop_map(|(count, root)| WireSum { count, root })
}

fn response() -> impl Strategy<Value = ResyncResponse> {
    let forks = vec(any::<([u8; 16], u64)>(), 0..40);
    prop_oneof![
        (any::<[u8; 16]>(), any::<[u8; 32]>(), forks).prop_map(|(epoch, key, forks)| {
            let key = DigestKey(key);
            ResyncResponse::History { epoch, key, forks }
        }),
        any::<u64>().prop_map(|sequence| ResyncResponse::Log { sequence }),
        (any::<u64>(), sum()).prop_map(|(sequence, sum)| ResyncResponse::Full { sequence, sum }),
        (any::<u64>(), any::<u32>(), sum()).prop_map(|(sequence, buckets, sum)| {
            ResyncResponse::Digest {
                sequence,
                buckets,
                sum,
            }
        }),
        any::<u64>().prop_map(|sequence| ResyncResponse::Position { sequence }),
        (any::<u64>(), sum()).prop_map(|(sequence, sum)| ResyncResponse::Point { sequence, sum }),
        (any::<u32>(), vec(sum(), 1..100))
            .prop_map(|(first, sums)| ResyncResponse::Sums { first, sums }),
        vec(any::<[u8; 16]>(), 1..100).prop_map(|hashes| ResyncResponse::Unknown { hashes }),
    ]
}

fn write(out: &mut Vec<u8>, response: &ResyncResponse) {
    match response {
        ResyncResponse::History { epoch, key, forks } => {
            encode::resync::history(out, "R", *epoch, key, forks.iter().copied());
        }
        ResyncResponse::Log { sequence } => encode::resync::log(out, "R", *sequence),
        ResyncResponse::Full { sequence, sum } => encode::resync::full(out, "R", *sequence, *sum),
        ResyncResponse::Digest {
            sequence,
            buckets,
            sum,
        } => encode::resync::digest(out, "R", *sequence, *buckets, *sum),
        ResyncResponse::Position { sequence } => encode::resync::position(out, "R", *sequence),
        ResyncResponse::Point { sequence, sum } => {
            encode::resync::point(out, "R", *sequence, *sum);
        }
        ResyncResponse::Sums { first, sums } => encode::resync::sums(out, "R", *first, sums),
        ResyncResponse::Unknown { hashes } => encode::resync::unknown(out, "R", hashes),
    }
}

proptest! {
    #[test]
    fn responses_survive_the_wire(responses in vec(response(), 1..8), piece in 1..100_usize) {
        let mut octets = Vec::new();
        for response in &responses {
            write(&mut octets, response);
        }
        let mut splitter = ResponseSplitter::new(ResponseLimits::default());
        let mut buffer = BytesMut::new();
        let mut read = Vec::new();
        for part in octets.chunks(piece) {
            buffer.extend_from_slice(part);
            while let Some(line) = splitter.next(&mut buffer).unwrap() {
                match parse_response(&line).unwrap() {
                    Response::Resync { tag: b"R", what } => read.push(what),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        prop_assert_eq!(read, responses);
    }
}

#[test]
fn many_sums_take_many_lines() {
    let mut out = Vec::new();
    let sums: Vec<WireSum> = (0..2500).map(|count| WireSum { count, root: 0 }).collect();
    encode::resync::sums(&mut out, "R", 0, &sums);
    encode::resync::unknown(&mut out, "R", &vec![[7; 16]; 4097]);
    let mut splitter = ResponseSplitter::new(ResponseLimits::default());
    let mut buffer = BytesMut::from(&*out);
    let mut lens = Vec::new();
    while let Some(line) = splitter.next(&mut buffer).unwrap() {
        match parse_response(&line).unwrap() {
            Response::Resync {
                what: ResyncResponse::Sums { first, sums },
                ..
            } => lens.push((first, sums.len())),
            Response::Resync {
                what: ResyncResponse::Unknown { hashes },
                ..
            } => lens.push((0, hashes.len())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        lens,
        [(0, 1000), (1000, 1000), (2000, 500), (0, 4096), (0, 1)]
    );
}
