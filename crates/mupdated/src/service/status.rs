//! Messages to Cyrus's master over its status pipe: pairs of 32-bit numbers of the machine's own order,
//! what has happened and to which process (Cyrus: `notify_master`). A new process counts as ready
//! without saying so.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tracing::debug;

/// A connection was accepted by a process that goes on accepting. (3 would make Cyrus's master count
/// the process as busy and start another.)
const CONNECTION_MULTI: i32 = 4;

/// The write end of a status pipe.
#[derive(Debug)]
pub(crate) struct StatusPipe {
    pipe: OwnedFd,
    pid: i32,
}

impl StatusPipe {
    /// Speaks for process `pid`. A full pipe must not make an acceptor wait.
    pub(crate) fn new(pipe: OwnedFd, pid: u32) -> io::Result<Self> {
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Self { pipe, pid })
    }

    /// A connection was accepted.
    pub(crate) fn connection(&self) {
        let message = message(CONNECTION_MULTI, self.pid);
        if let Err(cause) = rustix::io::write(&self.pipe, &message) {
            debug!(%cause, "Cyrus's master does not hear of a connection");
        }
    }
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the two processes share a machine, and Cyrus writes structures as they are in memory"
)]
fn message(what: i32, pid: i32) -> [u8; 8] {
    let mut octets = [0; 8];
    let (first, second) = octets.split_at_mut(4);
    first.copy_from_slice(&what.to_ne_bytes());
    second.copy_from_slice(&pid.to_ne_bytes());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Read as _;

    #[test]
    fn one_message_a_connection_and_a_full_pipe_is_no_trouble() {
        let (mut reader, writer) = io::pipe().unwrap();
        let status = StatusPipe::new(writer.into(), 77).unwrap();
        status.connection();
        let mut octets = [0; 8];
        reader.read_exact(&mut octets).unwrap();
        assert_eq!(octets, message(4, 77));
        for _ in 0..100_000 {
            status.connection();
        }
    }
}
