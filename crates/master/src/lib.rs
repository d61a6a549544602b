//! The master of a murder: which edits are carried out, and what a master in recovery lets happen.
//! Decisions are pure functions; sessions are the `server` crate's, durability is the store's.

mod recovery;
mod role;
mod rules;

pub use recovery::Recovery;
pub use role::{BeforeOk, MasterRole};
pub use rules::{MasterRules, Murder, Policy};
