//! The byte stream below a dialogue: plain TCP, TLS on top, DEFLATE on top.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// A connection to a server on loopback, upgraded in place.
#[derive(Debug)]
pub struct Link {
    socket: TcpStream,
    layer: Layer,
    deflate: Option<Box<Deflate>>,
}

/// A client certificate and its key, in PEM files.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The certificate.
    pub certificate: &'a Path,
    /// Its private key.
    pub key: &'a Path,
}

#[derive(Debug)]
enum Layer {
    Plain,
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

#[derive(Debug)]
struct Deflate {
    compress: Compress,
    decompress: Decompress,
}

impl Link {
    /// Connects; reads wait `read_limit` at most and then fail with `WouldBlock` or `TimedOut`.
    pub fn connect(port: u16, read_limit: Duration) -> io::Result<Self> {
        Self::connect_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), read_limit)
    }

    /// As [`Self::connect`], with an address.
    pub fn connect_to(address: SocketAddr, read_limit: Duration) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(read_limit))?;
        socket.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok(Self {
            socket,
            layer: Layer::Plain,
            deflate: None,
        })
    }

    /// Shakes hands, without looking at the server's certificate.
    pub fn start_tls(&mut self, identity: Option<Identity<'_>>) -> Result<()> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(ring::default_provider())));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(&fs::read(identity.certificate)?)?;
                let key = PrivateKeyDer::from_pem_slice(&fs::read(identity.key)?)?;
                builder.with_client_auth_cert(vec![certificate], key)?
            }
        };
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let connection = ClientConnection::new(Arc::new(config), name)?;
        let mut stream = StreamOwned::new(connection, self.socket.try_clone()?);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .context("TLS handshake")?;
        }
        self.layer = Layer::Tls(Box::new(stream));
        Ok(())
    }

    /// Raw DEFLATE in both directions from here on.
    pub fn start_deflate(&mut self) {
        let compress = Compress::new(Compression::default(), false);
        self.deflate = Some(Box::new(Deflate {
            compress,
            decompress: Decompress::new(false),
        }));
    }

    /// Writes all of `data`.
    pub fn send(&mut self, data: &[u8]) -> io::Result<()> {
        let packed = match &mut self.deflate {
            None => None,
            Some(deflate) => Some(deflate.pack(data)?),
        };
        let data = packed.as_deref().unwrap_or(data);
        match &mut self.layer {
            Layer::Plain => self.socket.write_all(data),
            Layer::Tls(stream) => stream.write_all(data).and_then(|()| stream.flush()),
        }
    }

    /// Appends what comes next to `inbox`; 0 at the end of the stream.
    pub fn receive(&mut self, inbox: &mut Vec<u8>) -> io::Result<usize> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            let count = match &mut self.layer {
                Layer::Plain => self.socket.read(&mut piece)?,
                Layer::Tls(stream) => stream.read(&mut piece).or_else(closed_without_notice)?,
            };
            let piece = piece.get(..count).unwrap_or_default();
            let before = inbox.len();
            match &mut self.deflate {
                Some(deflate) if count > 0 => deflate.unpack(piece, inbox)?,
                _ => inbox.extend_from_slice(piece),
            }
            if count == 0 || inbox.len() > before {
                return Ok(count);
            }
        }
    }

    /// Says that nothing more will be sent, below any layer.
    pub fn half_close(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}

impl Deflate {
    fn pack(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(data.len() + 64);
        let start = self.compress.total_in();
        loop {
            let used = usize::try_from(self.compress.total_in() - start).unwrap_or(usize::MAX);
            let rest = data.get(used..).unwrap_or_default();
            self.compress
                .compress_vec(rest, &mut out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // Room left over means that the flush is complete.
            if out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(PIECE_BYTES);
        }
    }

    fn unpack(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        loop {
            out.reserve(PIECE_BYTES);
            let (before_in, before_out) = (self.decompress.total_in(), out.len());
            let status = self
                .decompress
                .decompress_vec(data, out, FlushDecompress::Sync)
                .map_err(io::Error::other)?;
            let used =
                usize::try_from(self.decompress.total_in() - before_in).unwrap_or(usize::MAX);
            data = data.get(used..).unwrap_or_default();
            let idle = used == 0 && out.len() == before_out;
            if idle
                || status == Status::StreamEnd
                || (data.is_empty() && out.len() < out.capacity())
            {
                return Ok(());
            }
        }
    }
}

/// Some servers close TLS connections without a word; that is an end as well.
fn closed_without_notice(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        Ok(0)
    } else {
        Err(error)
    }
}

/// Accepts whatever certificate the server shows: what is tested is the protocol, not the trust.
#[derive(Debug)]
struct AnyServer(CryptoProvider);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const WRITE_LIMIT: Duration = Duration::from_mins(1);
const PIECE_BYTES: usize = 16 * 1024;
