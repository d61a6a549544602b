//! A master that does what a test tells it, line by line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proto::codec::encode;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{active, name};

/// Listens; each link is played by the test.
pub(crate) struct Scripted {
    listener: TcpListener,
}

/// A slave that has logged in and sent UPDATE.
pub(crate) struct Link {
    stream: BufReader<TcpStream>,
    tag: String,
}

impl Scripted {
    pub(crate) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next link, at its UPDATE. One that a slave has given up before that does not count.
    pub(crate) async fn link(&self) -> Link {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            if let Some(link) = Link::greet(stream).await {
                return link;
            }
        }
    }

    /// The next link, with a dump of these names whose end is proven.
    pub(crate) async fn live_link(&self, names: &[impl AsRef<str>]) -> Link {
        let mut link = self.link().await;
        link.dump(names).await;
        link.end_dump().await;
        link
    }

    /// Closes every connection at once, and counts them.
    pub(crate) fn slam(self) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                drop(self.listener.accept().await.unwrap());
                counting.fetch_add(1, Ordering::SeqCst);
            }
        });
        count
    }
}

impl Link {
    /// Banner, log-in and UPDATE.
    async fn greet(stream: TcpStream) -> Option<Self> {
        let mut link = Self {
            stream: BufReader::new(stream),
            tag: String::new(),
        };
        link.send(b"* AUTH PLAIN\r\n* OK MUPDATE \"m\" \"scripted\" \"0\" \"(master)\"\r\n")
            .await;
        let login = link.line().await?;
        if login.ends_with("+}") {
            link.line().await?;
        }
        let tag = first_word(&login);
        link.send(format!("{tag} OK \"Authenticated\"\r\n").as_bytes())
            .await;
        let update = link.line().await?;
        assert!(update.ends_with(" UPDATE"), "{update}");
        link.tag = first_word(&update);
        Some(link)
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        // The slave may be gone; what it did of this is what a test looks at.
        drop(self.stream.get_mut().write_all(octets).await);
    }

    /// The next line without its end; `None` when the slave has closed.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    pub(crate) async fn mailbox(&mut self, mailbox: &str) {
        self.mailbox_on(mailbox, "be1!default").await;
    }

    pub(crate) async fn mailbox_on(&mut self, mailbox: &str, location: &str) {
        let mut out = Vec::new();
        encode::entry_line(&mut out, &self.tag, &name(mailbox), &active(location));
        self.send(&out).await;
    }

    pub(crate) async fn delete(&mut self, mailbox: &str) {
        let mut out = Vec::new();
        encode::delete_line(&mut out, &self.tag, &name(mailbox));
        self.send(&out).await;
    }

    pub(crate) async fn dump(&mut self, names: &[impl AsRef<str>]) {
        let mut out = Vec::new();
        for mailbox in names {
            let entry = active("be1!default");
            encode::entry_line(&mut out, &self.tag, &name(mailbox.as_ref()), &entry);
        }
        self.send(&out).await;
    }

    /// A status response to UPDATE.
    pub(crate) async fn status(&mut self, word: &str) {
        let line = format!("{} {word} \"scripted\"\r\n", self.tag);
        self.send(line.as_bytes()).await;
    }

    /// OK to UPDATE, and to the NOOP that proves it.
    pub(crate) async fn end_dump(&mut self) {
        self.status("OK").await;
        self.answer_noop().await;
    }

    /// Waits for a NOOP; returns its tag, or `None` when the slave has closed.
    pub(crate) async fn noop(&mut self) -> Option<String> {
        let line = self.line().await?;
        assert!(line.ends_with(" NOOP"), "{line}");
        Some(first_word(&line))
    }

    pub(crate) async fn ok(&mut self, tag: &str) {
        self.send(format!("{tag} OK \"Noop done\"\r\n").as_bytes())
            .await;
    }

    pub(crate) async fn answer_noop(&mut self) {
        let tag = self.noop().await.expect("a NOOP");
        self.ok(&tag).await;
    }

    /// Answers NOOPs until the slave closes; returns how many.
    pub(crate) async fn answer_noops(mut self) -> usize {
        let mut count = 0;
        while let Some(tag) = self.noop().await {
            self.ok(&tag).await;
            count += 1;
        }
        count
    }
}

fn first_word(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}
