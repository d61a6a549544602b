//! Raw DEFLATE (RFC 1951) over a byte stream, both ways, as COMPRESS of RFC 4978.
//!
//! Two fixed buffers of compressed octets, nothing else: what is inflated goes straight into the
//! reader's own buffer, so a small input that inflates to gigabytes costs nothing but time, and
//! that at the reader's pace.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

/// Octets of each buffer of compressed data, and the most that one read inflates.
const BUFFER_BYTES: usize = 16 * 1024;

/// Both directions of a compressed stream.
pub(super) struct Deflate {
    reader: Reader,
    writer: Writer,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            reader: Reader {
                engine: Decompress::new(false),
                input: Window::new(),
                ended: false,
            },
            writer: Writer {
                engine: Compress::new(Compression::fast(), false),
                output: Window::new(),
                unflushed: false,
            },
        }
    }

    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reader.poll_read(socket, cx, buf)
    }

    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.poll_write(socket, cx, data)
    }

    /// Brings everything written so far into `socket`, ending at an octet boundary that the peer
    /// can inflate up to. Does not flush `socket` itself.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.writer.poll_flush(socket, cx)
    }
}

/// A fixed buffer and the part of it that is still to be used.
struct Window {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Window {
    fn new() -> Self {
        Self {
            octets: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn filled(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `count` filled octets are done with.
    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// Makes an empty window hold the first `count` octets of its buffer.
    fn refilled(&mut self, count: usize) {
        self.start = 0;
        self.end = count.min(self.octets.len());
    }
}

struct Reader {
    engine: Decompress,
    input: Window,
    /// The peer ended its DEFLATE stream; nothing after that means anything.
    ended: bool,
}

impl Reader {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Inflating needs no socket, so it would never yield by itself.
        let budget = ready!(poll_proceed(cx));
        loop {
            // Before reading: the engine may hold output that did not fit last time.
            if self.inflate(buf)? || self.ended {
                budget.made_progress();
                return Poll::Ready(Ok(()));
            }
            if self.input.is_empty() && !ready!(self.poll_fill(socket, cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Inflates what is there; whether any octet came out.
    fn inflate(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let room = buf.initialize_unfilled_to(buf.remaining().min(BUFFER_BYTES));
        let (before_in, before_out) = (self.engine.total_in(), self.engine.total_out());
        let status = self
            .engine
            .decompress(self.input.filled(), room, FlushDecompress::None)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let consumed = delta(before_in, self.engine.total_in());
        let produced = delta(before_out, self.engine.total_out());
        self.ended |= matches!(status, Status::StreamEnd);
        self.input.consume(consumed);
        buf.advance(produced);
        if produced == 0 && consumed == 0 && !self.input.is_empty() && !self.ended {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "compressed data that leads nowhere",
            ));
        }
        Ok(produced > 0)
    }

    /// Reads compressed octets; `false` at the end of the connection.
    fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut raw = ReadBuf::new(&mut self.input.octets);
        ready!(Pin::new(socket).poll_read(cx, &mut raw))?;
        let count = raw.filled().len();
        self.input.refilled(count);
        Poll::Ready(Ok(count > 0))
    }
}

struct Writer {
    engine: Compress,
    output: Window,
    /// Something was written since the last complete sync flush.
    unflushed: bool,
}

impl Writer {
    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            ready!(self.poll_drain(socket, cx))?;
            let consumed = self.deflate(data, FlushCompress::None)?;
            if consumed > 0 {
                self.unflushed = true;
                return Poll::Ready(Ok(consumed));
            }
            if self.output.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
    }

    fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_drain(socket, cx))?;
            if !self.unflushed {
                return Poll::Ready(Ok(()));
            }
            self.deflate(&[], FlushCompress::Sync)?;
            // A full buffer means that the engine may hold more.
            self.unflushed = self.output.filled().len() == BUFFER_BYTES;
        }
    }

    /// Writes out what is compressed.
    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut *socket).poll_write(cx, self.output.filled()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Compresses `data` into the empty output; how much of it was taken.
    fn deflate(&mut self, data: &[u8], flush: FlushCompress) -> io::Result<usize> {
        let (before_in, before_out) = (self.engine.total_in(), self.engine.total_out());
        self.engine
            .compress(data, &mut self.output.octets, flush)
            .map_err(io::Error::other)?;
        self.output
            .refilled(delta(before_out, self.engine.total_out()));
        Ok(delta(before_in, self.engine.total_in()))
    }
}

/// How far a counter moved; bounded by a buffer's length, so it always fits.
fn delta(before: u64, after: u64) -> usize {
    usize::try_from(after.wrapping_sub(before)).unwrap_or(usize::MAX)
}
