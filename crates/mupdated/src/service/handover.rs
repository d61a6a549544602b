//! One process a data directory; a further one hands its socket over.
//!
//! Cyrus's master starts one process for each address that `listen` resolves to, so a host with IPv4
//! and IPv6 has two, and the list can have only one owner. Whoever locks `<data>/instance` is the
//! owner. Any other process connects to `<data>/handover`, gives its listening socket and status pipe
//! away, and stands by: it is there as far as Cyrus's master can see, and when the owner ends, it takes
//! the lock and goes on with the sockets it still has.
//!
//! Over that stream socket (mode 0600) go one line of JSON with the descriptors (`SCM_RIGHTS`), and one
//! line as the answer. Then it stays open as long as both live.

use std::fs::{self, File, TryLockError};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info};

use crate::inherited_fds::Inherited;

/// Wait between attempts to become the owner, or to reach it.
const RETRY: Duration = Duration::from_millis(100);
/// Wait after the owner has refused.
const REFUSED_RETRY: Duration = Duration::from_secs(10);
/// How long one exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest line, in octets.
const LINE_BYTES_MAX: usize = 512;
/// Descriptors in one message: sockets, and a status pipe.
const DESCRIPTORS_MAX: usize = 2;
const ACCEPTED: &str = "ok";

/// The right to the data directory, as long as this value lives.
#[derive(Debug)]
pub(crate) struct Instance {
    _lock: File,
    socket: UnixListener,
    path: PathBuf,
}

/// What comes with the descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// `master` or `slave`: a socket is of use only to its own kind.
    pub(crate) role: String,
    /// The process that Cyrus's master knows.
    pub(crate) pid: u32,
}

/// Sockets that another process has handed over. Dropping it tells that process.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) hello: Hello,
    pub(crate) listener: TcpListener,
    pub(crate) status: Option<OwnedFd>,
    link: UnixStream,
}

impl Given {
    /// Takes what was given, or says why not.
    pub(crate) async fn answer(&mut self, refusal: Option<&str>) -> io::Result<()> {
        let line = format!("{}\n", refusal.unwrap_or(ACCEPTED));
        self.link.write_all(line.as_bytes()).await
    }

    /// Returns when the giver has ended.
    pub(crate) async fn giver_gone(&mut self) {
        gone(&mut self.link).await;
    }
}

impl Instance {
    /// Becomes the owner, if there is none.
    pub(crate) fn claim(data_dir: &Path) -> io::Result<Option<Self>> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(data_dir.join("instance"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        let path = socket_path(data_dir);
        remove(&path)?;
        let socket = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Some(Self {
            _lock: lock,
            socket,
            path,
        }))
    }

    /// The next process that gives its sockets away. An exchange that fails counts for nothing.
    pub(crate) async fn next(&self) -> Given {
        loop {
            let received = match self.socket.accept().await {
                Ok((link, _)) => timeout(EXCHANGE_TIMEOUT, receive(link))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                Err(cause) => Err(cause),
            };
            match received {
                Ok(given) => return given,
                Err(cause) => debug!(%cause, "nothing was handed over"),
            }
            sleep(RETRY).await;
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(cause) = remove(&self.path) {
            debug!(%cause, "handover socket stays behind");
        }
    }
}

/// Waits for the right to the data directory; meanwhile the owner has our sockets.
pub(crate) async fn stand_by(
    data_dir: &Path,
    role: &str,
    inherited: &Inherited,
) -> io::Result<Instance> {
    let hello = Hello {
        role: role.to_owned(),
        pid: std::process::id(),
    };
    loop {
        if let Some(instance) = Instance::claim(data_dir)? {
            return Ok(instance);
        }
        match give(data_dir, &hello, inherited).await {
            Ok(mut link) => {
                info!(
                    "another process has this list: it serves our socket too, this one stands by"
                );
                gone(&mut link).await;
                info!("that process has ended");
            }
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                error!(%cause, data = %data_dir.display(), "another process has this data directory, and refuses our socket");
                sleep(REFUSED_RETRY).await;
            }
            Err(cause) => debug!(%cause, "nobody to hand over to, yet"),
        }
        sleep(RETRY).await;
    }
}

async fn give(data_dir: &Path, hello: &Hello, inherited: &Inherited) -> io::Result<UnixStream> {
    let link = UnixStream::connect(socket_path(data_dir)).await?;
    let mut said = serde_json::to_vec(hello)?;
    said.push(b'\n');
    let listener = inherited.listeners.first();
    let listener = listener.ok_or(io::ErrorKind::InvalidInput)?;
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![listener.as_fd()];
    descriptors.extend(inherited.status.as_ref().map(AsFd::as_fd));
    link.async_io(Interest::WRITABLE, || send(&link, &said, &descriptors))
        .await?;
    let mut answer = String::new();
    let mut reader = BufReader::new(link);
    timeout(EXCHANGE_TIMEOUT, reader.read_line(&mut answer)).await??;
    match answer.trim_end() {
        ACCEPTED => Ok(reader.into_inner()),
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        refusal => Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal)),
    }
}

fn send(link: &UnixStream, said: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        link,
        &[IoSlice::new(said)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    if sent == said.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

async fn receive(link: UnixStream) -> io::Result<Given> {
    let peer = link.peer_cred()?.uid();
    if peer != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (said, descriptors) = link.async_io(Interest::READABLE, || read(&link)).await?;
    let hello = serde_json::from_slice(&said)?;
    let mut descriptors = descriptors.into_iter();
    let listener = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Given {
        hello,
        listener: TcpListener::from(listener),
        status: descriptors.next(),
        link,
    })
}

fn read(link: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut said = vec![0; LINE_BYTES_MAX];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(
        link,
        &mut [IoSliceMut::new(&mut said)],
        &mut ancillary,
        flags,
    )?;
    said.truncate(received.bytes);
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((said, descriptors.flatten().collect()))
}

/// Returns at the end of the stream.
async fn gone(link: &mut UnixStream) {
    let mut octet = [0; 1];
    while matches!(link.read(&mut octet).await, Ok(1..)) {}
}

fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("handover")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::TcpStream;

    fn inherited() -> Inherited {
        Inherited {
            status: Some(io::pipe().unwrap().1.into()),
            listeners: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
        }
    }

    #[tokio::test]
    async fn a_socket_goes_to_the_owner_and_the_right_to_whoever_stands_by() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Instance::claim(dir.path()).unwrap().unwrap();
        assert!(Instance::claim(dir.path()).unwrap().is_none());

        let second = inherited();
        let address = second.listeners[0].local_addr().unwrap();
        let data_dir = dir.path().to_owned();
        let standing_by =
            tokio::spawn(async move { stand_by(&data_dir, "master", &second).await.map(|_| ()) });
        let mut given = owner.next().await;
        assert_eq!(given.hello.role, "master");
        assert!(given.status.is_some());
        given.answer(None).await.unwrap();
        let _client = TcpStream::connect(address).unwrap();
        given.listener.accept().unwrap();
        assert!(!standing_by.is_finished());

        drop((given, owner));
        standing_by.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_owner_may_refuse() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Instance::claim(dir.path()).unwrap().unwrap();
        let hello = Hello {
            role: "slave".to_owned(),
            pid: 1,
        };
        let second = inherited();
        let (refused, ()) = tokio::join!(give(dir.path(), &hello, &second), async {
            let mut given = owner.next().await;
            given.answer(Some("this is a master")).await.unwrap();
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
