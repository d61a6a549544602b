//! The slave against masters on real sockets: scripted ones that misbehave, our own, and
//! Cyrus's.

#[cfg(test)]
mod common;
#[cfg(test)]
mod cyrus;
#[cfg(test)]
mod dumps;
#[cfg(test)]
mod held;
#[cfg(test)]
mod kicks;
#[cfg(test)]
mod murder;
#[cfg(test)]
mod resync;
#[cfg(test)]
mod scripted;
