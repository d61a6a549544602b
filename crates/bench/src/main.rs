//! `mupdate-bench`: see `mupdate-bench --help`.

use std::io::Write as _;
use std::process::ExitCode;

use bench::cli::{Args, run};
use bench::error::chain;
use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(said) => {
            let shown = said.print();
            return if said.use_stderr() || shown.is_err() {
                ExitCode::from(64)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(std::io::stderr(), "mupdate-bench: {}", chain(&error)).unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}
