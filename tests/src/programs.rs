//! Where the programs under test are.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

/// The directory that holds `mupdate` and `mupdatectl`: `MUPDATE_BIN_DIR`, else the target directory of this test.
///
/// # Errors
///
/// When they are not there, with what to do about it. Cargo builds binaries for tests of their own package only, so
/// `cargo test -p mupdate-tests` alone finds what an earlier `cargo build` left, or nothing.
pub fn directory() -> Result<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| search().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// Puts our programs into `directory`, where a system account can run them: a checkout below a closed home directory is
/// out of its reach. They may be the same files, so nothing must be changed about them.
pub fn copy_to(directory: &Path) -> Result<()> {
    let from = self::directory()?;
    for name in NAMES {
        let (from, to) = (from.join(name), directory.join(name));
        if fs::hard_link(&from, &to).is_err() {
            // Not by this process: what another thread starts meanwhile would hold the new file open for writing, and
            // such a file cannot be run.
            let status = Command::new("cp")
                .arg(&from)
                .arg(&to)
                .status()
                .context("start cp")?;
            ensure!(
                status.success(),
                "cannot copy {} to {}",
                from.display(),
                to.display()
            );
        }
    }
    Ok(())
}

/// Runs one of our programs where it is; returns its exit status, what it wrote to standard output and what to standard
/// error.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(directory()?.join(name));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
    Ok((
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    ))
}

/// A file of this package, for instance `cyrus-murder/murder.py`.
pub fn package_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn search() -> Result<PathBuf> {
    let given = env::var_os("MUPDATE_BIN_DIR").map(PathBuf::from);
    // The test is target/<profile>/deps/<name>-<hash>; the binaries are in target/<profile>.
    let beside = env::current_exe()?.ancestors().nth(2).map(Path::to_owned);
    let directory = given
        .or(beside)
        .context("no directory to look for the programs in")?;
    for name in NAMES {
        if !directory.join(name).is_file() {
            bail!(
                "no {name} in {}: run tests/run, or `cargo build --workspace --bins` and then the tests again, or \
                 name the directory in MUPDATE_BIN_DIR",
                directory.display()
            );
        }
    }
    Ok(directory)
}

const NAMES: [&str; 2] = ["mupdate", "mupdatectl"];
