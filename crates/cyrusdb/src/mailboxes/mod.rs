//! The records of `mailboxes.db` (format document, section 8).
//!
//! [`Naming`] turns mailbox names into keys and back, [`Record`] entries into values and back, and
//! [`Mailboxes`] puts both into a database, with the reverse ACL index, past local records.

mod edit;
mod naming;
mod record;
mod reverse;

pub use edit::{Mailboxes, Outcome};
pub use naming::{KeyMeaning, KeyStyle, Naming, StyleGuess};
pub use record::{InvalidRecord, Local, Record};
pub use reverse::ReverseAcls;
