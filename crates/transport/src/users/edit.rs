//! Changing a users file: a new file beside the old one, then a rename.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use stringprep::saslprep;
use zeroize::Zeroizing;

use super::format::{SALT_KEY_BYTES, check_name, salt_key_line, user_line};
use super::{FILE_BYTES_MAX, UsersError, format};
use crate::scram::{ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN};
use crate::scram::{SALT_BYTES, ScramHash, Verifier};

/// Longest password, in octets.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Tries for the lock, and the pause between two.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// First line of a new file.
const HEADING: &str = "# SCRAM verifiers, one user a line; written by mupdatectl passwd\n";

/// Gives `user` this password, for every mechanism; creates the file and the user if need be. The
/// file is replaced in one step, is durable on return, readable by its owner only, and keeps its
/// owner, its comments and its order. Blocks: PBKDF2 three times and the disk.
pub fn set_password(path: &Path, user: &str, password: &[u8]) -> Result<(), UsersError> {
    set_password_with(path, user, password, ITERATIONS_DEFAULT)
}

/// As [`set_password`] with another number of iterations, cut to what is accepted.
pub fn set_password_with(
    path: &Path,
    user: &str,
    password: &[u8],
    iterations: u32,
) -> Result<(), UsersError> {
    check_name(user)?;
    let password = prepare_password(password)?;
    let iterations = NonZeroU32::new(iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX))
        .unwrap_or(NonZeroU32::MIN);
    let mut verifiers = Vec::with_capacity(ScramHash::ALL.len());
    for hash in ScramHash::ALL {
        let salt = random::<SALT_BYTES>()?;
        verifiers.push(Verifier::derive(
            hash,
            &password,
            salt.as_slice(),
            iterations,
        ));
    }
    let line = user_line(user, &verifiers);
    rewrite(path, user, Some(&line)).map(|_existed| ())
}

/// Takes `user` out of the file; whether there was one.
pub fn remove(path: &Path, user: &str) -> Result<bool, UsersError> {
    rewrite(path, user, None)
}

/// The password as clients send it: prepared (RFC 4013), since both SCRAM and PLAIN of RFC 4616
/// compare prepared strings.
fn prepare_password(password: &[u8]) -> Result<Zeroizing<Vec<u8>>, UsersError> {
    let problem = |problem| UsersError::Password { problem };
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(problem("is longer than 1024 octets"));
    }
    let text = str::from_utf8(password).map_err(|_| problem("is not UTF-8"))?;
    let prepared = saslprep(text).map_err(|_| problem("has a character that SASL forbids"))?;
    if prepared.is_empty() {
        return Err(problem("is empty"));
    }
    Ok(Zeroizing::new(prepared.as_bytes().to_vec()))
}

/// Replaces, adds or drops the line of `user`; whether there was one.
fn rewrite(path: &Path, user: &str, line: Option<&str>) -> Result<bool, UsersError> {
    let target = Target::open(path)?;
    let old = target.read()?;
    // What is there must be sound, or the change would bury the damage.
    format::parse(&old).map_err(|(line, problem)| UsersError::Line {
        path: target.path.clone(),
        line,
        problem,
    })?;
    let (text, existed) = edited(&old, user, line)?;
    if line.is_some() || existed {
        target.replace(&text)?;
    }
    Ok(existed)
}

/// The new text of the file, and whether the user had a line.
fn edited(
    old: &[u8],
    user: &str,
    line: Option<&str>,
) -> Result<(Zeroizing<Vec<u8>>, bool), UsersError> {
    // Reserved at once: a growing buffer would leave unwiped copies behind.
    let extra = line.map_or(0, str::len) + HEADING.len() + 128;
    let mut text = Zeroizing::new(Vec::with_capacity(old.len() + extra));
    if old.is_empty() {
        text.extend_from_slice(HEADING.as_bytes());
    }
    if !old.starts_with(b"!salt-key\t") && !contains(old, b"\n!salt-key\t") {
        text.extend_from_slice(salt_key_line(&*random::<SALT_KEY_BYTES>()?).as_bytes());
    }
    let mut existed = false;
    for kept in old.split_inclusive(|&octet| octet == b'\n') {
        let is_user = kept
            .strip_prefix(user.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"\t"));
        if !is_user {
            text.extend_from_slice(kept);
            if !kept.ends_with(b"\n") {
                text.push(b'\n');
            }
            continue;
        }
        existed = true;
        text.extend_from_slice(line.unwrap_or_default().as_bytes());
    }
    if !existed {
        text.extend_from_slice(line.unwrap_or_default().as_bytes());
    }
    Ok((text, existed))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, UsersError> {
    let mut octets = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(octets.as_mut_slice())
        .map_err(|_| UsersError::Random)?;
    Ok(octets)
}

/// A users file about to change, its directory locked against others who want to change it.
struct Target {
    /// Behind any symbolic link, which a rename would replace.
    path: PathBuf,
    directory_path: PathBuf,
    directory: File,
}

impl Target {
    fn open(path: &Path) -> Result<Self, UsersError> {
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(cause) if cause.kind() == ErrorKind::NotFound => path.to_owned(),
            Err(cause) => return Err(failed(path, "find", cause)),
        };
        let directory_path = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let directory =
            File::open(&directory_path).map_err(|cause| failed(&directory_path, "open", cause))?;
        let target = Self {
            path,
            directory_path,
            directory,
        };
        target.lock()?;
        Ok(target)
    }

    fn lock(&self) -> Result<(), UsersError> {
        for _ in 0..LOCK_TRIES {
            match self.directory.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(cause)) => {
                    return Err(failed(&self.directory_path, "lock", cause));
                }
            }
        }
        Err(UsersError::Busy {
            path: self.path.clone(),
        })
    }

    /// The old text; empty without a file.
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, UsersError> {
        let too_long = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len() > FILE_BYTES_MAX,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Zeroizing::default()),
            Err(cause) => return Err(failed(&self.path, "read", cause)),
        };
        if too_long {
            return Err(UsersError::TooLong {
                path: self.path.clone(),
            });
        }
        fs::read(&self.path)
            .map(Zeroizing::new)
            .map_err(|cause| failed(&self.path, "read", cause))
    }

    fn replace(&self, text: &[u8]) -> Result<(), UsersError> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = self.directory_path.join(name);
        let written = self
            .write_new(&temporary, text)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .and_then(|()| self.directory.sync_all());
        written.map_err(|cause| {
            // Gone already if it was the directory that failed to sync.
            drop(fs::remove_file(&temporary));
            failed(&self.path, "write", cause)
        })
    }

    fn write_new(&self, temporary: &Path, text: &[u8]) -> io::Result<()> {
        // We hold the lock, so what is there is what a crash left.
        match fs::remove_file(temporary) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary)?;
        self.hand_over(&file)?;
        file.write_all(text)?;
        file.sync_all()
    }

    /// Keeps the owner: an administrator who changes a password as root must not lock the daemon
    /// out. A new file belongs to the owner of its directory if root makes it.
    fn hand_over(&self, file: &File) -> io::Result<()> {
        let ours = file.metadata()?;
        let wanted = match fs::metadata(&self.path) {
            Ok(old) => old,
            Err(_) if ours.uid() == 0 => self.directory.metadata()?,
            Err(_) => return Ok(()),
        };
        if (wanted.uid(), wanted.gid()) == (ours.uid(), ours.gid()) {
            return Ok(());
        }
        fchown(file, Some(wanted.uid()), Some(wanted.gid()))
    }
}

fn failed(path: &Path, action: &'static str, cause: io::Error) -> UsersError {
    UsersError::Io {
        path: path.to_owned(),
        action,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::super::UsersFile;
    use super::*;

    fn matches(path: &Path, user: &str, password: &[u8]) -> bool {
        let users = UsersFile::load(path).unwrap().current();
        ScramHash::ALL.into_iter().all(|hash| {
            let verifier = users.user(user).unwrap().verifier(hash).unwrap();
            verifier.matches(password)
        })
    }

    #[test]
    fn creates_replaces_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        set_password(&path, "ann", b"one").unwrap();
        set_password(&path, "anna", b"two").unwrap();
        set_password(&path, "ann", b"three").unwrap();
        assert!(matches(&path, "ann", b"three"));
        assert!(matches(&path, "anna", b"two"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(remove(&path, "ann").unwrap());
        assert!(!remove(&path, "ann").unwrap());
        assert_eq!(UsersFile::load(&path).unwrap().current().len(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn keeps_comments_order_and_the_salt_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        set_password(&path, "ann", b"one").unwrap();
        let with_comment = format!("{}# backends", fs::read_to_string(&path).unwrap());
        fs::write(&path, &with_comment).unwrap();
        set_password(&path, "bob", b"two").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&format!("{with_comment}\nbob\t")),
            "{text}"
        );
        assert_eq!(text.matches("!salt-key\t").count(), 1);
    }

    #[test]
    fn a_damaged_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs::write(&path, "ann\tnonsense\n").unwrap();
        assert!(matches!(
            set_password(&path, "bob", b"two"),
            Err(UsersError::Line { line: 1, .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"ann\tnonsense\n");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let link = dir.path().join("link");
        set_password(&path, "ann", b"one").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        set_password(&link, "ann", b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(matches(&path, "ann", b"two"));
    }

    #[test]
    fn a_lock_held_by_another_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let path = path.clone();
                std::thread::spawn(move || set_password(&path, &format!("u{number}"), b"x"))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
        assert_eq!(UsersFile::load(&path).unwrap().current().len(), 8);
    }

    #[test]
    fn impossible_passwords() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        for password in [b"".as_slice(), b"a\0b", b"\xff", &[b'x'; 1025]] {
            assert!(matches!(
                set_password(&path, "ann", password),
                Err(UsersError::Password { .. })
            ));
        }
        assert!(!path.exists());
    }
}
