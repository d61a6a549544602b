//! `mupdatectl passwd`.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, bail};
use transport::users;

/// Longest password read, in octets.
const PASSWORD_BYTES_MAX: u64 = 4096;

const HELP: &str = "\
The password is asked for at a terminal; otherwise it is standard input, without one final newline.
The file holds SCRAM verifiers, from which the password can't be read, and a running server notices
the change by itself.

Examples:
  mupdatectl passwd --users /var/lib/mupdate/users backend1
  printf %s \"$PASSWORD\" | mupdatectl passwd --users users backend1";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The users file; it is made if need be.
    #[arg(long, value_name = "FILE")]
    users: PathBuf,
    /// The user's name, as it stands in 'admins'.
    user: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let password = if io::stdin().is_terminal() {
        prompt(&args.user)?
    } else {
        read_password(io::stdin())?
    };
    users::set_password(&args.users, &args.user, &password)?;
    Ok(())
}

fn prompt(user: &str) -> anyhow::Result<Vec<u8>> {
    let password = rpassword::prompt_password(format!("Password for {user}: "))
        .context("read the password")?;
    let again = rpassword::prompt_password("Again: ").context("read the password")?;
    if password != again {
        bail!("the two passwords differ, nothing was changed");
    }
    Ok(password.into_bytes())
}

/// A password from a pipe or a file: everything but one final newline.
pub(super) fn read_password(input: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut password = Vec::new();
    input
        .take(PASSWORD_BYTES_MAX)
        .read_to_end(&mut password)
        .context("read the password")?;
    password.pop_if(|last| *last == b'\n');
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}
