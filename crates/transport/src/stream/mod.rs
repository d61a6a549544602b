//! One connection, whatever lies between us and the wire.

mod deflate;
mod layered;
mod lower;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use self::deflate::Deflate;
use self::layered::Layered;
use self::lower::Lower;
use self::socket::Socket;
use crate::sasl::SecurityLayer;
use crate::tls::{HANDSHAKE_TIME_MAX, TlsClient, TlsError, TlsServer};

/// A connection: TCP, with TLS after STARTTLS, with the layer of a SASL mechanism after a log-in that
/// agreed on one, with DEFLATE after COMPRESS.
///
/// Upgrades take the stream and give it back, so nothing can be written to a layer that another
/// one already covers. Reads and writes are cancel-safe, and the halves of [`tokio::io::split`]
/// work in either order: neither direction waits for the other. Written octets may stay in a layer
/// until a flush.
pub struct Stream {
    lower: Lower,
    deflate: Option<Box<Deflate>>,
    client_identity: Option<Arc<str>>,
    is_shut: bool,
}

impl Stream {
    /// A connection in clear. Sets `TCP_NODELAY`, and keepalive that finds a dead peer in about
    /// two minutes.
    pub fn from_tcp(tcp: TcpStream) -> Self {
        Self {
            lower: Lower::new(Socket::tuned(tcp)),
            deflate: None,
            client_identity: None,
            is_shut: false,
        }
    }

    /// TLS, as the server (STARTTLS, RFC 3656 section 3.11).
    pub async fn accept_tls(self, server: &TlsServer) -> Result<Self, TlsError> {
        let tcp = self.into_plain_tcp()?;
        let tls = timeout(HANDSHAKE_TIME_MAX, server.acceptor().accept(tcp))
            .await
            .map_err(|_| TlsError::HandshakeTimeout)?
            .map_err(TlsError::Handshake)?;
        let client_identity = server.client_identity(tls.get_ref().1).map(Arc::from);
        Ok(Self::over_tls(tls.into(), client_identity))
    }

    /// TLS, as the client. `name` is the server's host name or address, sent as SNI and compared
    /// with the certificate if the verification asks for it.
    pub async fn connect_tls(self, client: &TlsClient, name: &str) -> Result<Self, TlsError> {
        let tcp = self.into_plain_tcp()?;
        let name = TlsClient::server_name(name)?;
        let tls = timeout(HANDSHAKE_TIME_MAX, client.connector().connect(name, tcp))
            .await
            .map_err(|_| TlsError::HandshakeTimeout)?
            .map_err(TlsError::Handshake)?;
        Ok(Self::over_tls(tls.into(), None))
    }

    /// DEFLATE in both directions from here (RFC 4978); everything written before must have been
    /// flushed. A second time changes nothing.
    #[must_use]
    pub fn compress(mut self) -> Self {
        self.deflate.get_or_insert_with(|| Box::new(Deflate::new()));
        self
    }

    /// The security layer of a SASL mechanism, below DEFLATE and above TLS as with Cyrus; everything
    /// written before must have been flushed. `received` is what has been read of this stream and came
    /// after the log-in: it belongs to the layer. With DEFLATE on there can't be any, since it would
    /// have been inflated already.
    pub fn secure(mut self, layer: Box<dyn SecurityLayer>, received: &[u8]) -> io::Result<Self> {
        if self.lower.layer.is_some() || (self.deflate.is_some() && !received.is_empty()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.lower.layer = Some(Box::new(Layered::new(layer, received)?));
        Ok(self)
    }

    /// Whether a SASL mechanism's security layer is on.
    pub fn is_secured(&self) -> bool {
        self.lower.layer.is_some()
    }

    /// Strength of TLS in bits of its cipher's key, as SASL counts security layers; 0 without TLS.
    pub fn tls_bits(&self) -> u32 {
        self.lower.socket.tls_bits()
    }

    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        matches!(self.lower.socket, Socket::Tls(_))
    }

    /// Whether DEFLATE is on.
    pub fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// The common name of the client's verified certificate: the identity for EXTERNAL.
    pub fn client_identity(&self) -> Option<String> {
        self.client_identity.as_deref().map(str::to_owned)
    }

    /// Address of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.lower.socket.tcp().peer_addr()
    }

    /// Address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.lower.socket.tcp().local_addr()
    }

    fn over_tls(tls: TlsStream<TcpStream>, client_identity: Option<Arc<str>>) -> Self {
        Self {
            lower: Lower::new(Socket::Tls(Box::new(tls))),
            deflate: None,
            client_identity,
            is_shut: false,
        }
    }

    fn into_plain_tcp(self) -> Result<TcpStream, TlsError> {
        if self.deflate.is_some() || self.lower.layer.is_some() {
            return Err(TlsError::AfterCompression);
        }
        match self.lower.socket {
            Socket::Tcp(tcp) => Ok(tcp),
            Socket::Tls(_) => Err(TlsError::AlreadyOn),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.deflate {
            Some(deflate) => deflate.poll_read(&mut this.lower, cx, buf),
            None => Pin::new(&mut this.lower).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match &mut this.deflate {
            Some(deflate) => deflate.poll_write(&mut this.lower, cx, buf),
            None => Pin::new(&mut this.lower).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(deflate) = &mut this.deflate {
            ready!(deflate.poll_flush(&mut this.lower, cx))?;
        }
        Pin::new(&mut this.lower).poll_flush(cx)
    }

    /// Flushes, then closes the sending direction of every layer. The DEFLATE stream is not ended
    /// by a final block: Cyrus never sends one, and peers take the end of the connection.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.is_shut = true;
        if let Some(deflate) = &mut this.deflate {
            ready!(deflate.poll_flush(&mut this.lower, cx))?;
        }
        Pin::new(&mut this.lower).poll_shutdown(cx)
    }
}
