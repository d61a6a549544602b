//! Lines for systemd's journal, over its own socket: one datagram a line, with the level as its
//! priority (systemd's "Native Journal Protocol"). The line holds the event's fields, so that
//! `journalctl` shows them.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest line; a datagram has its bounds.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How long a line may wait for a journal that is behind; then it is lost.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);

/// Makes a writer for each line.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    socket: Arc<UnixDatagram>,
    identifier: String,
}

impl Journal {
    /// Connects, if there is a journal.
    pub(super) fn connect(identifier: &str) -> io::Result<Self> {
        Self::connect_to(Path::new(SOCKET), identifier)
    }

    fn connect_to(path: &Path, identifier: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self {
            socket: Arc::new(socket),
            identifier: identifier.to_owned(),
        })
    }
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            journal: self,
            priority: priority(Level::INFO),
        }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line {
            journal: self,
            priority: priority(*event.level()),
        }
    }
}

/// As Cyrus's programs grade what they say to syslog: what is worth a line is a notice.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 5,
        Level::DEBUG => 6,
        Level::TRACE => 7,
    }
}

/// One line on its way.
#[derive(Debug)]
pub(super) struct Line<'a> {
    journal: &'a Journal,
    priority: u8,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = line.get(..LINE_BYTES_MAX).unwrap_or(line);
        let mut datagram = format!(
            "PRIORITY={}\nSYSLOG_IDENTIFIER={}\nMESSAGE=",
            self.priority, self.journal.identifier
        )
        .into_bytes();
        // A line end would end the field.
        let spaced = text.trim_ascii_end().iter();
        datagram.extend(spaced.map(|&octet| if octet == b'\n' { b' ' } else { octet }));
        datagram.push(b'\n');
        self.journal.socket.send(&datagram)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_datagram_with_its_priority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect_to(&path, "mupdate").unwrap();
        let mut line = journal.make_writer();
        line.write_all(b"two\nlines key=1\n").unwrap();
        let mut octets = vec![0; 1024];
        let length = listener.recv(&mut octets).unwrap();
        let expected = "PRIORITY=5\nSYSLOG_IDENTIFIER=mupdate\nMESSAGE=two lines key=1\n";
        assert_eq!(std::str::from_utf8(&octets[..length]).unwrap(), expected);
    }

    #[test]
    fn without_a_journal_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::connect_to(&dir.path().join("socket"), "mupdate").is_err());
    }
}
