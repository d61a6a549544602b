//! Real rules, real sockets. One test, because libwrap has one set of files in a process.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use host_rules::{HostRules, HostRulesError, Tables};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn rules_are_followed_and_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let tables = Tables {
        allow: directory.path().join("allow"),
        deny: directory.path().join("deny"),
    };
    let rules = HostRules::start("mupdate", Some(tables.clone())).unwrap();
    let again = HostRules::start("mupdate", Some(tables.clone()));
    assert!(matches!(again, Err(HostRulesError::Twice)));
    let witness = directory.path().join("witness");
    let spawn = format!(
        "mupdate: 127.0.0.1: spawn (echo %d %a > {})\n",
        witness.display()
    );
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    for (allow, deny, from_v4, from_v6) in [
        ("", "", true, true),
        ("", "ALL: ALL\n", false, false),
        ("", "imap: ALL\n", true, true),
        ("mupdate: 127.0.0.1\n", "ALL: ALL\n", true, false),
        ("mupdate: [::1]\n", "mupdate: ALL\n", false, true),
        ("ALL: 127. : deny\nALL: ALL\n", "", false, true),
        ("mupdate@127.0.0.1: ALL\n", "ALL: ALL\n", true, false),
        ("imap: ALL\n", "ALL EXCEPT imap: ALL\n", false, false),
        (&spawn, "ALL: ALL\n", true, false),
        // Instead of becoming that command.
        ("ALL: ALL: twist /bin/true\n", "", false, false),
        ("", "", true, true),
    ] {
        fs::write(&tables.allow, allow).unwrap();
        fs::write(&tables.deny, deny).unwrap();
        for (address, wanted) in [(v4, from_v4), (v6, from_v6)] {
            let (_client, server) = pair(SocketAddr::new(address, 0)).await.unwrap();
            let admitted = rules.admits(&server).await;
            assert_eq!(
                admitted, wanted,
                "{address}, allow {allow:?}, deny {deny:?}"
            );
        }
    }
    assert_eq!(fs::read_to_string(witness).unwrap(), "mupdate 127.0.0.1\n");
    // A hundred at once.
    let mut answers = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let (client, server) = pair(SocketAddr::new(v4, 0)).await.unwrap();
        answers.push(tokio::spawn(rules.admits(&server)));
        sockets.push((client, server));
    }
    for answer in answers {
        assert!(answer.await.unwrap());
    }
}

async fn pair(address: SocketAddr) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(address).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}
