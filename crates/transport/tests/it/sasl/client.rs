//! What the client chooses, and whom it believes.

use super::*;

#[test]
fn the_client_takes_the_best() {
    let who = credentials("mupd", PASSWORD);
    let choose = |offered: &[&str], policy: &ClientPolicy| {
        ClientExchange::choose(offered.iter().copied(), &who, policy)
            .map(|exchange| exchange.mechanism())
    };
    let any = ClientPolicy::password();
    let offered = [
        "PLAIN",
        "GSSAPI",
        "scram-sha-1",
        "SCRAM-SHA-512",
        "SCRAM-SHA-256",
        "EXTERNAL",
    ];
    assert_eq!(choose(&offered, &any).unwrap(), "SCRAM-SHA-512");
    assert_eq!(choose(&offered[..3], &any).unwrap(), "SCRAM-SHA-1");
    assert_eq!(choose(&["PLAIN"], &any).unwrap(), "PLAIN");
    let mut policy = any.clone();
    policy.external = true;
    assert_eq!(choose(&offered, &policy).unwrap(), "EXTERNAL");
    policy.only = Some(vec!["scram-sha-1".to_owned(), "PLAIN".to_owned()]);
    assert_eq!(choose(&offered, &policy).unwrap(), "SCRAM-SHA-1");
    policy.plaintext = false;
    let error = choose(&["PLAIN", "LOGIN"], &policy).unwrap_err();
    assert!(error.to_string().contains("PLAIN LOGIN"), "{error}");
}

#[test]
fn the_client_distrusts_the_server() {
    let start = || {
        let who = credentials("mupd", PASSWORD);
        let mut client =
            ClientExchange::choose(["SCRAM-SHA-256"], &who, &ClientPolicy::password()).unwrap();
        let first = String::from_utf8(client.initial_response().unwrap()).unwrap();
        (client, first.split_once(",r=").unwrap().1.to_owned())
    };
    for bad in [
        "",
        "r",
        "r=x,s,i",
        "r=foreign,s=AAAA,i=4096",
        "e=other-error",
        ",,",
    ] {
        let (mut client, _) = start();
        assert!(client.answer(bad.as_bytes()).is_err(), "{bad}");
        assert!(matches!(
            client.confirm(),
            Err(ClientSaslError::ServerUnproven)
        ));
    }
    for iterations in ["1", "4000000000"] {
        let (mut client, nonce) = start();
        let message = format!("r={nonce}server,s=AAAA,i={iterations}");
        assert!(matches!(
            client.answer(message.as_bytes()),
            Err(ClientSaslError::Iterations)
        ));
    }
    let (mut client, nonce) = start();
    client
        .answer(format!("r={nonce}server,s=AAAA,i=4096").as_bytes())
        .unwrap();
    // An OK now would come from someone who does not know the password.
    assert!(client.confirm().is_err());
    assert!(matches!(
        client.answer(b"v=AAAA"),
        Err(ClientSaslError::ServerUnproven)
    ));
}
