//! Removes what a bench has made, this one or one before it that did not come to its end.

use std::sync::Arc;

use client::Listed;

use crate::crew::{self, Commands};
use crate::error::Error;
use crate::names::{is_ours, push_about_name};
use crate::number::{count, length};
use crate::run::Run;

/// Deletes every mailbox whose name is one of a bench's; how many there were.
///
/// What is there is asked first: Cyrus 3.6 ends at a DELETE of a name that it does not know.
pub async fn clean(run: &Run) -> Result<u64, Error> {
    let names = Arc::new(listed(run).await?);
    run.set_loaded(false);
    let found = count(names.len());
    if found > 0 {
        let push = |out: &mut Vec<u8>, number: u64| {
            let name = names
                .get(length(number))
                .map(Vec::as_slice)
                .unwrap_or_default();
            push_about_name(out, "D", "DELETE", name);
        };
        let commands = Commands::deal(run, ("D", "DELETE"), &(0..found), push);
        crew::send(run, commands, far_away()).await?;
    }
    Ok(found)
}

/// No deadline: what has begun must be done.
pub fn far_away() -> std::time::Instant {
    std::time::Instant::now() + std::time::Duration::from_hours(8760)
}

async fn listed(run: &Run) -> Result<Vec<Vec<u8>>, Error> {
    let failed = |cause| Error::LogIn {
        server: run.target.name.clone(),
        cause: Box::new(cause),
    };
    let mut client = run.target.client().await?;
    let mut listing = client.list(None);
    let mut names = Vec::new();
    while let Some(listed) = listing.next().await.map_err(failed)? {
        if let Listed::Mailbox { name, .. } = listed {
            let name = name.to_vec();
            if is_ours(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}
