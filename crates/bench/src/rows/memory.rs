//! Memory of a server's process.

use crate::number::figure;
use crate::process::Look;
use crate::result::{Figure, Unit};
use crate::run::Run;

/// What loads have made of it, for each mailbox. A server keeps more than the list in memory: a history of what was
/// done, and room that was free again after it.
pub fn grown(run: &Run, before: Option<Look>, first: Option<Look>) -> Vec<Figure> {
    let Some(((before, first), last)) = before.zip(first).zip(run.look()) else {
        return Vec::new();
    };
    let each = |after: Look| {
        let grown = after.anonymous_bytes.saturating_sub(before.anonymous_bytes);
        figure(grown) / figure(run.plan.mailboxes.max(1))
    };
    let anonymous = figure(last.anonymous_bytes);
    vec![
        Figure::one(
            "memory_each",
            "RssAnon more, for each mailbox, after the first load",
            Unit::Bytes,
            each(first),
        ),
        Figure::one(
            "memory_kept",
            "… after the last, with removals between them",
            Unit::Bytes,
            each(last),
        ),
        Figure::one("memory", "RssAnon", Unit::Bytes, anonymous),
    ]
}
