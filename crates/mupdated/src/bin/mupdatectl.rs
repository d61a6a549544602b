//! `mupdatectl`: see `mupdatectl --help`.

use std::process::ExitCode;

use clap::Parser;
use mupdated::cli::mupdatectl::{Args, run};

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => return mupdated::cli::usage(&usage),
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            mupdated::cli::complain("mupdatectl", &failure);
            failure.exit_code()
        }
    }
}
