//! The users file: SCRAM verifiers of those who may log in. The format is described in
//! `docs/users-file.md`.

mod edit;
mod format;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tracing::{error, info, warn};

pub use self::edit::{remove, set_password, set_password_with};
pub use self::format::{InvalidName, NAME_BYTES_MAX, check_name};
use crate::Secret;
use crate::scram::{ScramHash, Verifier};

/// Longest users file, in octets: some ten thousand users.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How often the file is looked at, at most.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a users file cannot be used or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UsersError {
    /// The file, or its directory, does not do what it is asked.
    #[error("cannot {action} {path}: {cause}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// More than [`FILE_BYTES_MAX`].
    #[error("{path} is longer than {FILE_BYTES_MAX} octets", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A line that cannot be read.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name that no user can have.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A password that no SASL mechanism carries.
    #[error("password {problem}")]
    Password {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Somebody else keeps changing the file.
    #[error("{path} is being changed by another process", path = path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// No randomness for a salt.
    #[error("the system gives no random octets")]
    Random,
}

/// What the file says about everybody, at one moment.
pub struct Users {
    pub(crate) by_name: HashMap<String, User>,
    /// Key of the salts shown for users that do not exist, if the file has one.
    pub(crate) salt_key: Option<Secret>,
    /// Iterations of the last verifier of each hash.
    pub(crate) iterations: HashMap<ScramHash, NonZeroU32>,
}

/// One user.
pub struct User {
    /// At most one for each hash, in order of hash.
    pub(crate) verifiers: Vec<Verifier>,
    /// Keyed MAC of the password that was last verified. Lives and dies with this version of the
    /// file, so a changed file forgets it.
    pub(crate) verified: Mutex<Option<blake3::Hash>>,
}

impl Users {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// One user, by exact name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.by_name.get(name)
    }

    /// How many iterations the users here have for a mechanism, as far as one number can tell.
    pub(crate) fn usual_iterations(&self, hash: ScramHash) -> Option<NonZeroU32> {
        self.iterations.get(&hash).copied()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl User {
    /// The verifier for a mechanism's hash.
    pub fn verifier(&self, hash: ScramHash) -> Option<&Verifier> {
        self.verifiers.iter().find(|one| one.hash() == hash)
    }

    /// Whether a password of this user was verified since the file last changed, so that the same
    /// one again costs nothing.
    pub fn is_remembered(&self) -> bool {
        self.remembered().is_some()
    }

    /// The password that was verified, as its MAC.
    pub(crate) fn remembered(&self) -> Option<blake3::Hash> {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a verified password by its MAC.
    pub(crate) fn remember(&self, mac: blake3::Hash) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(mac);
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("verifiers", &self.verifiers)
            .finish_non_exhaustive()
    }
}

/// A users file that is read again when it changes.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    check_interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    users: Arc<Users>,
    stamp: Stamp,
    checked: Instant,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

impl UsersFile {
    /// Reads the file. It must exist; one without users is fine.
    pub fn load(path: &Path) -> Result<Self, UsersError> {
        Self::load_checking(path, CHECK_INTERVAL)
    }

    /// As [`load`](Self::load), with another interval between two looks at the file.
    pub fn load_checking(path: &Path, check_interval: Duration) -> Result<Self, UsersError> {
        let (users, stamp) = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            check_interval,
            state: Mutex::new(State {
                users: Arc::new(users),
                stamp,
                checked: Instant::now(),
            }),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The users as last read, without a look at the file.
    pub fn current(&self) -> Arc<Users> {
        Arc::clone(&self.lock().users)
    }

    /// Whether it is time for [`refresh`](Self::refresh). Says so to one caller per interval, so
    /// that not everybody looks at once.
    pub fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let is_due = now.saturating_duration_since(state.checked) >= self.check_interval;
        if is_due {
            state.checked = now;
        }
        is_due
    }

    /// Looks at the file and reads it if it has changed. If it cannot be read, the users stay as
    /// they were, with an error in the log. Blocks on the disk.
    pub fn refresh(&self) {
        let known = self.lock().stamp;
        match fs::metadata(&self.path) {
            Ok(metadata) if Stamp::of(&metadata) == known => {}
            Ok(metadata) => self.reload(Stamp::of(&metadata)),
            Err(cause) => {
                error!(path = %self.path.display(), %cause, "users file is gone; users stay as they were");
            }
        }
    }

    fn reload(&self, seen: Stamp) {
        match read(&self.path) {
            Ok((users, stamp)) => {
                info!(path = %self.path.display(), users = users.len(), "users file read again");
                let mut state = self.lock();
                state.users = Arc::new(users);
                state.stamp = stamp;
            }
            Err(cause) => {
                error!(%cause, "users file cannot be used; users stay as they were");
                // Once for each state of the file is enough.
                self.lock().stamp = seen;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and checks a whole file, with the stamp of what was read.
fn read(path: &Path) -> Result<(Users, Stamp), UsersError> {
    let failed = |cause| UsersError::Io {
        path: path.to_owned(),
        action: "read",
        cause,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        warn!(path = %path.display(), mode = format!("{:o}", metadata.mode() & 0o7777),
            "users file is open to others than its owner");
    }
    let mut text = zeroize::Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(UsersError::TooLong {
            path: path.to_owned(),
        });
    }
    let users = format::parse(&text).map_err(|(line, problem)| UsersError::Line {
        path: path.to_owned(),
        line,
        problem,
    })?;
    Ok((users, Stamp::of(&metadata)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file_with(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_damaged_reload_keeps_the_users() {
        let (_dir, path) = file_with("");
        set_password(&path, "ann", b"secret").unwrap();
        let file = UsersFile::load_checking(&path, Duration::ZERO).unwrap();
        fs::write(&path, "ann\tnonsense\n").unwrap();
        file.refresh();
        assert!(file.current().user("ann").is_some());
        fs::remove_file(&path).unwrap();
        file.refresh();
        assert!(file.current().user("ann").is_some());
    }

    #[test]
    fn a_change_is_seen() {
        let (_dir, path) = file_with("");
        let file = UsersFile::load_checking(&path, Duration::ZERO).unwrap();
        assert!(file.current().is_empty());
        set_password(&path, "ann", b"secret").unwrap();
        assert!(file.is_due());
        file.refresh();
        assert!(
            file.current()
                .user("ann")
                .unwrap()
                .verifier(ScramHash::Sha1)
                .is_some()
        );
        assert!(remove(&path, "ann").unwrap());
        file.refresh();
        assert!(file.current().is_empty());
    }

    #[test]
    fn one_look_per_interval() {
        let (_dir, path) = file_with("");
        let file = UsersFile::load_checking(&path, Duration::from_hours(1)).unwrap();
        assert!(!file.is_due());
        let eager = UsersFile::load_checking(&path, Duration::ZERO).unwrap();
        assert!(eager.is_due());
    }

    #[test]
    fn a_bad_line_is_named() {
        let (_dir, path) = file_with("# users\n\nann\tSCRAM-SHA-1$4096:AAAA\n");
        let error = UsersFile::load(&path).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{}:3: ", path.display())),
            "{error}"
        );
        let missing = UsersFile::load(Path::new("/nonexistent/users")).unwrap_err();
        assert!(
            missing.to_string().contains("/nonexistent/users"),
            "{missing}"
        );
    }
}
