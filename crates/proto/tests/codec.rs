//! Known answers: octets, what they mean, and how they are written.

use proto::codec::encode::Lines;
use proto::codec::{Command, Malformed, Response, Status, encode, parse_command, parse_response};
use proto::{Acl, AclRef, Entry, EntryRef, Location, LocationRef, MailboxName, ReservedBy};

/// Octets, the command they are, and how a client of ours writes it.
fn commands() -> Vec<(&'static [u8], Command<'static>, &'static [u8])> {
    let activate = Command::Activate {
        name: b"user.amy".into(),
        location: b"be1!p".into(),
        acl: b"amy\tlrs\t".into(),
    };
    let activated = b"A ACTIVATE {8+}\r\nuser.amy {5+}\r\nbe1!p {8+}\r\namy\tlrs\t\r\n".as_slice();
    let plain = Command::Authenticate {
        mechanism: b"PLAIN".into(),
        initial: Some(b"AG11".into()),
    };
    let external = Command::Authenticate {
        mechanism: b"EXTERNAL".into(),
        initial: Some(b"=".into()),
    };
    let externally = b"A AUTHENTICATE \"EXTERNAL\" \"=\"\r\n".as_slice();
    vec![
        (
            b"A ACTIVATE \"user.amy\" \"be1!p\" \"amy\tlrs\t\"\r\n",
            activate.clone(),
            activated,
        ),
        (
            b"A activate {8}\r\nuser.amy \"be1!p\" {8+}\r\namy\tlrs\t\n",
            activate,
            activated,
        ),
        (
            b"A FIND \"s.a\\\"b\\\\c\\d\0x\"\r\n",
            Command::Find {
                name: b"s.a\"b\\cd".into(),
            },
            b"A FIND {8+}\r\ns.a\"b\\cd\r\n",
        ),
        (b"A LIST\r\n", Command::List { prefix: None }, b"A LIST\r\n"),
        (
            b"A LIST \"\"\r\n",
            Command::List {
                prefix: Some(b"".into()),
            },
            b"A LIST {0+}\r\n\r\n",
        ),
        (
            b"A UPDATE \"be1\" {3}\r\nbe2\r\n",
            Command::Update {
                hosts: vec![b"be1".into(), b"be2".into()],
            },
            b"A UPDATE {3+}\r\nbe1 {3+}\r\nbe2\r\n",
        ),
        (
            b"A AUTHENTICATE PLAIN \"AG11\"\r\n",
            plain.clone(),
            b"A AUTHENTICATE \"PLAIN\" {4+}\r\nAG11\r\n",
        ),
        (
            b"A AUTHENTICATE {5}\r\nPLAIN {4+}\r\nAG11\r\n",
            plain,
            b"A AUTHENTICATE \"PLAIN\" {4+}\r\nAG11\r\n",
        ),
        (
            b"A AUTHENTICATE \"EXTERNAL\" ={0+}\r\n\r\n",
            external.clone(),
            externally,
        ),
        (b"A AUTHENTICATE EXTERNAL \"=\"\r\n", external, externally),
        (b"A Noop\0x\r\n", Command::Noop, b"A NOOP\r\n"),
    ]
}

#[test]
fn commands_are_read_and_written() {
    for (octets, command, canonical) in commands() {
        let (tag, parsed) = parse_command(octets).unwrap();
        assert_eq!(parsed, command);
        let mut written = Vec::new();
        encode::command(&mut written, &tag, &parsed);
        assert_eq!(
            written.escape_ascii().to_string(),
            canonical.escape_ascii().to_string()
        );
        assert_eq!(parse_command(&written).unwrap(), (tag, command));
    }
}

#[test]
fn what_is_no_command_says_where() {
    for (octets, at) in [
        (b"A FOO\r\n".as_slice(), 0),
        (b"A FIND a\r\n", 6),
        (b"A FIND \"a\" \r\n", 6),
        (b"A NOOP", 6),
        (b"A AUTHENTICATE \"EXTERNAL\" ={1+}\r\nx\r\n", 14),
    ] {
        let Malformed { at: found, .. } = parse_command(octets).unwrap_err();
        assert_eq!(found, at, "{}", octets.escape_ascii());
    }
}

#[test]
fn responses_are_read() {
    let status = |status, text: &'static [u8]| Response::Status {
        tag: b"A1",
        status,
        text: text.into(),
    };
    let go_on = |octets: &'static [u8]| parse_response(octets).unwrap();
    assert_eq!(go_on(b"A1 OK \"done\"\r\n"), status(Status::Ok, b"done"));
    assert_eq!(go_on(b"A1 no {2}\r\nno\r\n"), status(Status::No, b"no"));
    assert_eq!(
        go_on(b"A1 OK DEFLATE active\r\n"),
        status(Status::Ok, b"DEFLATE active")
    );
    assert_eq!(go_on(b"A1 BAD\r\n"), status(Status::Bad, b""));
    assert_eq!(go_on(b"A1 OK \"half\r\n"), status(Status::Ok, b"\"half"));
    assert_eq!(
        go_on(b"* OK MUPDATE \"h\" i \"v 1\" \"(master)\"\r\n"),
        Response::Greeting {
            words: vec![b"h".into(), b"i".into(), b"v 1".into(), b"(master)".into()]
        }
    );
    assert_eq!(
        go_on(b"* AUTH \"PLAIN\" GSSAPI\r\n"),
        Response::Capability {
            name: b"AUTH",
            arguments: vec![b"PLAIN".into(), b"GSSAPI".into()]
        }
    );
    assert_eq!(go_on(b"+ go ahead\r\n"), Response::GoAhead);
    assert_eq!(
        go_on(b"U Delete {3}\r\na\r\n\r\n"),
        Response::Delete {
            tag: b"U",
            name: b"a\r\n".into()
        }
    );
    for octets in [
        b"U FOO \"x\"\r\n".as_slice(),
        b"U MAILBOX \"a\" \"b\"\r\n",
        b"\r\n",
        b"x\r\n",
    ] {
        assert!(parse_response(octets).is_err(), "{}", octets.escape_ascii());
    }
}

#[test]
fn data_lines_are_those_of_cyrus() {
    let name = MailboxName::try_from(b"example.org!user.a^b.Sent".as_slice()).unwrap();
    let location = Location::try_from(b"be1!p".as_slice()).unwrap();
    let acl = Acl::try_from(b"a\tlrs\t".as_slice()).unwrap();
    let mut out = Vec::new();
    encode::mailbox_line(&mut out, "U01", &name, &location, &acl);
    let by = ReservedBy::Deactivate;
    encode::entry_line(&mut out, "U01", &name, &Entry::Reserved { location, by });
    encode::delete_line(&mut out, "U01", &name);
    let expected = "U01 MAILBOX {25+}\r\nexample.org!user.a^b.Sent {5+}\r\nbe1!p {6+}\r\na\tlrs\t\r\n\
        U01 RESERVE {25+}\r\nexample.org!user.a^b.Sent {5+}\r\nbe1!p\r\n\
        U01 DELETE {25+}\r\nexample.org!user.a^b.Sent\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn texts_cannot_end_their_line() {
    let mut out = Vec::new();
    encode::no(&mut out, "A", "a\"b\\c\r\nA OK \"x\"");
    encode::ok_bare(&mut out, "A", "x\r\nA OK");
    let expected = "A NO \"a\\\"b\\\\c??A OK \\\"x\\\"\"\r\nA OK x??A OK\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn banner_of_a_slave() {
    let mut out = Vec::new();
    let banner = encode::Banner {
        mechanisms: &[],
        starttls: true,
        compress: true,
        resync: false,
        servername: "slave.murder.test",
        implementation: "Cyrus IMAP",
        version: "3.6.1",
        role: encode::BannerRole::Slave {
            url: "mupdate://127.0.0.1:13905",
        },
    };
    encode::banner(&mut out, &banner);
    let expected = "* AUTH\r\n* STARTTLS\r\n* COMPRESS \"DEFLATE\"\r\n* PARTIAL-UPDATE\r\n\
        * OK MUPDATE \"slave.murder.test\" \"Cyrus IMAP\" \"3.6.1\" \"mupdate://127.0.0.1:13905\"\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Also where location and ACL are in one place, so that the end of a line is copied from the one before.
#[test]
fn lines_behind_each_other_are_those_made_one_by_one() {
    let locations = [b"be1!p".as_slice(), b"be2!p"].map(|text| Location::try_from(text).unwrap());
    let acls =
        [b"a\tlrs\t".as_slice(), b"", &[b'x'; 1000]].map(|text| Acl::try_from(text).unwrap());
    let active = |location: usize, acl: usize| EntryRef::Active {
        location: locations[location].lend(),
        acl: acls[acl].lend(),
    };
    let reserved = EntryRef::Reserved {
        location: locations[0].lend(),
        by: ReservedBy::Reserve,
    };
    // Equal to the one before, but elsewhere.
    let (elsewhere, acl) = (
        locations[1].as_bytes().to_vec(),
        acls[0].as_bytes().to_vec(),
    );
    let elsewhere = EntryRef::Active {
        location: LocationRef::of_known(&elsewhere),
        acl: AclRef::of_known(&acl),
    };
    let entries = [
        active(0, 0),
        active(0, 0),
        active(0, 0),
        active(1, 0),
        elsewhere,
        elsewhere,
        active(1, 0),
        active(1, 1),
        active(1, 1),
        reserved,
        reserved,
        active(1, 1),
        active(0, 2),
        active(0, 2),
        active(0, 0),
    ];
    let (mut lines, mut expected) = (Lines::new("U01", 0), Vec::new());
    for (number, &entry) in entries.iter().enumerate() {
        let name = format!("d.test!user.a^b.{number}");
        let name = MailboxName::try_from(name.as_bytes()).unwrap();
        lines.push(name.lend(), entry);
        encode::entry_line(&mut expected, "U01", &name, entry);
        assert_eq!(lines.len(), expected.len());
    }
    let octets = lines.into_octets();
    assert_eq!(
        octets.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}
