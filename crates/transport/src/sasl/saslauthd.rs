//! A client of saslauthd: one question for each password, over its socket.
//!
//! A question is five counted strings (two octets of length, most significant first): user, password,
//! service, realm, and the client's address, which releases up to 2.1.28 do not read. The answer is
//! one, beginning with `OK` or `NO`. The daemon closes after it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::Secret;

/// How long the daemon may take; it may have to ask somebody far away.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest answer that is taken; Cyrus's library takes as much.
const ANSWER_BYTES_MAX: usize = 1023;
/// Longest string of a question; the daemon takes no longer ones.
const STRING_BYTES_MAX: usize = 1024;

/// Where saslauthd listens, and what it is asked about.
#[derive(Debug, Clone)]
pub struct Saslauthd {
    socket: PathBuf,
    service: String,
}

impl Saslauthd {
    /// `socket` is the socket itself, usually called `mux` (`sasl_saslauthd_path`); `service` chooses
    /// the file below `/etc/pam.d` where saslauthd asks PAM.
    pub fn new(socket: impl AsRef<Path>, service: impl Into<String>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
            service: service.into(),
        }
    }

    /// Whether saslauthd says that this is the password. A user `name@realm` is asked for as `name` of
    /// that realm.
    pub async fn verify(&self, user: &str, password: &Secret) -> io::Result<bool> {
        let (name, realm) = user.rsplit_once('@').unwrap_or((user, ""));
        let strings = [
            name.as_bytes(),
            password.expose(),
            self.service.as_bytes(),
            realm.as_bytes(),
            b"",
        ];
        // One too long, or with a NUL, would be another string to the daemon.
        let is_askable = |string: &&[u8]| string.len() <= STRING_BYTES_MAX && !string.contains(&0);
        if !strings.iter().all(is_askable) {
            return Ok(false);
        }
        let mut question = Zeroizing::new(Vec::new());
        for string in strings {
            let length = u16::try_from(string.len()).map_err(io::Error::other)?;
            question.extend_from_slice(&length.to_be_bytes());
            question.extend_from_slice(string);
        }
        timeout(ANSWER_TIME_MAX, self.ask(&question)).await?
    }

    async fn ask(&self, question: &[u8]) -> io::Result<bool> {
        let mut socket = UnixStream::connect(&self.socket).await?;
        socket.write_all(question).await?;
        let length = usize::from(socket.read_u16().await?);
        let mut answer = vec![0; length.min(ANSWER_BYTES_MAX)];
        socket.read_exact(&mut answer).await?;
        match answer.get(..2) {
            Some(b"OK") => Ok(true),
            Some(b"NO") => Ok(false),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "neither OK nor NO from saslauthd",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A daemon that gives one answer; and the question that it got.
    async fn asked(answer: &[u8]) -> (io::Result<bool>, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("mux");
        let listener = UnixListener::bind(&socket).unwrap();
        let saslauthd = Saslauthd::new(&socket, "mupdate");
        let password = Secret::from("secret");
        let serve = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut question = vec![0; 2 + 3 + 2 + 6 + 2 + 7 + 2 + 11 + 2];
            peer.read_exact(&mut question).await.unwrap();
            peer.write_all(answer).await.unwrap();
            question
        };
        tokio::join!(saslauthd.verify("ann@example.org", &password), serve)
    }

    #[tokio::test]
    async fn asks_and_understands() {
        let (verdict, question) = asked(b"\0\x02OK").await;
        assert!(verdict.unwrap());
        assert_eq!(
            question,
            b"\0\x03ann\0\x06secret\0\x07mupdate\0\x0bexample.org\0\0"
        );
        assert!(!asked(b"\0\x09NO reason").await.0.unwrap());
        for bad in [&b""[..], b"\0", b"\0\0", b"\0\x02YE", b"\0\x05OK"] {
            assert!(asked(bad).await.0.is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_no() {
        let saslauthd = Saslauthd::new("/nonexistent/mux", "mupdate");
        let long = "x".repeat(STRING_BYTES_MAX + 1);
        for (user, password) in [("ann", &*long), (&*long, "x"), ("a\0b", "x"), ("a", "\0")] {
            let verdict = saslauthd.verify(user, &Secret::from(password)).await;
            assert!(!verdict.unwrap());
        }
        let away = saslauthd.verify("ann", &Secret::from("secret")).await;
        assert_eq!(away.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
