//! Log-ins, whole and step by step, our server against our client.

mod client;
mod messages;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use transport::Secret;
use transport::sasl::{
    AuthConfig, AuthFailure, Authenticator, ClientExchange, ClientPolicy, ClientSaslError,
    Credentials, Exchange, FailureReason, SaslStep, Security,
};
use transport::users::{UsersFile, set_password};

const PASSWORD: &str = "secret";
const WITH_PASSWORD: [&str; 4] = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// A users file with an admin `mupd` and somebody else, `plainuser`.
struct Site {
    _directory: TempDir,
    path: PathBuf,
    users: Arc<UsersFile>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        set_password(&path, "mupd", PASSWORD.as_bytes()).unwrap();
        set_password(&path, "plainuser", PASSWORD.as_bytes()).unwrap();
        let users = Arc::new(UsersFile::load_checking(&path, Duration::ZERO).unwrap());
        Self {
            _directory: directory,
            path,
            users,
        }
    }

    fn authenticator(&self, mechanisms: Option<&[&str]>, allow_plaintext: bool) -> Authenticator {
        Authenticator::new(AuthConfig {
            users: Arc::clone(&self.users),
            mechanisms: mechanisms.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            allow_plaintext,
            admins: vec!["cyrus".to_owned(), "mupd".to_owned(), "a,b=c".to_owned()],
        })
        .unwrap()
    }
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

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials::new(user, Secret::from(password))
}

/// Lets the two ends talk; the identity, or why it failed.
async fn talk(server: &Authenticator, client: &mut ClientExchange) -> Result<String, AuthFailure> {
    let mut exchange = server.start(client.mechanism().as_bytes(), &under_tls(None))?;
    let mut message = client.initial_response().unwrap();
    loop {
        match exchange.step(Some(&message)).await {
            SaslStep::Challenge(challenge) => message = client.answer(&challenge).unwrap(),
            SaslStep::Done { identity, .. } => {
                client.confirm().unwrap();
                return Ok(identity);
            }
            SaslStep::Failed(failure) => return Err(failure),
        }
    }
}

async fn log_in(
    server: &Authenticator,
    mechanism: &str,
    who: &Credentials,
) -> Result<String, AuthFailure> {
    let mut client = ClientExchange::choose([mechanism], who, &ClientPolicy::password()).unwrap();
    talk(server, &mut client).await
}

fn challenge(step: SaslStep) -> String {
    match step {
        SaslStep::Challenge(message) => String::from_utf8(message).unwrap(),
        other => panic!("no challenge: {other:?}"),
    }
}

fn reason(step: SaslStep) -> FailureReason {
    match step {
        SaslStep::Failed(failure) => failure.reason,
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test]
async fn every_mechanism_logs_in() {
    let site = Site::new();
    let server = site.authenticator(None, false);
    for mechanism in WITH_PASSWORD {
        let mut who = credentials("mupd", PASSWORD);
        assert_eq!(
            log_in(&server, mechanism, &who).await.unwrap(),
            "mupd",
            "{mechanism}"
        );
        // The authentication identity decides, whatever the authorization identity.
        for other in ["mupd", "someone", ""] {
            who.authorization_id = Some(other.to_owned());
            assert_eq!(
                log_in(&server, mechanism, &who).await.unwrap(),
                "mupd",
                "{mechanism}"
            );
        }
    }
}

#[tokio::test]
async fn every_mechanism_refuses() {
    let site = Site::new();
    let server = site.authenticator(None, false);
    let cases = [
        ("mupd", "wrong", FailureReason::WrongPassword),
        ("nobody", PASSWORD, FailureReason::UnknownUser),
        ("plainuser", PASSWORD, FailureReason::NotAdmin),
        ("plainuser", "wrong", FailureReason::WrongPassword),
    ];
    for mechanism in WITH_PASSWORD {
        for (user, password, reason) in cases {
            let failure = log_in(&server, mechanism, &credentials(user, password))
                .await
                .unwrap_err();
            let expected = AuthFailure {
                reason,
                identity: Some(user.to_owned()),
            };
            assert_eq!(failure, expected, "{mechanism} {user} {password}");
        }
    }
}

#[tokio::test]
async fn names_with_signs_and_letters_beyond_ascii() {
    let site = Site::new();
    set_password(&site.path, "a,b=c", "pässword\u{2168}".as_bytes()).unwrap();
    let server = site.authenticator(None, false);
    for mechanism in WITH_PASSWORD {
        let who = credentials("a,b=c", "pa\u{308}sswordIX");
        assert_eq!(
            log_in(&server, mechanism, &who).await.unwrap(),
            "a,b=c",
            "{mechanism}"
        );
    }
}

#[test]
fn the_list_depends_on_the_connection() {
    let site = Site::new();
    let scram = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];
    let default = site.authenticator(None, false);
    assert_eq!(default.mechanisms(&clear()), scram);
    let with_plain: Vec<_> = scram.into_iter().chain(["PLAIN"]).collect();
    assert_eq!(default.mechanisms(&under_tls(Some("mupd"))), with_plain);
    assert_eq!(
        site.authenticator(None, true).mechanisms(&clear()),
        with_plain
    );
    let names = ["external", "PLAIN", "GSSAPI", "SCRAM-SHA-256", "PLAIN"];
    let listed = site.authenticator(Some(&names), false);
    assert_eq!(listed.mechanisms(&clear()), ["SCRAM-SHA-256"]);
    assert_eq!(
        listed.mechanisms(&under_tls(None)),
        ["PLAIN", "SCRAM-SHA-256"]
    );
    let all = ["EXTERNAL", "PLAIN", "SCRAM-SHA-256"];
    assert_eq!(listed.mechanisms(&under_tls(Some("mupd"))), all);
}

#[test]
fn only_what_is_listed_starts() {
    let site = Site::new();
    let server = site.authenticator(None, false);
    let refused =
        |name: &[u8], security: &Security| server.start(name, security).unwrap_err().reason;
    assert_eq!(
        refused(b"PLAIN", &clear()),
        FailureReason::MechanismNotOffered
    );
    assert_eq!(
        refused(b"EXTERNAL", &under_tls(Some("mupd"))),
        FailureReason::MechanismNotOffered
    );
    for unknown in [b"NOSUCH".as_slice(), b"", b"\xff", b"SCRAM-SHA-256-PLUS"] {
        assert_eq!(refused(unknown, &clear()), FailureReason::UnknownMechanism);
    }
    assert!(server.start(b"plain", &under_tls(None)).is_ok());
}

#[tokio::test]
async fn external() {
    let site = Site::new();
    let server = site.authenticator(Some(&["EXTERNAL"]), false);
    let start = |name| server.start(b"EXTERNAL", &under_tls(Some(name))).unwrap();
    for answer in [b"".as_slice(), b"mupd", b"someone"] {
        let step = start("mupd").step(Some(answer)).await;
        assert!(matches!(step, SaslStep::Done { identity, .. } if identity == "mupd"));
    }
    let mut exchange = start("mupd");
    assert_eq!(challenge(exchange.step(None).await), "");
    assert!(matches!(
        exchange.step(Some(b"")).await,
        SaslStep::Done { .. }
    ));
    assert_eq!(
        reason(start("stranger").step(Some(b"")).await),
        FailureReason::NotAdmin
    );
}

#[tokio::test]
async fn a_verified_password_is_remembered_until_the_file_changes() {
    let site = Site::new();
    let server = site.authenticator(None, false);
    let who = credentials("mupd", PASSWORD);
    assert!(!site.users.current().user("mupd").unwrap().is_remembered());
    log_in(&server, "PLAIN", &credentials("mupd", "wrong"))
        .await
        .unwrap_err();
    assert!(!site.users.current().user("mupd").unwrap().is_remembered());
    log_in(&server, "PLAIN", &who).await.unwrap();
    assert!(site.users.current().user("mupd").unwrap().is_remembered());
    log_in(&server, "PLAIN", &who).await.unwrap();
    let wrong = log_in(&server, "PLAIN", &credentials("mupd", "secret ")).await;
    assert_eq!(wrong.unwrap_err().reason, FailureReason::WrongPassword);
    set_password(&site.path, "mupd", b"changed").unwrap();
    let old = log_in(&server, "PLAIN", &who).await;
    assert_eq!(old.unwrap_err().reason, FailureReason::WrongPassword);
    assert!(!site.users.current().user("mupd").unwrap().is_remembered());
    log_in(&server, "PLAIN", &credentials("mupd", "changed"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_user_without_verifier_for_a_mechanism() {
    let site = Site::new();
    let text = std::fs::read_to_string(&site.path).unwrap();
    let cut: String = text
        .lines()
        .map(|line| match line.split_once("\tSCRAM-SHA-512$") {
            Some((rest, _)) => format!("{rest}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&site.path, cut).unwrap();
    let server = site.authenticator(None, false);
    let who = credentials("mupd", PASSWORD);
    let failure = log_in(&server, "SCRAM-SHA-512", &who).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::NoVerifier);
    log_in(&server, "SCRAM-SHA-256", &who).await.unwrap();
    log_in(&server, "PLAIN", &who).await.unwrap();
}

#[test]
fn nothing_shows_a_password() {
    let site = Site::new();
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        credentials("mupd", PASSWORD),
        site.users,
        site.users.current().user("mupd"),
        site.authenticator(None, true)
    );
    assert!(
        shown.contains("mupd") && !shown.contains(PASSWORD),
        "{shown}"
    );
}
