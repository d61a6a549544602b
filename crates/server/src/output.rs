//! A socket with its unsent output.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transport::Stream;
use transport::sasl::Security;

use crate::transcripts::Transcript;

/// Read at most this much at once.
const READ_BYTES: usize = 16 * 1024;

/// The connection and what is still to be sent on it. Everything that waits here was made by the
/// session itself, one page or one chunk at a time, so it is bounded by what a session makes before
/// it waits.
pub(crate) struct Wire {
    /// Gone once an upgrade has failed.
    stream: Option<Stream>,
    pages: VecDeque<Bytes>,
    tail: Vec<u8>,
    unflushed: bool,
    transcript: Option<Transcript>,
}

/// What happened on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Some output left, perhaps all.
    Wrote,
    /// Some octets came in.
    Read,
    /// The peer has closed its sending side.
    Eof,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            pages: VecDeque::new(),
            tail: Vec::new(),
            unflushed: false,
            transcript: None,
        }
    }

    /// What is said from here on is kept.
    pub(crate) fn keep(&mut self, transcript: Transcript) {
        self.transcript = Some(transcript);
    }

    /// Small output is written here.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// A whole page follows what is there.
    pub(crate) fn push_page(&mut self, page: impl Into<Bytes>) {
        let page = page.into();
        if page.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            self.pages.push_back(mem::take(&mut self.tail).into());
        }
        // A list of nothing has a page of nothing, and sending nothing looks like a broken socket.
        if !page.is_empty() {
            self.pages.push_back(page);
        }
    }

    /// Octets not yet handed to the socket.
    pub(crate) fn unsent(&self) -> usize {
        self.tail.len() + self.pages.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether everything has left.
    pub(crate) fn is_idle(&self) -> bool {
        self.pages.is_empty() && self.tail.is_empty() && !self.unflushed
    }

    /// Sends everything.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Waits until something was sent or, with `input`, something came in. Cancelling loses nothing.
    pub(crate) async fn progress(&mut self, input: Option<&mut BytesMut>) -> io::Result<Progress> {
        let mut input = input;
        poll_fn(|cx| {
            if let Some(buffer) = input.as_deref_mut()
                && let Poll::Ready(read) = self.poll_receive(cx, buffer)
            {
                return Poll::Ready(read);
            }
            if self.is_idle() {
                return Poll::Pending;
            }
            let before = self.unsent();
            match self.poll_send(cx) {
                Poll::Ready(sent) => Poll::Ready(sent.map(|()| Progress::Wrote)),
                Poll::Pending if self.unsent() < before => Poll::Ready(Ok(Progress::Wrote)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Reads what is there, waiting for at least one octet.
    pub(crate) async fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<Progress> {
        poll_fn(|cx| self.poll_receive(cx, buffer)).await
    }

    /// Exchanges the stream for an upgraded one; there must be nothing unsent. When that fails, or is
    /// cancelled, the connection is gone.
    pub(crate) async fn upgrade<E, F>(&mut self, upgrade: impl FnOnce(Stream) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Stream, E>>,
    {
        if let Some(stream) = self.stream.take() {
            self.stream = Some(upgrade(stream).await?);
        }
        Ok(())
    }

    /// What the connection is worth to a SASL mechanism.
    pub(crate) fn security(&self) -> Security {
        self.stream.as_ref().map(Security::of).unwrap_or_default()
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_compressed)
    }

    /// Ends the connection in order, if it is still there.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            return Ok(());
        }
        self.flush().await?;
        poll_fn(|cx| Pin::new(self.live()?).poll_shutdown(cx)).await
    }

    fn live(&mut self) -> io::Result<&mut Stream> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<Progress>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        // On the stack: thousands of idle sessions must not each hold a buffer.
        let mut scratch = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut room = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(Progress::Eof));
        }
        if let Some(transcript) = &mut self.transcript {
            transcript.received(read);
        }
        buffer.extend_from_slice(read);
        Poll::Ready(Ok(Progress::Read))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        loop {
            while let Some(page) = self.pages.front_mut() {
                let sent = ready!(Pin::new(&mut *stream).poll_write(cx, page))?;
                if let Some(transcript) = &mut self.transcript {
                    transcript.sent(page.get(..sent).unwrap_or_default());
                }
                page.advance(sent);
                self.unflushed = true;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                if page.is_empty() {
                    self.pages.pop_front();
                }
            }
            if self.tail.is_empty() {
                break;
            }
            self.pages.push_back(mem::take(&mut self.tail).into());
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
