//! A replay of recorded dialogues.

pub(crate) mod driver;
pub(crate) mod script;
