//! A client against a server that says what a script tells it to.

#[cfg(test)]
mod peer;

use std::time::Duration;

use client::{Client, Error, Listed, Login, Options, Timeouts, Tls, Update};
use peer::{BANNER, LOGIN, Peer, Say, connect, entry, location, name};
use proto::codec::Status;
use proto::{Acl, Entry, ReservedBy};
use tokio::time::timeout;

#[tokio::test]
async fn commands_go_out_as_cyrus_clients_send_them() {
    let peer = Peer::scripted([
        Say::Hear("C2 ACTIVATE {6+}\r\nuser.a {5+}\r\nbe1!p {6+}\r\na\tlrs\t\r\n"),
        Say::Tell("C2 OK \"done\"\r\n"),
        Say::Hear("C3 RESERVE {6+}\r\nuser.b {5+}\r\nbe1!p\r\n"),
        Say::Tell("C3 NO \"mailbox already exists\"\r\n"),
        Say::Hear("C4 DEACTIVATE {6+}\r\nuser.a {5+}\r\nbe1!p\r\n"),
        Say::Tell("C4 ok {4+}\r\ndone\r\n"),
        Say::Hear("C5 DELETE {6+}\r\nuser.a\r\n"),
        Say::Tell("* BAD \"Need command\"\r\n"),
        Say::Hear("C6 NOOP\r\n"),
        Say::Tell("C6 OK Noop done\r\n"),
        Say::Hear("C7 LOGOUT\r\n"),
        Say::Tell("* BYE \"bye\"\r\n"),
    ]);
    let mut client = connect(&peer).await.unwrap();
    assert_eq!(client.banner().mechanisms, ["PLAIN"]);
    assert_eq!(client.banner().servername, "master.murder.test");
    assert!(client.banner().is_master() && client.banner().offers("compress"));
    let acl = Acl::try_from(b"a\tlrs\t".as_slice()).unwrap();
    client
        .activate(&name("user.a"), &location("be1!p"), &acl)
        .await
        .unwrap();
    let refused = client.reserve(&name("user.b"), &location("be1!p")).await;
    match refused.unwrap_err() {
        Error::Refused {
            command: "RESERVE",
            status: Status::No,
            text,
        } => {
            assert_eq!(text, "mailbox already exists");
        }
        other => panic!("{other}"),
    }
    client
        .deactivate(&name("user.a"), &location("be1!p"))
        .await
        .unwrap();
    assert!(
        client
            .delete(&name("user.a"))
            .await
            .unwrap_err()
            .is_refusal()
    );
    client.noop().await.unwrap();
    client.logout().await.unwrap();
    peer.done().await;
}

#[tokio::test]
async fn find_and_list_yield_entries() {
    let peer = Peer::scripted([
        Say::Hear("C2 FIND {6+}\r\nuser.a\r\n"),
        Say::Tell("C2 MAILBOX {6}\r\nuser.a \"be1!p\" {6+}\r\na\tlrs\t\r\nC2 OK \"x\"\r\n"),
        Say::Hear("C3 FIND {6+}\r\nuser.z\r\n"),
        Say::Tell("C3 OK \"Search completed\"\r\n"),
        Say::Hear("C4 LIST {4+}\r\nbe1!\r\n"),
        Say::Tell(
            "C4 mailbox \"user.a\" \"be1!p\" \"a\tlrs\t\"\r\nC4 RESERVE \"user.b\" \"be1!\"\r\n",
        ),
        Say::Tell("C4 MAILBOX {2+}\r\n.. {3+}\r\nbe1 {0+}\r\n\r\nC4 OK \"list complete\"\r\n"),
        Say::Hear("C5 LIST\r\n"),
        Say::Tell("C5 RESERVE \"user.c\" \"be1!\"\r\nC5 RESERVE \"user.d\" \"be1!\"\r\n"),
        Say::Hear("C6 NOOP\r\n"),
        Say::Tell("C5 RESERVE \"user.e\" \"be1!\"\r\nC5 OK \"list complete\"\r\nC6 OK \"\"\r\n"),
    ]);
    let mut client = connect(&peer).await.unwrap();
    let found = client.find(&name("user.a")).await.unwrap();
    assert_eq!(found, Some(entry("be1!p", "a\tlrs\t")));
    assert_eq!(client.find(&name("user.z")).await.unwrap(), None);
    let mut listing = client.list(Some(b"be1!"));
    let mut listed = Vec::new();
    while let Some(one) = listing.next().await.unwrap() {
        listed.push(one);
    }
    let by = ReservedBy::Reserve;
    let reserved = Entry::Reserved {
        location: location("be1!"),
        by,
    };
    assert_eq!(
        listed[..2],
        [
            Listed::Mailbox {
                name: name("user.a"),
                entry: entry("be1!p", "a\tlrs\t")
            },
            Listed::Mailbox {
                name: name("user.b"),
                entry: reserved
            },
        ]
    );
    assert!(matches!(&listed[2], Listed::Unusable(unusable) if unusable.name == b".."));
    assert_eq!(listed.len(), 3);
    // Left after its first line, a listing does not disturb what follows.
    client.list(None).next().await.unwrap();
    client.noop().await.unwrap();
    peer.done().await;
}

#[tokio::test]
async fn a_stream_is_a_dump_and_then_changes() {
    let peer = Peer::scripted([
        Say::Hear("C2 UPDATE {3+}\r\nbe1\r\n"),
        Say::Tell("C2 MAILBOX {6+}\r\nuser.a {5+}\r\nbe1!p {0+}\r\n\r\n"),
        Say::Tell("C2 OK \"streaming starts\"\r\n"),
        Say::Hear("C3 NOOP\r\n"),
        Say::Tell(
            "ZZ delete \"user.a\"\r\n* RESERVE \"user.b\" \"be2!\"\r\nC3 OK \"Noop done\"\r\n",
        ),
    ]);
    let mut updates = connect(&peer).await.unwrap().update(&[b"be1"]);
    let first = Update::Mailbox {
        name: name("user.a"),
        entry: entry("be1!p", ""),
    };
    assert_eq!(updates.next().await.unwrap(), first);
    assert!(!updates.is_live());
    assert_eq!(updates.next().await.unwrap(), Update::DumpComplete);
    assert!(updates.is_live());
    // Nothing comes: the caller gives up waiting, and goes on later.
    timeout(Duration::from_millis(20), updates.next())
        .await
        .unwrap_err();
    let barrier = updates.barrier().unwrap();
    assert_eq!(
        updates.next().await.unwrap(),
        Update::Delete {
            name: name("user.a")
        }
    );
    assert!(matches!(
        updates.next().await.unwrap(),
        Update::Mailbox { .. }
    ));
    assert_eq!(updates.next().await.unwrap(), Update::Reached(barrier));
    peer.done().await;
    assert!(matches!(updates.next().await.unwrap_err(), Error::Closed));
}

#[tokio::test]
async fn a_dump_that_is_refused_or_cut_off_is_an_error() {
    let line = "C2 MAILBOX {6+}\r\nuser.a {5+}\r\nbe1!p {0+}\r\n\r\n";
    for (last, expected) in [
        ("C2 NO \"no\"\r\n", "UPDATE refused: no"),
        ("C2 BAD \"bad\"\r\n", "UPDATE refused: bad"),
        ("* BYE \"bye\"\r\n", "server said BYE: bye"),
        ("C2 MAILBOX {6+}\r\nuse", "server closed the connection"),
        ("C2 FOO \"x\"\r\n", "malformed response"),
    ] {
        let peer = Peer::scripted([Say::Hear("C2 UPDATE\r\n"), Say::Tell(line), Say::Tell(last)]);
        let mut updates = connect(&peer).await.unwrap().update(&[]);
        assert!(matches!(
            updates.next().await.unwrap(),
            Update::Mailbox { .. }
        ));
        assert_eq!(updates.next().await.unwrap_err().to_string(), expected);
        peer.done().await;
    }
}

#[tokio::test]
async fn a_server_that_is_silent_or_unwilling_is_reported() {
    let peer = Peer::raw([Say::Tell("* BYE \"Server Unable\"\r\n")]);
    let bye = connect(&peer).await.unwrap_err();
    assert!(matches!(bye, Error::Bye { text } if text == "Server Unable"));

    let peer = Peer::raw([
        Say::Tell(BANNER),
        Say::Hear(LOGIN),
        Say::Tell("C1 NO \"no\"\r\n"),
    ]);
    assert!(connect(&peer).await.unwrap_err().is_refusal());

    let peer = Peer::raw([Say::Tell("* AUTH GSSAPI\r\n* OK\r\n")]);
    assert!(matches!(connect(&peer).await.unwrap_err(), Error::Sasl(_)));

    let peer = Peer::raw([Say::Wait]);
    let timeouts = Timeouts::each(Duration::from_millis(50));
    let options = Options::new(Login::password("mupd", "secret".into()), timeouts);
    let silent = Client::connect("127.0.0.1", peer.port(), &options).await;
    assert!(matches!(
        silent.unwrap_err(),
        Error::TimedOut {
            waiting_for: "the banner"
        }
    ));
}

#[tokio::test]
async fn tls_that_is_required_and_not_offered_is_an_error() {
    let peer = Peer::raw([Say::Tell(BANNER)]);
    let tls = transport::tls::TlsClient::load(&transport::tls::TlsClientConfig::default());
    let options = Options {
        tls: Tls::Required(tls.unwrap()),
        ..peer::options()
    };
    let refused = Client::connect("127.0.0.1", peer.port(), &options).await;
    assert!(matches!(refused.unwrap_err(), Error::NoStartTls));
}
