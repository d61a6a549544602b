//! The server against messages written by hand.

use super::*;

#[tokio::test]
async fn no_initial_response_gets_an_empty_challenge() {
    let site = Site::new();
    let server = site.authenticator(None, true);
    let mut plain = server.start(b"PLAIN", &clear()).unwrap();
    assert_eq!(challenge(plain.step(None).await), "");
    let step = plain.step(Some(b"\0mupd\0secret")).await;
    assert!(matches!(step, SaslStep::Done { identity, .. } if identity == "mupd"));
    let mut scram = server.start(b"SCRAM-SHA-256", &clear()).unwrap();
    assert_eq!(challenge(scram.step(None).await), "");
    let first = challenge(scram.step(Some(b"n,,n=mupd,r=fixedclientnonce")).await);
    assert!(
        first.starts_with("r=fixedclientnonce") && first.ends_with(",i=4096"),
        "{first}"
    );
}

/// A SCRAM exchange up to the server's final message.
async fn proven(server: &Authenticator) -> Exchange {
    let who = credentials("mupd", PASSWORD);
    let mut client =
        ClientExchange::choose(["SCRAM-SHA-256"], &who, &ClientPolicy::password()).unwrap();
    let mut exchange = server.start(b"SCRAM-SHA-256", &clear()).unwrap();
    let first = exchange
        .step(Some(&client.initial_response().unwrap()))
        .await;
    let answer = client.answer(challenge(first).as_bytes()).unwrap();
    let last = challenge(exchange.step(Some(&answer)).await);
    assert!(last.starts_with("v="), "{last}");
    exchange
}

#[tokio::test]
async fn the_last_message_wants_an_empty_answer() {
    let site = Site::new();
    let server = site.authenticator(None, false);
    let mut exchange = proven(&server).await;
    assert!(matches!(
        exchange.step(Some(b"")).await,
        SaslStep::Done { .. }
    ));
    assert_eq!(
        reason(exchange.step(Some(b"")).await),
        FailureReason::OutOfTurn
    );
    let mut exchange = proven(&server).await;
    assert_eq!(
        reason(exchange.step(Some(b"N01 NOOP")).await),
        FailureReason::OutOfTurn
    );
    let mut exchange = proven(&server).await;
    assert_eq!(reason(exchange.step(None).await), FailureReason::OutOfTurn);
    // Cancelled: dropped, and the next one works.
    drop(proven(&server).await);
    assert!(
        log_in(&server, "PLAIN", &credentials("mupd", PASSWORD))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn malformed_messages_end_the_exchange() {
    let site = Site::new();
    let server = site.authenticator(None, true);
    let long = vec![b'x'; 20_000];
    let bad_plain: [&[u8]; 8] = [
        b"",
        b"x",
        b"\0\0",
        b"\0mupd",
        b"\0mupd\0",
        b"\0mupd\0a\0b",
        b"\0\xff\0secret",
        &long,
    ];
    let bad_first: [&[u8]; 12] = [
        b"",
        b",",
        b",,",
        b"n,x,n=mupd,r=abc",
        b"n,a,n=mupd,r=abc",
        b"n,,n,r=abc",
        b"n,,n=mupd,r",
        b"n,,n=mupd,",
        b"n,,,",
        b"p=tls-unique,,n=mupd,r=abc",
        b"n,,m=ext,n=mupd,r=abc",
        b"n,,n=\xff,r=abc",
    ];
    let plain = bad_plain.map(|message| ("PLAIN", message));
    let scram = bad_first.map(|message| ("SCRAM-SHA-1", message));
    for (mechanism, message) in plain.into_iter().chain(scram) {
        let mut exchange = server.start(mechanism.as_bytes(), &clear()).unwrap();
        let step = exchange.step(Some(message)).await;
        assert_eq!(
            reason(step),
            FailureReason::Malformed,
            "{mechanism} {message:?}"
        );
    }
    let bad_final: [&[u8]; 8] = [
        b"",
        b"c",
        b"c=biws",
        b"c=biws,r",
        b"c=biws,r=abc,p",
        b"c=biws,r=abc,p=AAAA,",
        b",,,",
        b"c=biws,r=abc,x,p=AAAA",
    ];
    for message in bad_final {
        let mut exchange = server.start(b"SCRAM-SHA-1", &clear()).unwrap();
        challenge(exchange.step(Some(b"n,,n=mupd,r=abc")).await);
        let step = exchange.step(Some(message)).await;
        assert_eq!(reason(step), FailureReason::Malformed, "{message:?}");
        assert_eq!(
            reason(exchange.step(Some(message)).await),
            FailureReason::OutOfTurn
        );
    }
}

#[tokio::test]
async fn a_proof_for_another_nonce_or_header_is_wrong() {
    let site = Site::new();
    let server = site.authenticator(None, true);
    for answer in [
        "c=biws,r=abc,p=AAAA",
        "c=biws,r=other,p=AAAA",
        "c=eSws,r=abc,p=AAAA",
    ] {
        let mut exchange = server.start(b"SCRAM-SHA-1", &clear()).unwrap();
        challenge(exchange.step(Some(b"n,,n=mupd,r=abc")).await);
        let step = exchange.step(Some(answer.as_bytes())).await;
        assert_eq!(reason(step), FailureReason::WrongPassword, "{answer}");
    }
}

/// Salt and iterations that a server shows for a name.
async fn shown(server: &Authenticator, name: &str) -> String {
    let mut exchange = server.start(b"SCRAM-SHA-256", &clear()).unwrap();
    let first = challenge(
        exchange
            .step(Some(format!("n,,n={name},r=abc").as_bytes()))
            .await,
    );
    first.split_once(",s=").unwrap().1.to_owned()
}

#[tokio::test]
async fn unknown_users_have_a_salt_of_their_own_for_ever() {
    let site = Site::new();
    let server = site.authenticator(None, false);
    let ghost = shown(&server, "ghost").await;
    assert_eq!(ghost.len(), shown(&server, "mupd").await.len());
    assert_ne!(ghost, shown(&server, "spirit").await);
    // Another process, another version of the file, the same salt.
    set_password(&site.path, "third", b"x").unwrap();
    let restarted = site.authenticator(None, false);
    assert_eq!(ghost, shown(&restarted, "ghost").await);
}
