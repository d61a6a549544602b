//! Free ports on loopback.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// A port that nobody listens on now, and that this process has not handed out before.
///
/// Servers are stopped and started again on the same port, so it lies below the range from which the kernel takes
/// the ports of outgoing connections: none of those may sit on it meanwhile.
///
/// It asks by connecting. A listener opened for a look would for a moment live on in each program that another thread
/// is just starting, and the port be in use for whoever was given it.
pub fn free_port() -> Result<u16> {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..ATTEMPTS_MAX {
        let port = rand::random_range(12_000..28_000);
        let fresh = TAKEN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port);
        if fresh && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            return Ok(port);
        }
    }
    bail!("no free port on loopback in {ATTEMPTS_MAX} attempts")
}

const ATTEMPTS_MAX: usize = 1000;
