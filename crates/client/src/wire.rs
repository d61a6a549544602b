//! The socket of a client: commands out, responses in, both at once.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use proto::codec::{Command, ResponseLimits, ResponseSplitter, encode};
use tokio::io::AsyncWrite;
use tokio::time::timeout;
use tokio_util::io::{poll_read_buf, poll_write_buf};
use transport::Stream;
use transport::sasl::SecurityLayer;

use crate::error::Error;

/// A connection with what was read of it and what is to be written.
pub(crate) struct Wire {
    stream: Stream,
    limits: ResponseLimits,
    splitter: ResponseSplitter,
    input: BytesMut,
    output: BytesMut,
    is_flushed: bool,
    commands: u64,
    octets: Octets,
}

/// How much a connection has carried: octets of MUPDATE, before compression and TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Octets {
    /// From the server.
    pub read: u64,
    /// To the server.
    pub written: u64,
}

impl Wire {
    pub(crate) fn new(stream: Stream, limits: ResponseLimits) -> Self {
        Self {
            stream,
            limits,
            splitter: ResponseSplitter::new(limits),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_flushed: true,
            commands: 0,
            octets: Octets::default(),
        }
    }

    /// Exchanges the stream for one with another layer. What was read before is thrown away: it came
    /// through the old layer.
    pub(crate) async fn change_layer<F, E>(
        self,
        change: impl FnOnce(Stream) -> F,
    ) -> Result<Self, E>
    where
        F: Future<Output = Result<Stream, E>>,
    {
        Ok(Self {
            octets: self.octets,
            ..Self::new(change(self.stream).await?, self.limits)
        })
    }

    pub(crate) fn into_stream(self) -> (Stream, BytesMut) {
        (self.stream, self.input)
    }

    pub(crate) fn octets(&self) -> Octets {
        self.octets
    }

    /// Puts a security layer over the stream from here. What was read before came through it already.
    /// Tags go on counting.
    pub(crate) fn secure(self, layer: Box<dyn SecurityLayer>) -> io::Result<Self> {
        Ok(Self {
            commands: self.commands,
            ..Self::new(self.stream.secure(layer, &self.input)?, self.limits)
        })
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Queues a command under a tag that no other command of the connection has.
    pub(crate) fn queue(&mut self, command: &Command<'_>) -> String {
        self.commands += 1;
        let tag = format!("C{}", self.commands);
        let mut octets = Vec::new();
        encode::command(&mut octets, &tag, command);
        self.queue_octets(&octets);
        tag
    }

    pub(crate) fn queue_octets(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
        self.is_flushed = false;
    }

    /// The next response, while what is queued goes out. Loses nothing when it is cancelled.
    pub(crate) async fn receive(&mut self) -> Result<BytesMut, Error> {
        loop {
            if let Some(response) = self.splitter.next(&mut self.input)? {
                return Ok(response);
            }
            poll_fn(|cx| self.poll_progress(cx)).await?;
        }
    }

    /// [`receive`](Self::receive) with a bound on the wait.
    pub(crate) async fn receive_within(
        &mut self,
        wait: Duration,
        waiting_for: &'static str,
    ) -> Result<BytesMut, Error> {
        within(wait, waiting_for, self.receive()).await
    }

    /// Ready when something has been read.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        self.input.reserve(READ_BYTES);
        match ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.input
        ))? {
            0 => Poll::Ready(Err(Error::Closed)),
            read => {
                add(&mut self.octets.read, read);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.output.is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(poll_write_buf(stream, cx, &mut self.output))?;
            if written == 0 {
                return Poll::Ready(Err(Error::Closed));
            }
            add(&mut self.octets.written, written);
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

pub(crate) async fn within<T, E: Into<Error>>(
    wait: Duration,
    waiting_for: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    timeout(wait, work)
        .await
        .map_err(|_| Error::TimedOut { waiting_for })?
        .map_err(Into::into)
}

pub(crate) fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn add(counter: &mut u64, octets: usize) {
    *counter = counter.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
}

const READ_BYTES: usize = 16 * 1024;
