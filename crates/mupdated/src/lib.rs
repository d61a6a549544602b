//! What the binaries are made of: configuration, wiring, the control socket, command lines.

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod failure;
pub mod inherited_fds;
pub mod node;
mod operator;
mod service;
pub mod telemetry;
