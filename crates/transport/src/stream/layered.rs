//! The security layer of a SASL mechanism (RFC 4422 section 3.7) over a byte stream, both ways.
//!
//! Two buffers: octets that have been unsealed and not yet read, and octets that have been sealed
//! and not yet sent. Either holds what one call of the layer gives, nothing more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use crate::sasl::SecurityLayer;

/// Octets that are read from the wire and unsealed at once. Cyrus's buffers have this size as well.
const WIRE_BYTES: usize = 4096;

/// A security layer at work.
pub(super) struct Layered {
    layer: Box<dyn SecurityLayer>,
    input: Pending,
    output: Pending,
    /// A layer that has failed in a direction is not asked again: its state is unknown.
    is_broken: bool,
}

/// Octets, and how many of them are done with.
#[derive(Default)]
struct Pending {
    octets: Vec<u8>,
    done: usize,
}

impl Pending {
    fn rest(&self) -> &[u8] {
        self.octets.get(self.done..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn consume(&mut self, count: usize) {
        self.done += count;
        if self.is_empty() {
            self.octets.clear();
            self.done = 0;
        }
    }
}

impl Layered {
    /// `received` is what came through the wire already and belongs to the layer.
    pub(super) fn new(layer: Box<dyn SecurityLayer>, received: &[u8]) -> io::Result<Self> {
        let mut layered = Self {
            layer,
            input: Pending::default(),
            output: Pending::default(),
            is_broken: false,
        };
        layered.open(received)?;
        Ok(layered)
    }

    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Unsealing needs no socket once octets are there, so it would never yield by itself.
        let budget = ready!(poll_proceed(cx));
        while self.input.is_empty() {
            let mut wire = [0; WIRE_BYTES];
            let mut room = ReadBuf::new(&mut wire);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.open(room.filled())?;
        }
        let rest = self.input.rest();
        let (now, _) = rest.split_at(rest.len().min(buf.remaining()));
        buf.put_slice(now);
        let count = now.len();
        self.input.consume(count);
        budget.made_progress();
        Poll::Ready(Ok(()))
    }

    /// Seals as much as the layer takes at once, when what was sealed before has left.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(socket, cx))?;
        let (now, _) = data.split_at(data.len().min(self.layer.plain_bytes_max()));
        if now.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.ask(|layer, _, output| layer.seal(now, &mut output.octets))?;
        Poll::Ready(Ok(now.len()))
    }

    /// Brings everything that is sealed into `socket`. Does not flush `socket` itself.
    pub(super) fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut *socket).poll_write(cx, self.output.rest()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    fn open(&mut self, wire: &[u8]) -> io::Result<()> {
        if wire.is_empty() {
            return Ok(());
        }
        self.ask(|layer, input, _| layer.open(wire, &mut input.octets))
    }

    fn ask(
        &mut self,
        call: impl FnOnce(&mut dyn SecurityLayer, &mut Pending, &mut Pending) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.is_broken {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let result = call(self.layer.as_mut(), &mut self.input, &mut self.output);
        self.is_broken = result.is_err();
        result
    }
}
