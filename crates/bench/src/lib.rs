//! Loads and measures MUPDATE servers (RFC 3656), several side by side, and what the machine under them could do at most.
//!
//! A *row* is one thing that is measured: with one server after another, so that their figures are of the same minutes.
//! Within a row one thread makes the load and each probe has a thread of its own; octets are made before they are needed
//! and nothing is parsed that can be counted, since all this shares its processors with the servers.

pub mod background;
pub mod bench;
pub mod cli;
pub mod crew;
pub mod error;
pub mod limits;
pub mod names;
pub mod number;
pub mod pipeline;
pub mod probe;
pub mod process;
pub mod raw;
pub mod report;
pub mod result;
pub mod rows;
pub mod run;
pub mod scram;
pub mod server;
pub mod stats;
pub mod target;
pub mod worker;
