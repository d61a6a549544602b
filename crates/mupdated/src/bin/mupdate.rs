//! `mupdate`: see `mupdate --help`.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use mupdated::cli::mupdate::Args;
use mupdated::cli::{complain, usage};
use mupdated::failure::{Failure, Status};

/// A list is millions of small values made by one thread and dropped by another, on which glibc's allocator spends a fifth
/// of a first resync.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let started = mupdated::inherited_fds::take();
    let inherited = match started {
        Ok(inherited) => inherited,
        Err(cause) => return end(&Failure::new(Status::Usage, cause)),
    };
    let args = match Args::read(std::env::args_os(), &inherited) {
        Ok(args) => args,
        Err(said) => return usage(&said),
    };
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(mupdated::daemon::run(args, inherited)),
        Err(cause) => end(&Failure::new(Status::System, cause)),
    }
}

fn end(failure: &Failure) -> ExitCode {
    complain("mupdate", failure);
    failure.exit_code()
}
