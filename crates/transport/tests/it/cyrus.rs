//! Cyrus's own test client against a server of a few lines: just enough MUPDATE around our layers.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use transport::Stream;
use transport::sasl::{AuthConfig, Authenticator, SaslStep, Security};
use transport::tls::{TlsServer, TlsServerConfig};
use transport::users::{UsersFile, set_password};

use crate::common::Authority;

/// From Debian's package cyrus-clients.
const MUPDATETEST: &str = "/usr/lib/cyrus/bin/mupdatetest";

struct Peer<'a> {
    authenticator: &'a Authenticator,
    tls: &'a TlsServer,
    stream: BufReader<Stream>,
    /// What was agreed on, in order.
    log: Vec<String>,
}

impl Peer<'_> {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).await.unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    async fn banner(&mut self) {
        let security = Security::of(self.stream.get_ref());
        let mechanisms = self.authenticator.mechanisms(&security).join("\" \"");
        let starttls = if security.tls { "" } else { "* STARTTLS\r\n" };
        self.send(&format!(
            "* AUTH \"{mechanisms}\"\r\n{starttls}* COMPRESS \"DEFLATE\"\r\n* PARTIAL-UPDATE\r\n\
             * OK MUPDATE \"localhost\" \"test\" \"0\" \"(master)\"\r\n"
        ))
        .await;
    }

    async fn serve(mut self) -> Vec<String> {
        self.banner().await;
        while let Some(line) = self.line().await {
            let mut words = line.split(' ');
            let tag = words.next().unwrap();
            match words.next() {
                Some("STARTTLS") => {
                    self.send(&format!("{tag} OK Begin TLS negotiation now\r\n"))
                        .await;
                    let stream = self.stream.into_inner().accept_tls(self.tls).await;
                    self.stream = BufReader::new(stream.unwrap());
                    self.log.push("TLS".to_owned());
                    self.banner().await;
                }
                Some("COMPRESS") => {
                    self.send(&format!("{tag} OK DEFLATE active\r\n")).await;
                    self.stream = BufReader::new(self.stream.into_inner().compress());
                    self.log.push("DEFLATE".to_owned());
                }
                Some("AUTHENTICATE") => {
                    let mechanism = words.next().unwrap().trim_matches('"').to_owned();
                    self.authenticate(tag, &mechanism, words.next()).await;
                }
                Some("LOGOUT") => {
                    self.send(&format!("{tag} OK \"bye-bye\"\r\n")).await;
                    break;
                }
                _ => {
                    self.send(&format!("{tag} BAD \"Unrecognized command\"\r\n"))
                        .await;
                }
            }
        }
        self.log
    }

    async fn authenticate(&mut self, tag: &str, mechanism: &str, argument: Option<&str>) {
        let security = Security::of(self.stream.get_ref());
        let mut exchange = self
            .authenticator
            .start(mechanism.as_bytes(), &security)
            .unwrap();
        let mut input = match argument {
            None => None,
            Some(literal) if literal.starts_with('{') => self.line().await,
            Some(quoted) => Some(quoted.trim_matches('"').to_owned()),
        };
        loop {
            let decoded = input.map(|text| STANDARD.decode(text).unwrap());
            match exchange.step(decoded.as_deref()).await {
                SaslStep::Challenge(message) => {
                    self.send(&format!("{}\r\n", STANDARD.encode(message)))
                        .await;
                    input = Some(self.line().await.unwrap());
                }
                SaslStep::Done { identity, .. } => {
                    self.log.push(format!("{mechanism} {identity}"));
                    return self.send(&format!("{tag} OK \"Authenticated\"\r\n")).await;
                }
                SaslStep::Failed(failure) => {
                    self.log.push(failure.to_string());
                    return self
                        .send(&format!("{tag} NO \"authentication failure\"\r\n"))
                        .await;
                }
            }
        }
    }
}

/// What the server saw of `mupdatetest` with these options.
async fn mupdatetest(
    authenticator: &Authenticator,
    tls: &TlsServer,
    options: &[&str],
) -> Vec<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut process = Command::new(MUPDATETEST)
        .args(["-p", &port, "-a", "mupd", "-u", "mupd"])
        .args(options)
        .arg("127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    input.write_all(b"L01 LOGOUT\r\n").unwrap();
    let peer = Peer {
        authenticator,
        tls,
        stream: BufReader::new(Stream::from_tcp(listener.accept().await.unwrap().0)),
        log: Vec::new(),
    };
    let log = peer.serve().await;
    drop(input);
    tokio::task::spawn_blocking(move || process.wait())
        .await
        .unwrap()
        .unwrap();
    log
}

#[tokio::test]
async fn mupdatetest_logs_in() {
    let authority = Authority::new();
    let config = TlsServerConfig::new(authority.issue("localhost", true));
    let tls = TlsServer::load(&config).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    set_password(&path, "mupd", b"secret").unwrap();
    let authenticator = Authenticator::new(AuthConfig {
        users: Arc::new(UsersFile::load_checking(&path, Duration::ZERO).unwrap()),
        mechanisms: None,
        allow_plaintext: true,
        admins: vec!["mupd".to_owned()],
    })
    .unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let options = ["-m", mechanism, "-w", "secret"];
        let log = mupdatetest(&authenticator, &tls, &options).await;
        assert_eq!(log, [format!("{mechanism} mupd")]);
        let options = ["-m", mechanism, "-w", "wrong"];
        let log = mupdatetest(&authenticator, &tls, &options).await;
        assert_eq!(log, ["wrong password"], "{mechanism}");
    }
    let log = mupdatetest(&authenticator, &tls, &["-w", "secret", "-t", "", "-q"]).await;
    assert_eq!(log, ["TLS", "SCRAM-SHA-512 mupd", "DEFLATE"]);
}
