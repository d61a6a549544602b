//! Holds the lock of a file until it is killed: what a stopped Cyrus process does.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Write, stdout};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("FILE")?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // A POSIX lock, as Cyrus takes it.
    let lock = libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK)?,
        l_whence: libc::c_short::try_from(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLKW(&lock))?;
    writeln!(stdout(), "locked")?;
    stdout().flush()?;
    loop {
        std::thread::sleep(Duration::from_mins(1));
    }
}
