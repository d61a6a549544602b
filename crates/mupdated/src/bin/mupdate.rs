//! `mupdate`: see `mupdate --help`.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use mupdated::cli::mupdate::{Args, run};

/// A list is millions of small values made by one thread and dropped by another, on which glibc's allocator spends a fifth
/// of a first resync.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => return mupdated::cli::usage(&usage),
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            mupdated::cli::complain("mupdate", &failure);
            failure.exit_code()
        }
    }
}
