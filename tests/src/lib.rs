//! Helpers shared by the integration tests: real processes on loopback, and plain peers that talk to them.
//!
//! Nothing here uses the crates under test, so a mistake of ours cannot hide by being made on both ends. Every wait
//! has an end, every process is stopped by its id, and all files live below one short directory per test (unix
//! sockets have room for about a hundred octets of path).

pub mod account;
pub mod certificates;
pub mod cyrus;
pub mod dialogue;
pub mod frontend;
pub mod harness;
pub mod host;
pub mod libsasl;
pub mod link;
pub mod listing;
pub mod master;
pub mod ports;
pub mod process;
pub mod programs;
pub mod replay;
pub mod response;
pub mod scram;
pub mod scratch;
pub mod site;
pub mod supervisor;
pub mod syslog;
pub mod transcript;
pub mod wait;
pub mod wire;
