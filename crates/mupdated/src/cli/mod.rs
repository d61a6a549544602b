//! Command lines. Only this module prints.

mod certificates;
pub(crate) mod check;
mod db;
mod demo;
mod diff;
mod flags;
mod local;
pub mod mupdate;
pub mod mupdatectl;
mod passwd;
mod remote;
mod verify;

use std::process::ExitCode;

use crate::failure::Failure;

/// Shows what clap has to say: help and version are answers, the rest is misuse (`EX_USAGE`).
pub fn usage(said: &clap::Error) -> ExitCode {
    let shown = said.print();
    if said.use_stderr() || shown.is_err() {
        ExitCode::from(64)
    } else {
        ExitCode::SUCCESS
    }
}

/// Says on standard error why the program ends.
#[expect(
    clippy::print_stderr,
    reason = "the last words of a command go to its user"
)]
pub fn complain(program: &str, failure: &Failure) {
    eprintln!("{program}: {failure}");
}
