//! A stretch of network between two programs that can stop carrying octets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;

use crate::ports::free_port;

/// Carries connections to a server; after a number of octets from the server, if so told, a connection carries no more
/// of them and stays open. Ends with this value.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    limit: AtomicUsize,
    full: AtomicUsize,
    over: AtomicBool,
    swallowed: Mutex<Option<Vec<u8>>>,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Listens on a port of its own for connections to `target`.
    pub fn start(target: u16) -> Result<Self> {
        let port = free_port()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let shared = Arc::new(Shared {
            target,
            limit: AtomicUsize::new(usize::MAX),
            full: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            swallowed: Mutex::new(None),
            sockets: Mutex::new(Vec::new()),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ours.over.load(Ordering::Relaxed) {
                    return;
                }
                // A server that is away is a connection closed at once.
                drop(ours.carry(client));
            }
        });
        Ok(Self { port, shared })
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From the next octet on: how many octets of the server a connection carries; `usize::MAX` for all.
    pub fn limit(&self, octets: usize) {
        self.shared.limit.store(octets, Ordering::Relaxed);
    }

    /// How many connections have come to their limit so far.
    pub fn full(&self) -> usize {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// Keeps back the next response of the server that speaks of `text`, if it comes in one piece with its tag.
    pub fn swallow(&self, text: &str) {
        *lock(&self.shared.swallowed) = Some(text.as_bytes().to_vec());
    }

    /// Whether it has done so.
    pub fn has_swallowed(&self) -> bool {
        lock(&self.shared.swallowed).is_none()
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.cut();
        // Wakes the thread that accepts.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        let server = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.target)))?;
        let mut sockets = lock(&self.sockets);
        sockets.extend([client.try_clone()?, server.try_clone()?]);
        drop(sockets);
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || pump(from, to, |piece| Some(piece.to_vec())));
        let ours = Arc::clone(self);
        let mut carried = 0_usize;
        thread::spawn(move || {
            pump(server, client, |piece| {
                carried = carried.saturating_add(piece.len());
                let goes_on = carried <= ours.limit.load(Ordering::Relaxed);
                if !goes_on {
                    ours.full.fetch_add(1, Ordering::Relaxed);
                }
                goes_on.then(|| ours.without_swallowed(piece))
            });
        });
        Ok(())
    }

    fn without_swallowed(&self, piece: &[u8]) -> Vec<u8> {
        let mut wanted = lock(&self.swallowed);
        let Some(text) = wanted.as_deref().filter(|text| holds(piece, text)) else {
            return piece.to_vec();
        };
        let tag = piece.split_inclusive(|&octet| octet == b' ').next();
        let separator = [b"\r\n", tag.unwrap_or_default()].concat();
        // Responses of one tag, each without the line end before it.
        let mut rest = piece;
        let mut kept = Vec::new();
        while !rest.is_empty() {
            let begins = |at: &usize| {
                rest.get(*at..)
                    .is_some_and(|rest| rest.starts_with(&separator))
            };
            let next = (1..rest.len()).find(begins);
            let (response, others) = rest.split_at(next.map_or(rest.len(), |at| at + 2));
            if !holds(response, text) {
                kept.extend_from_slice(response);
            }
            rest = others;
        }
        *wanted = None;
        kept
    }

    fn cut(&self) {
        let mut sockets = lock(&self.sockets);
        for socket in sockets.drain(..) {
            // It may be closed already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn holds(octets: &[u8], text: &[u8]) -> bool {
    octets.windows(text.len()).any(|window| window == text)
}

/// Copies what `pass` makes of each piece, until it forbids one, which is kept back with all after it until the sender
/// closes.
fn pump(mut from: TcpStream, mut to: TcpStream, mut pass: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
    let mut piece = [0; PIECE_BYTES];
    let mut open = true;
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let octets = piece.get(..count).unwrap_or_default();
        let passed = open.then(|| pass(octets)).flatten();
        open = passed.is_some();
        if to.write_all(&passed.unwrap_or_default()).is_err() {
            break;
        }
    }
    // Both ends may be gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

const PIECE_BYTES: usize = 1024;
