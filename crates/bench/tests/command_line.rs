//! What people and scripts see of `mupdate-bench` without a server.

use std::error::Error;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(Command::new(env!("CARGO_BIN_EXE_mupdate-bench"))
        .args(arguments)
        .output()?)
}

#[test]
fn help_has_examples_and_rows() -> Result<(), Box<dyn Error>> {
    let output = bench(&["--help"])?;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout)?;
    for part in [
        "Examples:",
        "--server cyrus=127.0.0.1:3905:1234",
        "under-load",
        "--json",
        "--svg",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    Ok(())
}

#[test]
fn misuse_is_told_from_failure() -> Result<(), Box<dyn Error>> {
    assert_eq!(bench(&["--server", "nowhere"])?.status.code(), Some(64));
    let directory = tempfile::tempdir()?;
    let password = directory.path().join("password");
    let password = password.to_str().ok_or("path")?;
    let arguments = [
        "--server",
        "gone=127.0.0.1:1",
        "--user",
        "u",
        "--password-file",
        password,
    ];
    let output = bench(&arguments)?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr)?.contains("password: No such file"));
    std::fs::write(password, "secret\n")?;
    let output = bench(&arguments)?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr)?;
    assert!(
        said.contains("gone: log-in: no connection to 127.0.0.1:1: Connection refused"),
        "{said}"
    );
    Ok(())
}
