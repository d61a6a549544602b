//! Temporary directories with short paths.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::account::Account;

/// A directory of its own for one test, `/tmp/mt<process>.<number>`; every program of the test may enter it.
///
/// It goes when the test is over; with `MUPDATE_TESTS_KEEP` in the environment it stays for a look.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/mt{}.{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { path })
    }

    /// As [`Self::new`], owned by the account of the Cyrus programs.
    pub fn for_cyrus(account: &Account) -> Result<Self> {
        let scratch = Self::new()?;
        account.give(&scratch.path)?;
        Ok(scratch)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if env::var_os("MUPDATE_TESTS_KEEP").is_none() {
            // What cannot be removed is litter in /tmp, not a failure.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
