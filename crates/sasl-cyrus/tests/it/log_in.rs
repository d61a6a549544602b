//! Our server and our client, both by libsasl2, against a sasldb made by `saslpasswd2`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sasl_cyrus::{Admission, Client, ClientConfig, Options, Server, ServerConfig};
use tempfile::TempDir;
use transport::Secret;
use transport::sasl::{
    AuthFailure, Authenticator, ClientBackend, ClientSaslError, FailureReason, SaslStep, Security,
    SecurityLayer,
};

const HOST: &str = "master.example.org";

/// A site with a sasldb.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for user in ["ann", "bob"] {
            let mut saslpasswd2 = Command::new("saslpasswd2")
                .arg("-f")
                .arg(site.sasldb())
                .args(["-p", "-c", "-u", HOST, user])
                .stdin(Stdio::piped())
                .spawn()
                .expect("saslpasswd2 of sasl2-bin");
            let mut stdin = saslpasswd2.stdin.take().unwrap();
            stdin.write_all(b"secret").unwrap();
            drop(stdin);
            assert!(saslpasswd2.wait().unwrap().success());
        }
        site
    }

    fn sasldb(&self) -> PathBuf {
        self.directory.path().join("sasldb2")
    }

    fn options(&self) -> Arc<Options> {
        let sasldb = self.sasldb().display().to_string();
        let options = [
            ("sasl_pwcheck_method", "auxprop"),
            ("sasl_auxprop_plugin", "sasldb"),
            (
                "sasl_mech_list",
                "GSSAPI DIGEST-MD5 SCRAM-SHA-256 PLAIN EXTERNAL",
            ),
            ("sasl_sasldb_path", &sasldb),
        ];
        Arc::new(options.into_iter().collect())
    }

    fn config(&self) -> ServerConfig {
        ServerConfig {
            service: "mupdate".to_owned(),
            host: HOST.to_owned(),
            options: self.options(),
            admission: Admission {
                admins: vec!["ann".to_owned()],
                ..Admission::default()
            },
            allow_plaintext: false,
            layer_bits_min: 0,
            layer_bits_max: 256,
        }
    }

    fn server(&self) -> Authenticator {
        serving(self.config())
    }

    fn client(&self, user: &str, password: &str) -> Client {
        Client::new(ClientConfig {
            service: "mupdate".to_owned(),
            authname: Some(user.to_owned()),
            password: Some(Secret::from(password)),
            options: self.options(),
            ..ClientConfig::default()
        })
        .unwrap()
    }
}

fn serving(config: ServerConfig) -> Authenticator {
    Authenticator::with_backend(Arc::new(Server::new(config).unwrap()))
}

fn clear() -> Security {
    Security::default()
}

fn under_tls(external: Option<&str>) -> Security {
    Security {
        tls: true,
        tls_bits: 256,
        external: external.map(str::to_owned),
    }
}

type Layer = Option<Box<dyn SecurityLayer>>;

/// A whole exchange; the identity, and the layers of server and client.
async fn talk(
    server: &Authenticator,
    client: &Client,
    mechanism: &str,
    security: &Security,
) -> Result<(String, Layer, Layer), AuthFailure> {
    let offered = [mechanism.to_owned()];
    let mut ours = client
        .begin(&offered, HOST, security.clone())
        .await
        .unwrap();
    assert_eq!(ours.mechanism(), mechanism);
    let mut theirs = server.start(mechanism.as_bytes(), security)?;
    let mut input = ours.initial_response().unwrap();
    loop {
        match theirs.step(input.as_deref()).await {
            SaslStep::Challenge(challenge) => {
                let answer = ours.answer(&challenge).await;
                input = Some(answer.map_err(|_| FailureReason::OutOfTurn.unnamed())?);
            }
            SaslStep::Done { identity, layer } => {
                return Ok((identity, layer, ours.finish().unwrap()));
            }
            SaslStep::Failed(failure) => return Err(failure),
        }
    }
}

#[test]
fn lists_what_fits_the_connection() {
    let site = Site::new();
    let server = site.server();
    // No key for GSSAPI, no TLS for PLAIN.
    assert_eq!(server.mechanisms(&clear()), ["DIGEST-MD5", "SCRAM-SHA-256"]);
    let mut under_tls = server.mechanisms(&under_tls(Some("ann")));
    under_tls.sort_unstable();
    assert_eq!(
        under_tls,
        ["DIGEST-MD5", "EXTERNAL", "PLAIN", "SCRAM-SHA-256"]
    );
    let strong = serving(ServerConfig {
        layer_bits_min: 128,
        ..site.config()
    });
    assert_eq!(strong.mechanisms(&clear()), ["DIGEST-MD5"]);
}

#[tokio::test]
async fn every_mechanism_tells_right_from_wrong() {
    let site = Site::new();
    let server = site.server();
    let tls = under_tls(None);
    for (mechanism, security) in [
        ("SCRAM-SHA-256", &clear()),
        ("DIGEST-MD5", &clear()),
        ("PLAIN", &tls),
        ("DIGEST-MD5", &tls),
    ] {
        let (identity, ..) = talk(&server, &site.client("ann", "secret"), mechanism, security)
            .await
            .unwrap();
        assert_eq!(identity, "ann");
        let wrong = talk(&server, &site.client("ann", "Secret"), mechanism, security).await;
        let reason = wrong.unwrap_err().reason;
        assert_eq!(reason, FailureReason::WrongPassword, "{mechanism}");
        let other = talk(&server, &site.client("bob", "secret"), mechanism, security).await;
        let other = other.unwrap_err();
        assert_eq!(other, FailureReason::NotAdmin.of("bob"), "{mechanism}");
        let nobody = talk(&server, &site.client("eve", "secret"), mechanism, security).await;
        let reason = nobody.unwrap_err().reason;
        assert_eq!(reason, FailureReason::UnknownUser, "{mechanism}");
    }
}

#[tokio::test]
async fn external_is_the_certificate() {
    let site = Site::new();
    let server = site.server();
    let outcome = async |name: &str| {
        let mut exchange = server.start(b"external", &under_tls(Some(name))).unwrap();
        exchange.step(Some(b"")).await
    };
    assert!(
        matches!(outcome("ann").await, SaslStep::Done { identity, layer: None } if identity == "ann")
    );
    assert!(
        matches!(outcome("bob").await, SaslStep::Failed(failure) if failure == FailureReason::NotAdmin.of("bob"))
    );
}

#[tokio::test]
async fn what_is_not_offered_is_refused() {
    let site = Site::new();
    let server = site.server();
    let step = async |mechanism: &[u8], input: &[u8]| {
        let mut exchange = server.start(mechanism, &clear()).unwrap();
        match exchange.step(Some(input)).await {
            SaslStep::Failed(failure) => failure.reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        step(b"PLAIN", b"\0ann\0secret").await,
        FailureReason::MechanismNotOffered
    );
    assert_eq!(step(b"NOSUCH", b"").await, FailureReason::UnknownMechanism);
    assert_eq!(
        step(b"SCRAM-SHA-256", b"nonsense").await,
        FailureReason::Malformed
    );
    let mut exchange = server.start(b"DIGEST-MD5", &clear()).unwrap();
    assert!(matches!(
        exchange.step(None).await,
        SaslStep::Challenge(challenge) if challenge.starts_with(b"nonce=")
    ));
    assert!(matches!(
        exchange.step(Some(b"nonsense")).await,
        SaslStep::Failed(_)
    ));
    let mut exchange = server.start(b"SCRAM-SHA-256", &clear()).unwrap();
    assert!(
        matches!(exchange.step(None).await, SaslStep::Challenge(challenge) if challenge.is_empty())
    );
    assert!(
        matches!(exchange.step(None).await, SaslStep::Failed(failure) if failure.reason == FailureReason::OutOfTurn)
    );
}

#[tokio::test]
async fn the_layer_seals_and_opens() {
    let site = Site::new();
    let (_, server, client) = talk(
        &site.server(),
        &site.client("ann", "secret"),
        "DIGEST-MD5",
        &clear(),
    )
    .await
    .unwrap();
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    for (from, to) in [(&mut server, &mut client)] {
        let max = from.plain_bytes_max();
        assert!((1_000..=4_096).contains(&max), "{max}");
        let text = vec![b'x'; max];
        let (mut wire, mut plain) = (Vec::new(), Vec::new());
        from.seal(b"first", &mut wire).unwrap();
        from.seal(&text, &mut wire).unwrap();
        assert!(
            !wire.windows(5).any(|window| window == b"first"),
            "encrypted"
        );
        // In pieces of any size.
        for piece in wire.chunks(7) {
            to.open(piece, &mut plain).unwrap();
        }
        assert!(plain.strip_prefix(b"first").unwrap() == text);
    }
    // A packet whose length is more than was agreed on.
    let mut plain = Vec::new();
    let oversized = client.open(&[0x7F, 0xFF, 0xFF, 0xFF, 0, 0], &mut plain);
    assert!(oversized.is_err() && plain.is_empty());
    // A packet that somebody has changed.
    let mut wire = Vec::new();
    client.seal(b"text", &mut wire).unwrap();
    wire[5] ^= 1;
    assert!(server.open(&wire, &mut plain).is_err() && plain.is_empty());
}

#[tokio::test]
async fn a_layer_only_where_it_is_wanted() {
    let site = Site::new();
    let client = site.client("ann", "secret");
    let (_, server, ours) = talk(&site.server(), &client, "DIGEST-MD5", &under_tls(None))
        .await
        .unwrap();
    assert!(server.is_none() && ours.is_none(), "TLS is enough");
    let without = serving(ServerConfig {
        layer_bits_max: 0,
        ..site.config()
    });
    let (_, server, ours) = talk(&without, &client, "DIGEST-MD5", &clear())
        .await
        .unwrap();
    assert!(server.is_none() && ours.is_none());
}

#[tokio::test]
async fn the_client_leaves_out_what_it_cannot_begin() {
    let site = Site::new();
    let client = site.client("ann", "secret");
    let words =
        |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
    let offered = words(&["GSSAPI", "PLAIN", "SCRAM-SHA-256", "NOSUCH"]);
    let exchange = client.begin(&offered, HOST, clear()).await.unwrap();
    assert_eq!(exchange.mechanism(), "SCRAM-SHA-256");
    let none = client.begin(&words(&["NOSUCH"]), HOST, clear()).await;
    assert!(matches!(none, Err(ClientSaslError::NoMechanism { offered }) if offered == "NOSUCH"));
    let only = Client::new(ClientConfig {
        service: "mupdate".to_owned(),
        authname: Some("ann".to_owned()),
        password: Some(Secret::from("secret")),
        only: Some(words(&["plain"])),
        ..ClientConfig::default()
    })
    .unwrap();
    let exchange = only.begin(&offered, HOST, clear()).await.unwrap();
    assert_eq!(exchange.mechanism(), "PLAIN");
    let nameless = Client::new(ClientConfig::default()).unwrap();
    assert!(nameless.begin(&offered, HOST, clear()).await.is_err());
}

#[tokio::test]
async fn a_server_that_says_ok_too_early_is_not_believed() {
    let site = Site::new();
    let client = site.client("ann", "secret");
    let offered = ["SCRAM-SHA-256".to_owned()];
    let mut exchange = client.begin(&offered, HOST, clear()).await.unwrap();
    assert!(exchange.initial_response().unwrap().is_some());
    assert!(matches!(
        exchange.finish(),
        Err(ClientSaslError::ServerUnproven)
    ));
}
