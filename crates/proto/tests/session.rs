//! Limits of a session, and what only ours does.

use proto::codec::Limits;
use proto::session::{Request, ServerSession, SessionConfig, Step};
use proto::{EditKind, Refusal};

fn logged_in(config: SessionConfig) -> ServerSession {
    let mut session = ServerSession::new(config);
    session.authenticated();
    session
}

fn first_step(mut session: ServerSession, input: &[u8]) -> Step {
    session.buffer().extend_from_slice(input);
    session.next()
}

fn before_login(input: &[u8]) -> Step {
    first_step(ServerSession::new(SessionConfig::default()), input)
}

fn after_login(input: &[u8]) -> Step {
    first_step(logged_in(SessionConfig::default()), input)
}

fn bye(text: &str) -> Step {
    Step::Close(format!("* BYE \"{text}\"\r\n").into_bytes())
}

fn reply(text: &str) -> Step {
    Step::Reply(text.as_bytes().to_vec())
}

#[test]
fn a_tag_ends_the_session_when_it_is_too_long() {
    let tagged = |len: usize| [&vec![b't'; len], b" LOGOUT\r\n".as_slice()].concat();
    assert!(matches!(
        before_login(&tagged(1024)),
        Step::Request(Request::Logout { .. })
    ));
    assert_eq!(before_login(&tagged(1025)), bye("tag too long"));
    assert_eq!(before_login(&[b't'; 1025]), bye("tag too long"));
}

#[test]
fn a_line_ends_the_session_when_it_is_too_long() {
    let mechanism = |len: usize| format!("1 AUTHENTICATE \"{}\"\r\n", "q".repeat(len - 19));
    assert!(matches!(
        before_login(mechanism(8192).as_bytes()),
        Step::Request(_)
    ));
    assert_eq!(
        before_login(mechanism(8193).as_bytes()),
        bye("command line too long")
    );
    let word = format!("1 {}", "W".repeat(128 * 1024 - 2));
    assert_eq!(after_login(word.as_bytes()), bye("command line too long"));
    // Also when the line is only being thrown away.
    let mut session = logged_in(SessionConfig::default());
    session.buffer().extend_from_slice(b"1 NOSUCH ");
    assert_eq!(session.next(), reply("1 BAD \"Unrecognized command\"\r\n"));
    for _ in 0..127 {
        session.buffer().extend_from_slice(&[b'x'; 1024]);
        assert_eq!(session.next(), Step::NeedInput);
    }
    session.buffer().extend_from_slice(&[b'x'; 1024]);
    assert_eq!(session.next(), bye("command line too long"));
    assert!(session.is_closed());
}

#[test]
fn a_literal_is_refused_before_it_is_read() {
    assert_eq!(
        before_login(b"1 AUTHENTICATE {32768}\r\n"),
        reply("+ go ahead\r\n")
    );
    let extra = reply("1 BAD \"Extra arguments\"\r\n");
    assert_eq!(before_login(b"1 AUTHENTICATE {32769}\r\n"), extra);
    assert_eq!(
        before_login(b"1 AUTHENTICATE {32769+}\r\n"),
        bye("literal too long")
    );
    assert_eq!(
        before_login(b"1 AUTHENTICATE {2147483648+}\r\n"),
        bye("literal too long")
    );
    assert_eq!(after_login(b"1 FIND {99999999999999999999999}\r\n"), extra);
    // All literals of a command together.
    let mut session = logged_in(SessionConfig::default());
    session.buffer().extend_from_slice(b"1 UPDATE");
    for _ in 0..8 {
        session.buffer().extend_from_slice(b" {131072+}\r\n");
        session.buffer().extend_from_slice(&vec![b'h'; 131_072]);
        assert_eq!(session.next(), Step::NeedInput);
    }
    session.buffer().extend_from_slice(b" {1+}\r\n");
    assert_eq!(session.next(), bye("literal too long"));
}

#[test]
fn a_streaming_peer_never_gets_a_bye() {
    let mut session = logged_in(SessionConfig::default());
    session.streaming();
    assert_eq!(first_step(session, &[b't'; 2000]), Step::Close(Vec::new()));
}

#[test]
fn a_sasl_line_has_a_limit() {
    let limits = Limits {
        sasl_line_bytes_max: 8,
        ..Limits::default()
    };
    let answer = |line: &[u8]| {
        let config = SessionConfig {
            limits,
            ..SessionConfig::default()
        };
        let mut session = ServerSession::new(config);
        session
            .buffer()
            .extend_from_slice(b"1 AUTHENTICATE PLAIN\r\n");
        assert!(matches!(session.next(), Step::Request(_)));
        session.expect_sasl_answer();
        first_step(session, line)
    };
    assert!(matches!(
        answer(b"AAAAAAAA\r\n"),
        Step::Request(Request::SaslAnswer(_))
    ));
    assert_eq!(answer(b"AAAAAAAAA\r\n"), bye("command line too long"));
}

#[test]
fn external_of_cyrus_clients_is_an_empty_response() {
    for input in [
        b"1 AUTHENTICATE \"EXTERNAL\" ={0+}\r\n\r\n2 NOOP\r\n".as_slice(),
        b"1 AUTHENTICATE EXTERNAL \"=\"\r\n2 NOOP\r\n",
    ] {
        let mut session = ServerSession::new(SessionConfig::default());
        session.buffer().extend_from_slice(input);
        match session.next() {
            Step::Request(Request::Authenticate {
                mechanism, initial, ..
            }) => {
                assert_eq!(mechanism, b"EXTERNAL");
                assert_eq!(initial, Some(Ok(Vec::new())));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(session.next(), Step::NeedInput);
        session.authenticated();
        assert!(matches!(
            session.next(),
            Step::Request(Request::Noop { .. })
        ));
    }
    // Anything else glued to the `=` stays an error, and its octets are no command.
    let mut session = ServerSession::new(SessionConfig::default());
    session
        .buffer()
        .extend_from_slice(b"1 AUTHENTICATE \"EXTERNAL\" ={5+}\r\nabc\r\n\r\n2 NOOP\r\n");
    assert_eq!(session.next(), reply("1 BAD \"Extra arguments\"\r\n"));
    assert_eq!(session.next(), reply("2 BAD \"Please login first\"\r\n"));
}

#[test]
fn a_name_that_cannot_be_stored_is_not_there() {
    let edit = |strict: bool, input: &[u8]| {
        let config = SessionConfig {
            strict,
            name_bytes_max: 12,
            ..SessionConfig::default()
        };
        match first_step(logged_in(config), input) {
            Step::Request(Request::Edit { edit, .. }) => edit,
            other => panic!("{other:?}"),
        }
    };
    let too_long = Refusal::NameTooLong { max: 12 };
    assert_eq!(
        edit(false, b"1 RESERVE \"user.abcdefgh\" \"h\"\r\n"),
        Err(too_long)
    );
    let kept = edit(false, b"1 DELETE \"user.abcdefgh\"\r\n").unwrap();
    assert_eq!(kept.kind, EditKind::Delete);
    let absent = Err(Refusal::DoesNotExist);
    assert_eq!(edit(true, b"1 DELETE \"a..b\"\r\n"), absent);
    assert_eq!(edit(false, b"1 DEACTIVATE \"a..b\" \"h\"\r\n"), absent);
    assert_eq!(
        after_login(b"1 DELETE \"a..b\"\r\n"),
        reply("1 OK \"done\"\r\n")
    );
    let find = after_login(b"1 FIND \"a..b\"\r\n");
    assert!(matches!(
        find,
        Step::Request(Request::Find { name: None, .. })
    ));
}

#[test]
fn pipelined_edits_come_out_without_waiting() {
    let mut session = logged_in(SessionConfig::default());
    for number in 0..200 {
        let line = format!("{number} ACTIVATE {{6+}}\r\nuser.a \"be1!p\" \"a\tlrs\t\"\r\n");
        session.buffer().extend_from_slice(line.as_bytes());
    }
    for number in 0..200 {
        match session.next() {
            Step::Request(Request::Edit { tag, edit }) => {
                assert_eq!(tag.to_string(), number.to_string());
                assert!(matches!(edit.unwrap().kind, EditKind::Activate { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(session.next(), Step::NeedInput);
}

#[test]
fn what_follows_compress_is_handed_back() {
    let mut session = logged_in(SessionConfig::default());
    session
        .buffer()
        .extend_from_slice(b"1 COMPRESS \"deflate\"\r\n\x01\x02");
    assert!(matches!(
        session.next(),
        Step::Request(Request::Compress { .. })
    ));
    assert_eq!(session.take_buffer().as_ref(), b"\x01\x02");
    session.compress_started();
    session.buffer().extend_from_slice(b"2 NOOP\r\n");
    assert!(matches!(
        session.next(),
        Step::Request(Request::Noop { .. })
    ));
}
