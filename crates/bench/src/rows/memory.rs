//! Memory of a server's process.

use crate::number::figure;
use crate::process::Look;
use crate::result::{Figure, Unit};
use crate::run::Run;

/// What a load has made of it, for each mailbox. A server keeps more than the list in memory, such as a history.
pub fn grown(run: &Run, before: Option<Look>) -> Vec<Figure> {
    let Some((before, after)) = before.zip(run.look()) else {
        return Vec::new();
    };
    let grown = after.anonymous_bytes.saturating_sub(before.anonymous_bytes);
    let each = figure(grown) / figure(run.plan.mailboxes.max(1));
    let anonymous = figure(after.anonymous_bytes);
    vec![
        Figure::one(
            "memory_each",
            "RssAnon, for each mailbox loaded",
            Unit::Bytes,
            each,
        ),
        Figure::one("memory", "RssAnon", Unit::Bytes, anonymous),
    ]
}
