//! A stretch of network between two programs that can stop carrying octets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.extend([client.try_clone()?, server.try_clone()?]);
        drop(sockets);
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || pump(from, to, |_| true));
        let ours = Arc::clone(self);
        let mut carried = 0_usize;
        thread::spawn(move || {
            pump(server, client, |octets| {
                carried = carried.saturating_add(octets);
                let goes_on = carried <= ours.limit.load(Ordering::Relaxed);
                if !goes_on {
                    ours.full.fetch_add(1, Ordering::Relaxed);
                }
                goes_on
            });
        });
        Ok(())
    }

    fn cut(&self) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in sockets.drain(..) {
            // It may be closed already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

/// Copies until `may_pass` forbids a piece, which is kept back with all after it until the sender closes.
fn pump(mut from: TcpStream, mut to: TcpStream, mut may_pass: impl FnMut(usize) -> bool) {
    let mut piece = [0; PIECE_BYTES];
    let mut open = true;
    while let Ok(count @ 1..) = from.read(&mut piece) {
        open = open && may_pass(count);
        let octets = piece.get(..count).unwrap_or_default();
        if open && to.write_all(octets).is_err() {
            break;
        }
    }
    // Both ends may be gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

const PIECE_BYTES: usize = 1024;
