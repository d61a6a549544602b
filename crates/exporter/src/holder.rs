//! Who holds the lock of a file.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// A process that holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockHolder {
    pub(crate) pid: u32,
    pub(crate) stopped: bool,
}

/// The process that keeps others from locking the file under `path`, if the system tells.
pub(crate) fn of(path: &Path) -> Option<LockHolder> {
    let file = File::open(path).ok()?;
    let narrow = |constant: libc::c_int| libc::c_short::try_from(constant).unwrap_or_default();
    let mut lock = libc::flock {
        l_type: narrow(libc::F_WRLCK),
        l_whence: narrow(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
    if lock.l_type == narrow(libc::F_UNLCK) {
        return None;
    }
    // Open-file-description locks belong to no process: then this is -1.
    let pid = u32::try_from(lock.l_pid).ok().filter(|&pid| pid > 0)?;
    Some(LockHolder {
        pid,
        stopped: is_stopped(pid),
    })
}

fn is_stopped(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold anything, so the state is what follows the last one.
    let state = status.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with(['T', 't']))
}
