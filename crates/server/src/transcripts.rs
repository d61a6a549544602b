//! What is said in sessions, kept for whoever looks for a fault: Cyrus's telemetry logs.
//!
//! Where `<directory>/<user>/` exists, each session of that user has a file there from its log-in on,
//! `<service>-<seconds>.<microseconds>`: a heading, then what came in behind `<time<` and what went out
//! behind `>time>`, in the clear. Nothing of the log-in itself is in it.
//!
//! Sessions never wait for the disk: a thread of its own opens and writes, and what it can't keep up with
//! is left out, with a line that says how much.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Zoned;
use tracing::{debug, warn};

/// Octets of all sessions that may wait to be written.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pieces of all sessions that may wait to be written.
const WAITING_PIECES_MAX: usize = 4096;

/// Where transcripts go. Cheap to clone; the thread ends when the last clone and the last session are gone.
#[derive(Debug, Clone)]
pub struct Transcripts {
    directory: Arc<Path>,
    service: Arc<str>,
    waiting: Arc<AtomicUsize>,
    pieces: SyncSender<Piece>,
}

/// That of one session.
#[derive(Debug)]
pub(crate) struct Transcript {
    file: Arc<UserFile>,
    waiting: Arc<AtomicUsize>,
    pieces: SyncSender<Piece>,
    /// Octets that found no room since the last piece that did.
    left_out: usize,
}

#[derive(Debug)]
struct Piece {
    file: Arc<UserFile>,
    left_out: usize,
    mark: char,
    time: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct UserFile {
    path: PathBuf,
    heading: String,
    /// Nobody wants it, or it can't be written: nothing more is to be said.
    is_over: AtomicBool,
    open: Mutex<Option<File>>,
}

impl Transcripts {
    /// Starts the thread that writes below `directory`, for a service of this name.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(directory: PathBuf, service: &str) -> io::Result<Self> {
        let (pieces, queue) = sync_channel(WAITING_PIECES_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        thread::Builder::new()
            .name("transcripts".into())
            .spawn(move || write_all(&queue, &counted))?;
        Ok(Self {
            directory: directory.into(),
            service: service.into(),
            waiting,
            pieces,
        })
    }

    /// The transcript of a session that `user` has just logged in to; none for a name that is no file name.
    pub(crate) fn of(&self, user: &str) -> Option<Transcript> {
        if user.is_empty() || user.starts_with('.') || user.contains(['/', '\0']) {
            return None;
        }
        let now = since_epoch();
        let name = format!("{}-{}.{}", self.service, now.as_secs(), now.subsec_micros());
        let time = Zoned::now().strftime("%a %b %e %H:%M:%S %Y");
        Some(Transcript {
            file: Arc::new(UserFile {
                path: self.directory.join(user).join(name),
                heading: format!("---------- {user} {time}\n\n"),
                is_over: AtomicBool::new(false),
                open: Mutex::new(None),
            }),
            waiting: Arc::clone(&self.waiting),
            pieces: self.pieces.clone(),
            left_out: 0,
        })
    }
}

impl Transcript {
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.keep('<', bytes);
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.keep('>', bytes);
    }

    fn keep(&mut self, mark: char, bytes: &[u8]) {
        if self.file.is_over.load(Ordering::Relaxed) || bytes.is_empty() {
            return;
        }
        let before = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        let has_room = before.saturating_add(bytes.len()) <= WAITING_BYTES_MAX;
        let piece = has_room.then(|| Piece {
            file: Arc::clone(&self.file),
            left_out: self.left_out,
            mark,
            time: since_epoch().as_secs(),
            bytes: bytes.to_vec(),
        });
        if piece.is_some_and(|piece| self.pieces.try_send(piece).is_ok()) {
            self.left_out = 0;
        } else {
            self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            self.left_out += bytes.len();
        }
    }
}

fn write_all(queue: &Receiver<Piece>, waiting: &AtomicUsize) {
    while let Ok(piece) = queue.recv() {
        piece.file.write(&piece);
        waiting.fetch_sub(piece.bytes.len(), Ordering::Relaxed);
    }
}

impl UserFile {
    fn write(&self, piece: &Piece) {
        if self.is_over.load(Ordering::Relaxed) {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = open.is_none();
        if let Err(cause) = self.append(&mut open, piece) {
            // As good as always: nobody has made a directory for this user.
            if is_new && cause.kind() == io::ErrorKind::NotFound {
                debug!(path = %self.path.display(), "no transcript is wanted");
            } else {
                warn!(path = %self.path.display(), %cause, "transcript of a session ends");
            }
            self.is_over.store(true, Ordering::Relaxed);
            *open = None;
        }
    }

    fn append(&self, open: &mut Option<File>, piece: &Piece) -> io::Result<()> {
        let mut text = Vec::with_capacity(piece.bytes.len() + 32);
        let file = if let Some(file) = open {
            file
        } else {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o644);
            text.extend_from_slice(self.heading.as_bytes());
            open.insert(options.open(&self.path)?)
        };
        if piece.left_out > 0 {
            let line = format!("\n---------- {} octets are left out\n", piece.left_out);
            text.extend_from_slice(line.as_bytes());
        }
        let (mark, time) = (piece.mark, piece.time);
        text.extend_from_slice(format!("{mark}{time}{mark}").as_bytes());
        text.extend_from_slice(&piece.bytes);
        file.write_all(&text)
    }
}

fn since_epoch() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What has been written once the thread has ended, with times replaced.
    fn files(directory: &Path, transcripts: Transcripts) -> Vec<String> {
        let waiting = Arc::clone(&transcripts.waiting);
        drop(transcripts);
        while Arc::strong_count(&waiting) > 1 {
            thread::yield_now();
        }
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
        let files = fs::read_dir(directory).unwrap();
        files
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect()
    }

    fn start() -> (tempfile::TempDir, PathBuf, Transcripts) {
        let directory = tempfile::tempdir().unwrap();
        let transcripts = Transcripts::start(directory.path().to_owned(), "mupdate").unwrap();
        let user = directory.path().join("ann");
        (directory, user, transcripts)
    }

    #[test]
    fn both_directions_are_kept_where_a_directory_is() {
        let (_directory, user, transcripts) = start();
        fs::create_dir(&user).unwrap();
        let mut transcript = transcripts.of("ann").unwrap();
        transcript.sent(b"1 OK \"done\"\r\n");
        transcript.received(b"2 NOOP\r\n");
        transcript.sent(b"2 OK \"Noop done\"\r\n");
        drop(transcript);
        let [text] = &*files(&user, transcripts) else {
            panic!("not one file")
        };
        let (heading, rest) = text.split_once("\n\n").unwrap();
        assert!(heading.starts_with("---------- ann "));
        let mut lines = rest.lines().map(|line| {
            let mark = line.get(..1).unwrap();
            let (time, said) = line.get(1..).unwrap().split_once(mark).unwrap();
            assert!(time.parse::<u64>().unwrap() > 1_700_000_000);
            (mark, said)
        });
        assert_eq!(lines.next(), Some((">", "1 OK \"done\"")));
        assert_eq!(lines.next(), Some(("<", "2 NOOP")));
        assert_eq!(lines.next(), Some((">", "2 OK \"Noop done\"")));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn without_a_directory_nothing_is_made_and_nothing_more_is_taken() {
        let (directory, _, transcripts) = start();
        let mut transcript = transcripts.of("ann").unwrap();
        transcript.received(b"2 NOOP\r\n");
        let file = Arc::clone(&transcript.file);
        while !file.is_over.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        transcript.received(b"3 NOOP\r\n");
        drop(transcript);
        assert_eq!(files(directory.path(), transcripts), [""; 0]);
    }

    #[test]
    fn names_that_lead_elsewhere_have_none() {
        let (_directory, _, transcripts) = start();
        for user in ["", ".", "..", "../x", "a/b", "a\0b"] {
            assert!(transcripts.of(user).is_none(), "{user:?}");
        }
        assert!(transcripts.of("ann@example.org").is_some());
    }

    #[test]
    fn what_finds_no_room_is_left_out_and_said() {
        let (_directory, user, transcripts) = start();
        fs::create_dir(&user).unwrap();
        let mut transcript = transcripts.of("ann").unwrap();
        transcript.received(&vec![b'x'; WAITING_BYTES_MAX + 1]);
        transcript.received(b"2 NOOP\r\n");
        drop(transcript);
        let [text] = &*files(&user, transcripts) else {
            panic!("not one file")
        };
        let said = format!(
            "\n---------- {} octets are left out\n<",
            WAITING_BYTES_MAX + 1
        );
        assert!(text.contains(&said) && text.ends_with("<2 NOOP\r\n"));
    }

    #[test]
    fn a_full_disk_ends_the_transcript_alone() {
        let (_directory, user, transcripts) = start();
        fs::create_dir(&user).unwrap();
        let transcript = transcripts.of("ann").unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        *transcript.file.open.lock().unwrap() = Some(full);
        let mut transcript = transcript;
        transcript.received(b"2 NOOP\r\n");
        while !transcript.file.is_over.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let mut other = transcripts.of("ann").unwrap();
        other.received(b"3 NOOP\r\n");
        drop((transcript, other));
        assert_eq!(files(&user, transcripts).len(), 1);
    }
}
