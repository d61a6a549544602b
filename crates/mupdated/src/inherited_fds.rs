//! Descriptors that whoever started the process left open for it: Cyrus's master, or systemd.
//!
//! Cyrus's master has the listening socket at 4 and the write end of its status pipe at 3; a program
//! from the DAEMON section of cyrus.conf has no socket. systemd has sockets from 3 on and says how
//! many.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{FileType, fstat};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use thiserror::Error;

/// Environment variable by which Cyrus's master names the service.
pub(crate) const SERVICE_VARIABLE: &str = "CYRUS_SERVICE";
const STATUS_FD: RawFd = 3;
const LISTEN_FD: RawFd = 4;

/// What was found.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The status pipe of Cyrus's master, its write end.
    pub status: Option<OwnedFd>,
    /// Sockets that are bound and listen.
    pub listeners: Vec<TcpListener>,
}

/// Why what was found can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritedError {
    /// The system refuses to tell.
    #[error("inherited descriptor {fd}: {cause}")]
    Io {
        /// Which.
        fd: RawFd,
        /// What the system said.
        cause: io::Error,
    },
    /// A listening socket of another family.
    #[error("inherited descriptor {fd} is no TCP socket: 'listen' must be host:port")]
    NotTcp {
        /// Which.
        fd: RawFd,
    },
}

/// Takes what the environment says is there. To be called once, first thing in `main`: before anything
/// else can open descriptors of its own.
pub fn take() -> Result<Inherited, InheritedError> {
    if env::var_os(SERVICE_VARIABLE).is_some() {
        return of_cyrus();
    }
    let mut inherited = Inherited::default();
    let given = sd_notify::listen_fds().map_err(|cause| InheritedError::Io {
        fd: STATUS_FD,
        cause,
    })?;
    for fd in given {
        inherited.listeners.extend(listener(fd)?);
    }
    Ok(inherited)
}

fn of_cyrus() -> Result<Inherited, InheritedError> {
    let is_pipe = |fd: &OwnedFd| {
        fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
    };
    Ok(Inherited {
        status: own(STATUS_FD)?.filter(is_pipe),
        listeners: listener(LISTEN_FD)?.into_iter().collect(),
    })
}

/// The descriptor, if it is open and a listening socket.
fn listener(fd: RawFd) -> Result<Option<TcpListener>, InheritedError> {
    let Some(socket) = own(fd)? else {
        return Ok(None);
    };
    if !socket_acceptconn(&socket).unwrap_or(false) {
        return Ok(None);
    }
    match socket_domain(&socket) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => Ok(Some(TcpListener::from(socket))),
        Ok(_) => Err(InheritedError::NotTcp { fd }),
        Err(cause) => Err(InheritedError::Io {
            fd,
            cause: cause.into(),
        }),
    }
}

/// A descriptor of that number as our own, closed when another program is executed.
#[expect(
    unsafe_code,
    reason = "only a number tells which descriptor was inherited; it is open, as has been asked, and \
              nothing of this process owns it, since nothing has run before"
)]
fn own(fd: RawFd) -> Result<Option<OwnedFd>, InheritedError> {
    // SAFETY: nothing closes the descriptor during the call; one that is not open makes it fail.
    let flagged = fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::CLOEXEC);
    match flagged {
        // SAFETY: it is open, and `take` runs before anything else has opened descriptors.
        Ok(()) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(rustix::io::Errno::BADF) => Ok(None),
        Err(cause) => Err(InheritedError::Io {
            fd,
            cause: cause.into(),
        }),
    }
}
