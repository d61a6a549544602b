//! The crate from outside, over real sockets and against real programs.

#[cfg(test)]
mod common;
#[cfg(test)]
mod cyrus;
#[cfg(test)]
mod sasl;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod tls;
