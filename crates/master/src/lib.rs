//! The master of a murder: which edits are carried out, what a master in recovery lets happen, and
//! the kick socket on its host. Decisions are pure functions; sessions are the `server` crate's,
//! durability is the store's.

mod kick;
mod recovery;
mod role;
mod rules;

pub use kick::{KickError, KickSocket};
pub use recovery::Recovery;
pub use role::{BeforeOk, MasterRole};
pub use rules::{MasterRules, Murder, Policy};
