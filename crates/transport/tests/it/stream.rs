//! The layers of a stream, alone and stacked, over real sockets.

use std::io;
use std::process::{Command, Stdio};

use crate::common::{Authority, pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpListener;
use transport::Stream;
use transport::sasl::SecurityLayer;
use transport::tls::{TlsClient, TlsClientConfig, TlsServer, TlsServerConfig};

async fn tls_pair() -> (Stream, Stream) {
    let authority = Authority::new();
    let config = TlsServerConfig::new(authority.issue("master", true));
    let server = TlsServer::load(&config).unwrap();
    let client = TlsClient::load(&TlsClientConfig::default()).unwrap();
    let (near, far) = pair().await;
    let (near, far) = tokio::join!(
        near.connect_tls(&client, "localhost"),
        far.accept_tls(&server)
    );
    (near.unwrap(), far.unwrap())
}

/// Something like a dump: repetitive, but not only.
fn sample(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    let mut state = 1_u32;
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(format!("U01 MAILBOX {{8+}}\r\nuser.{state:x}\r\n").as_bytes());
    }
    text.truncate(bytes);
    text
}

/// Both ends send a megabyte at once through split halves, in writes of odd sizes.
async fn both_ways(near: Stream, far: Stream) {
    let data = sample(1 << 20);
    let talk = |stream: Stream, write_bytes: usize| {
        let data = data.clone();
        async move {
            let (mut reader, mut writer) = split(stream);
            let send = async {
                for piece in data.chunks(write_bytes) {
                    writer.write_all(piece).await.unwrap();
                }
                writer.flush().await.unwrap();
            };
            let mut received = vec![0; data.len()];
            let receive = async { reader.read_exact(&mut received).await.unwrap() };
            tokio::join!(send, receive);
            assert!(received == data);
            writer.shutdown().await.unwrap();
            assert_eq!(reader.read(&mut [0; 16]).await.unwrap(), 0);
            let late = writer.write_all(b"late").await;
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    };
    tokio::join!(
        tokio::spawn(talk(near, 1_021)).await_unwrapped(),
        tokio::spawn(talk(far, 70_001)).await_unwrapped()
    );
}

/// Waits for a task and passes its panic on.
trait AwaitUnwrapped {
    async fn await_unwrapped(self);
}

impl AwaitUnwrapped for tokio::task::JoinHandle<()> {
    async fn await_unwrapped(self) {
        self.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain() {
    let (near, far) = pair().await;
    assert!(!near.is_tls() && !near.is_compressed());
    both_ways(near, far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let (near, far) = tls_pair().await;
    assert!(near.is_tls() && far.is_tls());
    both_ways(near, far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deflate() {
    let (near, far) = pair().await;
    let (near, far) = (near.compress(), far.compress());
    assert!(near.is_compressed() && !near.is_tls());
    both_ways(near, far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deflate_over_tls() {
    let (near, far) = tls_pair().await;
    both_ways(near.compress(), far.compress()).await;
}

#[tokio::test]
async fn a_line_arrives_after_each_flush() {
    let (near, far) = tls_pair().await;
    let (mut near, mut far) = (near.compress(), far.compress());
    for number in 0..200 {
        let line = format!("{number} OK \"Noop done\"\r\n");
        near.write_all(line.as_bytes()).await.unwrap();
        near.flush().await.unwrap();
        let mut received = vec![0; line.len()];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(received, line.as_bytes());
    }
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    let (near, far) = pair().await;
    let (mut near, mut far) = (near.compress(), far.compress());
    let data = sample(300_000);
    let copy = data.clone();
    let sender = tokio::spawn(async move {
        for piece in copy.chunks(4_999) {
            near.write_all(piece).await.unwrap();
            near.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        near
    });
    let mut received = Vec::new();
    while received.len() < data.len() {
        let mut piece = [0; 777];
        tokio::select! {
            biased;
            count = far.read(&mut piece) => received.extend_from_slice(&piece[..count.unwrap()]),
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(received == data);
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn a_bomb_comes_out_a_buffer_at_a_time() {
    let (mut near, far) = pair().await;
    let mut bomb = Vec::new();
    let mut engine = flate2::Compress::new(flate2::Compression::best(), false);
    let zeroes = vec![0; 1 << 20];
    for _ in 0..64 {
        bomb.reserve(8 << 10);
        engine
            .compress_vec(&zeroes, &mut bomb, flate2::FlushCompress::Sync)
            .unwrap();
    }
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    near.write_all(&bomb).await.unwrap();
    near.shutdown().await.unwrap();
    let mut far = far.compress();
    let mut piece = vec![1; 1 << 20];
    let mut total = 0;
    loop {
        let count = far.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        assert!(count <= 16 << 10, "{count}");
        total += count;
    }
    assert_eq!(total, 64 << 20);
}

#[tokio::test]
async fn what_is_not_deflate_is_an_error() {
    let (mut near, far) = pair().await;
    near.write_all(b"N01 NOOP\r\n").await.unwrap();
    near.write_all(&[0xff; 100]).await.unwrap();
    let error = far.compress().read(&mut [0; 100]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_final_block_is_the_end() {
    let (mut near, far) = pair().await;
    let mut output = Vec::with_capacity(100);
    flate2::Compress::new(flate2::Compression::fast(), false)
        .compress_vec(
            b"L01 LOGOUT\r\n",
            &mut output,
            flate2::FlushCompress::Finish,
        )
        .unwrap();
    output.extend_from_slice(b"behind the end");
    near.write_all(&output).await.unwrap();
    let mut text = Vec::new();
    far.compress().read_to_end(&mut text).await.unwrap();
    assert_eq!(text, b"L01 LOGOUT\r\n");
}

const PYTHON_PEER: &str = r"
import socket, sys, zlib
peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
out = zlib.compressobj(9, zlib.DEFLATED, -15)
inp = zlib.decompressobj(-15)
for size in (1, 10, 1000, 100000, 3):
    data = bytes((i * i >> 3) & 255 for i in range(size))
    peer.sendall(out.compress(data) + out.flush(zlib.Z_SYNC_FLUSH))
    got = b''
    while len(got) < size:
        raw = peer.recv(65536)
        if not raw:
            sys.exit('end of file')
        got += inp.decompress(raw)
    if got != data:
        sys.exit('other data')
print('equal')
";

#[tokio::test]
async fn python_zlib_understands_us_and_we_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let process = Command::new("python3")
        .args(["-c", PYTHON_PEER, &port])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stream = Stream::from_tcp(listener.accept().await.unwrap().0).compress();
    let mut piece = vec![0; 10_000];
    loop {
        let count = stream.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        stream.write_all(&piece[..count]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let output = tokio::task::spawn_blocking(move || process.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.stdout, b"equal\n");
}

#[tokio::test]
async fn sockets_are_tuned() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let (peer, local) = (tcp.peer_addr().unwrap(), tcp.local_addr().unwrap());
    let raw = socket2::SockRef::from(&tcp).try_clone().unwrap();
    let stream = Stream::from_tcp(tcp);
    assert!(raw.tcp_nodelay().unwrap());
    assert!(raw.keepalive().unwrap());
    assert_eq!(stream.peer_addr().unwrap(), peer);
    assert_eq!(stream.local_addr().unwrap(), local);
}

/// A layer in the shape of DIGEST-MD5's: packets with their length before them, each octet turned.
#[derive(Debug, Default)]
struct Turned {
    packet: Vec<u8>,
}

const TURNED_BYTES_MAX: usize = 1_000;

impl SecurityLayer for Turned {
    fn plain_bytes_max(&self) -> usize {
        TURNED_BYTES_MAX
    }

    fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> io::Result<()> {
        wire.extend_from_slice(&u32::try_from(plain.len()).unwrap().to_be_bytes());
        wire.extend(plain.iter().map(|octet| !octet));
        Ok(())
    }

    fn open(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        self.packet.extend_from_slice(wire);
        while let Some((length, rest)) = self.packet.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
            if length > TURNED_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some((packet, rest)) = rest.split_at_checked(length) else {
                break;
            };
            plain.extend(packet.iter().map(|octet| !octet));
            self.packet = rest.to_vec();
        }
        Ok(())
    }
}

fn turned(stream: Stream) -> Stream {
    stream.secure(Box::<Turned>::default(), b"").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_security_layer_between_tls_and_deflate() {
    let (near, far) = pair().await;
    both_ways(turned(near), turned(far)).await;
    let (near, far) = tls_pair().await;
    both_ways(turned(near).compress(), turned(far).compress()).await;
    // DEFLATE before the log-in.
    let (near, far) = pair().await;
    both_ways(turned(near.compress()), turned(far.compress())).await;
}

#[tokio::test]
async fn the_layer_is_next_to_the_wire() {
    let (near, mut far) = pair().await;
    let mut near = turned(near.compress());
    near.write_all(b"text").await.unwrap();
    near.flush().await.unwrap();
    let mut length = [0; 4];
    far.read_exact(&mut length).await.unwrap();
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    let mut packet = vec![0; length];
    far.read_exact(&mut packet).await.unwrap();
    let compressed: Vec<u8> = packet.iter().map(|octet| !octet).collect();
    let mut plain = [0; 4];
    let mut engine = flate2::Decompress::new(false);
    engine
        .decompress(&compressed, &mut plain, flate2::FlushDecompress::Sync)
        .unwrap();
    assert_eq!(&plain, b"text");
}

#[tokio::test]
async fn what_came_before_the_switch_belongs_to_the_layer() {
    let (near, mut far) = pair().await;
    let mut sealed = Vec::new();
    Turned::default().seal(b"early", &mut sealed).unwrap();
    let (early, late) = sealed.split_at(6);
    let mut near = near.secure(Box::<Turned>::default(), early).unwrap();
    far.write_all(late).await.unwrap();
    let mut plain = [0; 5];
    near.read_exact(&mut plain).await.unwrap();
    assert_eq!(&plain, b"early");
    assert!(near.secure(Box::<Turned>::default(), b"").is_err(), "twice");
    assert!(
        far.compress()
            .secure(Box::<Turned>::default(), b"x")
            .is_err(),
        "inflated already"
    );
}

#[tokio::test]
async fn a_packet_that_the_layer_refuses_ends_the_stream() {
    let (near, mut far) = pair().await;
    let mut near = turned(near);
    let mut sealed = Vec::new();
    Turned::default().seal(b"fine", &mut sealed).unwrap();
    sealed.extend_from_slice(&u32::MAX.to_be_bytes());
    far.write_all(&sealed).await.unwrap();
    let mut all = Vec::new();
    let error = near.read_to_end(&mut all).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    far.write_all(&sealed).await.unwrap();
    let error = near.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "for ever");
}
