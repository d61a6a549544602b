//! TLS over real sockets, against ourselves and against `openssl s_client`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{Authority, pair};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use transport::Stream;
use transport::tls::{
    AuthorityFiles, CertificateFiles, ClientCertificates, MinimumVersion, ServerVerification,
    TlsClient, TlsClientConfig, TlsConfigError, TlsError, TlsServer, TlsServerConfig,
};

fn authorities(authority: &Authority) -> AuthorityFiles {
    AuthorityFiles {
        file: Some(authority.certificate()),
        directory: None,
    }
}

fn server(authority: &Authority, clients: ClientCertificates) -> TlsServer {
    let mut config = TlsServerConfig::new(authority.issue("master", true));
    config.client_authorities = authorities(authority);
    config.client_certificates = clients;
    TlsServer::load(&config).unwrap()
}

fn client(files: Option<CertificateFiles>) -> TlsClient {
    TlsClient::load(&TlsClientConfig {
        files,
        ..TlsClientConfig::default()
    })
    .unwrap()
}

/// One handshake and one octet each way, so that either side has seen the other's verdict.
async fn handshake(
    server: &TlsServer,
    client: &TlsClient,
    name: &str,
) -> (Result<Stream, String>, Result<Stream, String>) {
    let (near, far) = pair().await;
    let near = async {
        let mut near = near
            .connect_tls(client, name)
            .await
            .map_err(|e| e.to_string())?;
        near.write_all(b"?").await.map_err(|e| e.to_string())?;
        near.flush().await.map_err(|e| e.to_string())?;
        match near.read_u8().await {
            Ok(_) => Ok(near),
            Err(error) => Err(error.to_string()),
        }
    };
    let far = async {
        let mut far = far.accept_tls(server).await.map_err(|e| e.to_string())?;
        far.read_u8().await.map_err(|e| e.to_string())?;
        far.write_all(b"!").await.map_err(|e| e.to_string())?;
        far.flush().await.map_err(|e| e.to_string())?;
        Ok(far)
    };
    tokio::join!(near, far)
}

#[tokio::test]
async fn a_client_without_certificate_is_welcome() {
    let authority = Authority::new();
    let server = server(&authority, ClientCertificates::Optional);
    let (near, far) = handshake(&server, &client(None), "localhost").await;
    assert!(near.unwrap().is_tls());
    assert_eq!(far.unwrap().client_identity(), None);
}

#[tokio::test]
async fn a_verified_certificate_gives_the_identity() {
    let authority = Authority::new();
    let server = server(&authority, ClientCertificates::Optional);
    let client = client(Some(authority.issue("mupd", false)));
    let (near, far) = handshake(&server, &client, "localhost").await;
    assert!(near.is_ok());
    assert_eq!(far.unwrap().client_identity().as_deref(), Some("mupd"));
}

#[tokio::test]
async fn a_foreign_certificate_gives_none() {
    let authority = Authority::new();
    let foreign = client(Some(Authority::new().issue("mupd", false)));
    let lenient = server(&authority, ClientCertificates::Optional);
    let (near, far) = handshake(&lenient, &foreign, "localhost").await;
    assert!(near.is_ok());
    assert_eq!(far.unwrap().client_identity(), None);
    let strict = server(&authority, ClientCertificates::Required);
    let (near, far) = handshake(&strict, &foreign, "localhost").await;
    assert!(near.is_err());
    assert!(far.is_err());
    let (_, far) = handshake(&strict, &client(None), "localhost").await;
    assert!(far.is_err());
}

/// `openssl x509 -req` makes such ones; Cyrus shows and takes them.
#[tokio::test]
async fn certificates_of_version_1() {
    let authority = Authority::new();
    let old = TlsServerConfig::new(authority.issue_old("localhost"));
    let server = TlsServer::load(&old).unwrap();
    let (near, far) = handshake(&server, &client(None), "localhost").await;
    assert!(near.unwrap().is_tls() && far.is_ok());

    let lenient = self::server(&authority, ClientCertificates::Optional);
    let shown = client(Some(authority.issue_old("mupd")));
    let (near, far) = handshake(&lenient, &shown, "localhost").await;
    assert!(near.is_ok());
    assert_eq!(far.unwrap().client_identity(), None, "it proves nothing");
    let strict = self::server(&authority, ClientCertificates::Required);
    let (_, far) = handshake(&strict, &shown, "localhost").await;
    assert!(far.is_err());

    let other = authority.issue_old("other");
    let mixed = CertificateFiles::new(&old.files.certificate, &other.key);
    let refused = TlsServer::load(&TlsServerConfig::new(mixed)).unwrap_err();
    assert!(matches!(refused, TlsConfigError::Pair { .. }), "{refused}");
}

#[tokio::test]
async fn verification_of_the_server() {
    let authority = Authority::new();
    let server = server(&authority, ClientCertificates::Off);
    let verifying = |verification, authority: &Authority| {
        TlsClient::load(&TlsClientConfig {
            verification,
            authorities: authorities(authority),
            ..TlsClientConfig::default()
        })
        .unwrap()
    };
    let stranger = Authority::new();
    let cases = [
        (ServerVerification::No, &stranger, "elsewhere", true),
        (ServerVerification::Ca, &authority, "elsewhere", true),
        (ServerVerification::Ca, &authority, "127.0.0.1", true),
        (ServerVerification::Ca, &stranger, "localhost", false),
        (ServerVerification::Full, &authority, "localhost", true),
        (ServerVerification::Full, &authority, "elsewhere", false),
        (ServerVerification::Full, &stranger, "localhost", false),
    ];
    for (verification, authority, name, succeeds) in cases {
        let client = verifying(verification, authority);
        let (near, _) = handshake(&server, &client, name).await;
        assert_eq!(near.is_ok(), succeeds, "{verification:?} {name}");
    }
}

#[tokio::test]
async fn a_directory_of_authorities() {
    let authority = Authority::new();
    let mut config = TlsServerConfig::new(authority.issue("master", true));
    let roots = tempfile::tempdir().unwrap();
    config.client_authorities.directory = Some(roots.path().to_owned());
    assert!(matches!(
        TlsServer::load(&config),
        Err(TlsConfigError::NoCertificate { .. })
    ));
    std::fs::copy(authority.certificate(), roots.path().join("ca.crt")).unwrap();
    std::fs::write(roots.path().join("README"), "not a certificate").unwrap();
    let server = TlsServer::load(&config).unwrap();
    let client = client(Some(authority.issue("mupd", false)));
    let (_, far) = handshake(&server, &client, "localhost").await;
    assert_eq!(far.unwrap().client_identity().as_deref(), Some("mupd"));
}

#[tokio::test]
async fn the_minimum_version_is_kept() {
    let authority = Authority::new();
    let mut config = TlsServerConfig::new(authority.issue("master", true));
    config.minimum_version = MinimumVersion::Tls13;
    let server = TlsServer::load(&config).unwrap();
    assert!(!s_client(&server, &["-tls1_2"]).await.0);
    assert!(s_client(&server, &["-tls1_3"]).await.0);
}

#[tokio::test]
async fn openssl_connects() {
    let authority = Authority::new();
    let server = server(&authority, ClientCertificates::Optional);
    let ca = authority.certificate();
    let ca = ca.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let verified = [version, "-CAfile", ca, "-verify_return_error"];
        assert_eq!(
            s_client(&server, &verified).await,
            (true, None),
            "{version}"
        );
        let files = authority.issue("mupd", false);
        let shown = [
            version,
            "-cert",
            files.certificate.to_str().unwrap(),
            "-key",
            files.key.to_str().unwrap(),
        ];
        let identity = Some("mupd".to_owned());
        assert_eq!(
            s_client(&server, &shown).await,
            (true, identity),
            "{version}"
        );
    }
}

/// Whether `openssl s_client` got its line echoed, and whom the server took it for. It ends
/// without `close_notify` more often than not.
async fn s_client(server: &TlsServer, options: &[&str]) -> (bool, Option<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut process = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &address])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    input.write_all(b"N01 NOOP\n").unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let identity = match Stream::from_tcp(tcp).accept_tls(server).await {
        Err(_) => None,
        Ok(stream) => {
            let identity = stream.client_identity();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(input);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            identity
        }
    };
    let output = tokio::task::spawn_blocking(move || process.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    (output.stdout.starts_with(b"N01 NOOP"), identity)
}

#[tokio::test]
async fn only_a_plain_connection_can_start_tls() {
    let authority = Authority::new();
    let server = server(&authority, ClientCertificates::Off);
    let (near, far) = handshake(&server, &client(None), "localhost").await;
    assert!(matches!(
        far.unwrap().accept_tls(&server).await,
        Err(TlsError::AlreadyOn)
    ));
    assert!(matches!(
        near.unwrap().connect_tls(&client(None), "localhost").await,
        Err(TlsError::AlreadyOn)
    ));
    let (_near, far) = pair().await;
    assert!(matches!(
        far.compress().accept_tls(&server).await,
        Err(TlsError::AfterCompression)
    ));
    let (near, _far) = pair().await;
    assert!(matches!(
        near.connect_tls(&client(None), "no host name").await,
        Err(TlsError::ServerName { .. })
    ));
}

#[tokio::test]
async fn clear_text_instead_of_a_handshake_is_an_error() {
    let authority = Authority::new();
    let server = server(&authority, ClientCertificates::Off);
    let (mut near, far) = pair().await;
    near.write_all(b"N01 NOOP\r\nN02 NOOP\r\n").await.unwrap();
    assert!(matches!(
        far.accept_tls(&server).await,
        Err(TlsError::Handshake(_))
    ));
}

#[test]
fn mistakes_name_the_file() {
    let authority = Authority::new();
    let files = authority.issue("master", true);
    let load = |certificate: &std::path::Path, key: &std::path::Path| {
        TlsServer::load(&TlsServerConfig::new(CertificateFiles::new(
            certificate,
            key,
        )))
        .unwrap_err()
        .to_string()
    };
    let missing = authority.directory().join("missing.pem");
    assert!(load(&missing, &files.key).contains("missing.pem"));
    assert!(load(&files.certificate, &missing).contains("missing.pem"));
    let empty = authority.directory().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    assert!(load(&empty, &files.key).contains("empty.pem holds no certificate"));
    assert!(load(&files.certificate, &empty).contains("empty.pem holds no private key"));
    let broken = authority.directory().join("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert!(load(&broken, &files.key).contains("broken.pem is not valid PEM"));
    let other = authority.issue("other", true);
    let mismatch = load(&files.certificate, &other.key);
    assert!(
        mismatch.contains("master.pem") && mismatch.contains("other.key"),
        "{mismatch}"
    );
    let full = TlsClientConfig {
        verification: ServerVerification::Full,
        ..TlsClientConfig::default()
    };
    assert!(matches!(
        TlsClient::load(&full),
        Err(TlsConfigError::NoAuthority)
    ));
}
