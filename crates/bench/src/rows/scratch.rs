//! Names of a row's own, removed at its end.

use crate::crew::{self, Commands};
use crate::error::Error;
use crate::names::{LOCATION, Mark, Scratch, push_about_scratch, push_activate_scratch};
use crate::raw::Raw;
use crate::rows::clean::far_away;
use crate::run::Run;

/// Changes one of `names` names of a row, the ACL of change `number` naming that number.
pub async fn edit(
    raw: &mut Raw,
    octets: &mut Vec<u8>,
    row: &'static str,
    number: u64,
    names: u64,
) -> Result<(), Error> {
    octets.clear();
    let scratch = Scratch {
        row,
        number: number % names.max(1),
    };
    push_activate_scratch(octets, "A", scratch, LOCATION, &Mark::new(number));
    raw.command(octets, "A", "ACTIVATE").await
}

/// Removes names that a row has made, all of which must be there.
pub async fn remove(run: &Run, row: &'static str, names: u64) -> Result<(), Error> {
    if names == 0 {
        return Ok(());
    }
    let push =
        |out: &mut Vec<u8>, number| push_about_scratch(out, "D", "DELETE", Scratch { row, number });
    crew::send(
        run,
        Commands::deal(run, ("D", "DELETE"), &(0..names), push),
        far_away(),
    )
    .await?;
    Ok(())
}
