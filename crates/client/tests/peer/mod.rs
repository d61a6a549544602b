//! The scripted server, and short ways to write values.

use std::time::Duration;

use client::{Client, Error, Login, Options, Timeouts};
use proto::{Acl, Entry, Location, MailboxName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const BANNER: &str = "* AUTH \"PLAIN\"\r\n* COMPRESS \"DEFLATE\"\r\n* X {3+}\r\n\
    * OK MUPDATE \"master.murder.test\" \"Cyrus IMAP\" \"3.6.1\" \"(master)\"\r\n";
pub(crate) const LOGIN: &str = "C1 AUTHENTICATE \"PLAIN\" {16+}\r\nAG11cGQAc2VjcmV0\r\n";

pub(crate) enum Say {
    /// Octets that the client must send.
    Hear(&'static str),
    Tell(&'static str),
    /// Nothing, for ever.
    Wait,
}

pub(crate) struct Peer {
    port: u16,
    task: JoinHandle<()>,
}

impl Peer {
    /// Says this, in order, and closes.
    pub(crate) fn raw(script: impl IntoIterator<Item = Say>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Vec<Say> = script.into_iter().collect();
        let task = tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let (mut socket, _) = listener.accept().await.unwrap();
            for say in script {
                play(&mut socket, say).await;
            }
        });
        Self { port, task }
    }

    /// [`raw`](Self::raw) after banner and log-in.
    pub(crate) fn scripted(script: impl IntoIterator<Item = Say>) -> Self {
        let start = [
            Say::Tell(BANNER),
            Say::Hear(LOGIN),
            Say::Tell("C1 OK \"Authenticated\"\r\n"),
        ];
        Self::raw(start.into_iter().chain(script))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the end of the script, and fails if the client did not keep to it.
    pub(crate) async fn done(self) {
        self.task.await.unwrap();
    }
}

async fn play(socket: &mut TcpStream, say: Say) {
    match say {
        Say::Tell(text) => socket.write_all(text.as_bytes()).await.unwrap(),
        Say::Wait => std::future::pending().await,
        Say::Hear(text) => {
            let mut heard = vec![0; text.len()];
            socket.read_exact(&mut heard).await.unwrap();
            assert_eq!(
                heard.escape_ascii().to_string(),
                text.as_bytes().escape_ascii().to_string()
            );
        }
    }
}

pub(crate) fn options() -> Options {
    let timeouts = Timeouts::each(Duration::from_secs(30));
    Options::new(Login::password("mupd", "secret".into()), timeouts)
}

pub(crate) async fn connect(peer: &Peer) -> Result<Client, Error> {
    Client::connect("127.0.0.1", peer.port(), &options()).await
}

pub(crate) fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn location(text: &str) -> Location {
    Location::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn entry(at: &str, acl: &str) -> Entry {
    Entry::Active {
        location: location(at),
        acl: Acl::try_from(acl.as_bytes()).unwrap(),
    }
}
