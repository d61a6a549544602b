//! The lower half of a stream: a TCP connection, bare or under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::CipherSuite;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tracing::debug;

/// Silence after which the first keepalive probe goes out.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// Pause between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered probes that end the connection.
const KEEPALIVE_PROBES: u32 = 4;

/// TCP, or TLS over TCP.
pub(super) enum Socket {
    /// Clear text.
    Tcp(TcpStream),
    /// Either side of a TLS session; boxed because its buffers dwarf the other variant.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Sets no-delay and keepalive. A socket that refuses them (its peer may be gone already) is
    /// still a socket: the next read tells.
    pub(super) fn tuned(tcp: TcpStream) -> Self {
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        let tuned = tcp
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&tcp).set_tcp_keepalive(&keepalive));
        if let Err(error) = tuned {
            debug!(cause = %error, "cannot set options of a connection");
        }
        Self::Tcp(tcp)
    }

    /// Bits of the cipher's key; 0 in clear.
    pub(super) fn tls_bits(&self) -> u32 {
        let Self::Tls(tls) = self else { return 0 };
        let suite = tls.get_ref().1.negotiated_cipher_suite();
        match suite.map(|suite| suite.suite()) {
            Some(
                CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ) => 128,
            // AES-256 and ChaCha20, the only others that rustls has.
            Some(_) => 256,
            None => 0,
        }
    }

    /// The TCP connection underneath.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => match ready!(Pin::new(tls).poll_read(cx, buf)) {
                // A peer that closes without close_notify, as OpenSSL programs do; a cut line is
                // noticed by whoever reads lines.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                result => Poll::Ready(result),
            },
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
