//! What programs say to syslog, where the machine has no syslog of its own.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Listens at `/dev/log` as long as it lives. A thread reads all the time: a full socket makes every program wait that
/// says something.
#[derive(Debug)]
pub struct Syslog {
    lines: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Syslog {
    /// Listens there, if nobody else does and we may.
    pub fn catch() -> Result<Option<Self>> {
        let path = Path::new(PATH);
        if path.exists() {
            return Ok(None);
        }
        let socket = match UnixDatagram::bind(path) {
            Ok(socket) => socket,
            Err(cause) if cause.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(cause) => return Err(cause).context(PATH),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        socket.set_read_timeout(Some(STEP))?;
        let (lines, stop) = (
            Arc::<Mutex<Vec<String>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (kept, ending) = (Arc::clone(&lines), Arc::clone(&stop));
        let reader = thread::spawn(move || {
            let mut octets = vec![0; 64 * 1024];
            while !ending.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut octets) else {
                    continue;
                };
                let line = octets.get(..length).unwrap_or_default();
                let line = String::from_utf8_lossy(line).trim_end().to_owned();
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Ok(Some(Self {
            lines,
            stop,
            reader: Some(reader),
        }))
    }

    /// What has come.
    pub fn lines(&self) -> Vec<String> {
        // The last of it may be on its way.
        thread::sleep(STEP);
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A test that is already failing has better things to report.
        drop(fs::remove_file(PATH));
        drop(self.reader.take().map(JoinHandle::join));
    }
}

const PATH: &str = "/dev/log";
const STEP: Duration = Duration::from_millis(100);
