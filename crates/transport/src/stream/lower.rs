//! What lies below DEFLATE: the socket, with the layer of a SASL mechanism on it if there is one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::layered::Layered;
use super::socket::Socket;

/// A socket, perhaps under a security layer.
pub(super) struct Lower {
    pub(super) socket: Socket,
    pub(super) layer: Option<Box<Layered>>,
}

impl Lower {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            layer: None,
        }
    }
}

impl AsyncRead for Lower {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.layer {
            Some(layer) => layer.poll_read(&mut this.socket, cx, buf),
            None => Pin::new(&mut this.socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Lower {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match &mut this.layer {
            Some(layer) => layer.poll_write(&mut this.socket, cx, buf),
            None => Pin::new(&mut this.socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(layer) = &mut this.layer {
            ready!(layer.poll_drain(&mut this.socket, cx))?;
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(layer) = &mut this.layer {
            ready!(layer.poll_drain(&mut this.socket, cx))?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
