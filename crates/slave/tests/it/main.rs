//! The slave against masters on real sockets: scripted ones that misbehave, and our own.

mod common;
mod dumps;
mod held;
mod kicks;
mod murder;
mod scripted;
