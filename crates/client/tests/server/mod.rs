//! A server of log-ins and NOOP, and the certificates it needs.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::{Login, Options, Timeouts};
use proto::codec::{Tag, encode, encode_sasl_line};
use proto::session::{Request, SaslAnswer, ServerSession, SessionConfig, Step};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transport::Stream;
use transport::sasl::{AuthConfig, Authenticator, Exchange, SaslStep, Security};
use transport::tls::{
    AuthorityFiles, CertificateFiles, ServerVerification, TlsClient, TlsClientConfig, TlsServer,
    TlsServerConfig,
};
use transport::users::{UsersFile, set_password};

pub(crate) fn options(password: &str) -> Options {
    let timeouts = Timeouts::each(Duration::from_secs(30));
    Options::new(Login::password("mupd", password.into()), timeouts)
}

/// Serves connections, any number, until the test's runtime ends.
pub(crate) struct Server {
    port: u16,
    _users: TempDir,
}

impl Server {
    pub(crate) fn start(tls: Option<TlsServer>) -> Self {
        let users = tempfile::tempdir().unwrap();
        let path = users.path().join("users");
        set_password(&path, "mupd", b"secret").unwrap();
        let mechanisms = [
            "SCRAM-SHA-512",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "PLAIN",
            "EXTERNAL",
        ];
        let authenticator = Authenticator::new(AuthConfig {
            users: Arc::new(UsersFile::load(&path).unwrap()),
            mechanisms: Some(mechanisms.map(String::from).to_vec()),
            allow_plaintext: true,
            admins: vec!["mupd".into()],
        })
        .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let driver = Driver::new(socket, authenticator.clone(), tls.clone());
                tokio::spawn(driver.run());
            }
        });
        Self {
            port,
            _users: users,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

struct Driver {
    stream: Option<Stream>,
    session: ServerSession,
    authenticator: Authenticator,
    tls: Option<TlsServer>,
    exchange: Option<(Tag, Exchange)>,
}

impl Driver {
    fn new(socket: TcpStream, authenticator: Authenticator, tls: Option<TlsServer>) -> Self {
        Self {
            stream: Some(Stream::from_tcp(socket)),
            session: ServerSession::new(SessionConfig {
                starttls_available: tls.is_some(),
                ..SessionConfig::default()
            }),
            authenticator,
            tls,
            exchange: None,
        }
    }

    async fn run(mut self) {
        self.banner().await;
        loop {
            match self.session.next() {
                Step::NeedInput => {
                    let stream = self.stream.as_mut().unwrap();
                    if stream.read_buf(self.session.buffer()).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                Step::Reply(octets) => self.send(&octets).await,
                Step::Close(octets) => return self.send(&octets).await,
                Step::Request(request) => self.carry_out(request).await,
            }
        }
    }

    async fn send(&mut self, octets: &[u8]) {
        let stream = self.stream.as_mut().unwrap();
        stream.write_all(octets).await.unwrap();
        stream.flush().await.unwrap();
    }

    async fn banner(&mut self) {
        let stream = self.stream.as_ref().unwrap();
        let mut out = Vec::new();
        let banner = encode::Banner {
            mechanisms: &self.authenticator.mechanisms(&Security::of(stream)),
            starttls: self.tls.is_some() && !stream.is_tls(),
            compress: true,
            resync: false,
            servername: "localhost",
            implementation: "test",
            version: "0",
            role: encode::BannerRole::Master,
        };
        encode::banner(&mut out, &banner);
        self.send(&out).await;
    }

    async fn carry_out(&mut self, request: Request) {
        let mut out = Vec::new();
        match request {
            Request::Authenticate {
                tag,
                mechanism,
                initial,
            } => {
                let security = Security::of(self.stream.as_ref().unwrap());
                let exchange = self.authenticator.start(&mechanism, &security).unwrap();
                self.exchange = Some((tag, exchange));
                return self.step(initial.map(Result::unwrap)).await;
            }
            Request::SaslAnswer(SaslAnswer::Data(data)) => return self.step(Some(data)).await,
            Request::StartTls { tag } => {
                encode::ok_bare(&mut out, &tag, "Begin TLS negotiation now");
                self.send(&out).await;
                let stream = self.stream.take().unwrap();
                let tls = self.tls.as_ref().unwrap();
                self.stream = Some(stream.accept_tls(tls).await.unwrap());
                self.session.tls_started();
                return self.banner().await;
            }
            Request::Compress { tag, .. } => {
                encode::ok_bare(&mut out, &tag, "DEFLATE active");
                self.send(&out).await;
                self.stream = self.stream.take().map(Stream::compress);
                return self.session.compress_started();
            }
            Request::Noop { tag } => encode::ok(&mut out, &tag, "Noop done"),
            Request::Logout { tag } => encode::ok(&mut out, &tag, "bye-bye"),
            other => panic!("{other:?}"),
        }
        self.send(&out).await;
    }

    async fn step(&mut self, input: Option<Vec<u8>>) {
        let mut out = Vec::new();
        let (tag, exchange) = self.exchange.as_mut().unwrap();
        match exchange.step(input.as_deref()).await {
            SaslStep::Challenge(challenge) => {
                encode_sasl_line(&mut out, &challenge);
                self.session.expect_sasl_answer();
            }
            SaslStep::Done { .. } => {
                encode::ok(&mut out, &*tag, "Authenticated");
                self.session.authenticated();
            }
            SaslStep::Failed(_) => {
                encode::no(&mut out, &*tag, "undefined error!");
                self.session.authentication_ended();
            }
        }
        self.send(&out).await;
    }
}

/// A CA, a certificate for `localhost` and one for the client `mupd`, made by `openssl`.
pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let certificates = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        certificates.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"
        ));
        for (name, extension) in [
            ("localhost", "subjectAltName=DNS:localhost"),
            ("mupd", "extendedKeyUsage=clientAuth"),
        ] {
            certificates.openssl(&format!(
                "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem \
                 -days 2 -subj /CN={name} -addext {extension} -addext basicConstraints=CA:FALSE"
            ));
        }
        certificates
    }

    pub(crate) fn server(&self) -> TlsServer {
        let mut config = TlsServerConfig::new(self.files("localhost"));
        config.client_authorities = self.authority();
        TlsServer::load(&config).unwrap()
    }

    /// A client that wants the server's certificate to come from the CA, with one of its own or
    /// without.
    pub(crate) fn tls_client(&self, has_certificate: bool) -> TlsClient {
        let config = TlsClientConfig {
            verification: ServerVerification::Ca,
            authorities: self.authority(),
            files: has_certificate.then(|| self.files("mupd")),
            ..TlsClientConfig::default()
        };
        TlsClient::load(&config).unwrap()
    }

    fn authority(&self) -> AuthorityFiles {
        AuthorityFiles {
            file: Some(self.directory.path().join("ca.pem")),
            directory: None,
        }
    }

    fn files(&self, name: &str) -> CertificateFiles {
        let path = |extension: &str| self.directory.path().join(name).with_extension(extension);
        CertificateFiles::new(path("pem"), path("key"))
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {errors}");
    }
}
