//! What the binaries are made of: configuration, wiring, the control socket, command lines.

pub mod cli;
pub mod config;
pub mod control;
pub mod failure;
pub mod node;
mod operator;
pub mod telemetry;
