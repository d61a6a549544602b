//! The slave of a murder: follows a master and serves what it has.
