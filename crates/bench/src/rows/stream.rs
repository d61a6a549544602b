//! Streaming slaves.

use memchr::memmem::Finder;

use crate::background::{DUMP, DUMP_END};
use crate::error::Error;
use crate::raw::Raw;
use crate::target::Target;

/// A slave past its dump, with every change so far behind it.
pub async fn synced(target: &Target) -> Result<Raw, Error> {
    let mut raw = target.connect().await?;
    raw.send(DUMP, "UPDATE").await?;
    raw.seek(&Finder::new(DUMP_END), "UPDATE").await?;
    noop(&mut raw, &Finder::new(NOOP_END)).await?;
    Ok(raw)
}

/// Asks whether all changes have come, and waits for the answer behind them; `end` finds [`NOOP_END`].
pub async fn noop(raw: &mut Raw, end: &Finder<'_>) -> Result<(), Error> {
    raw.send(b"N01 NOOP\r\n", "NOOP of a streaming slave")
        .await?;
    raw.seek(end, "NOOP of a streaming slave").await
}

/// How the answer to [`noop`] begins.
pub const NOOP_END: &[u8] = b"\nN01 OK ";
