//! A whole Cyrus murder with our master in it: backend, frontend, proxying, `ctl_mboxlist`, `mupdatetest`.

use anyhow::Result;
use mupdate_tests::harness::{cyrus_only, murder};

#[test]
fn the_harness_passes_with_cyrus_alone() -> Result<()> {
    cyrus_only(&["--sasl-mechs", "PLAIN"])
}

#[test]
fn plain() -> Result<()> {
    murder(&["--sasl-mechs", "PLAIN"])
}

#[test]
fn scram_sha_256() -> Result<()> {
    murder(&["--sasl-mechs", "SCRAM-SHA-256"])
}

#[test]
fn tls() -> Result<()> {
    murder(&["--tls"])
}
