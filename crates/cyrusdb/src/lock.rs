//! Locks on whole files that Cyrus's POSIX record locks respect, and the other way round.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Shortest and longest pause between two tries. Tries instead of one blocking call, because that
/// could not be ended while a stopped process holds the lock.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_micros(500);

/// What a lock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// To read; others may read too.
    Shared,
    /// To write or recover, alone.
    Exclusive,
}

/// Takes an open-file-description lock on all of the file, waiting at most `wait_max`; `false` if
/// others held it for all of that time (format document, section 3).
pub fn lock(file: &File, kind: LockKind, wait_max: Duration) -> io::Result<bool> {
    let wanted = whole_file(match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    });
    let started = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let left = wait_max.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Lets go of the lock.
pub fn unlock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
    Ok(())
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    // The kernel's constants are 0 to 2; the structure has them as 16 bits.
    let narrow = |constant: libc::c_int| libc::c_short::try_from(constant).unwrap_or_default();
    libc::flock {
        l_type: narrow(kind),
        l_whence: narrow(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_open_files_exclude_each_other_even_in_one_process() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let (one, other) = (path.reopen().unwrap(), path.reopen().unwrap());
        let try_lock = |file: &File, kind| lock(file, kind, Duration::ZERO).unwrap();
        assert!(try_lock(&one, LockKind::Shared));
        assert!(try_lock(&other, LockKind::Shared));
        assert!(!try_lock(&other, LockKind::Exclusive));
        // Closing another descriptor of the file would lose a POSIX lock.
        drop(path.reopen().unwrap());
        assert!(!try_lock(&other, LockKind::Exclusive));
        unlock(&one).unwrap();
        assert!(try_lock(&other, LockKind::Exclusive));
        assert!(!try_lock(&one, LockKind::Shared));
        drop(other);
        assert!(try_lock(&one, LockKind::Shared));
    }
}
