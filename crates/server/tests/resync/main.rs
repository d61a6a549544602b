//! RESYNC (`docs/resync.md`) against a server over a real store and a real socket. The peer in these
//! tests computes hashes and buckets by itself, as the specification has them, and checks its list
//! against every point that it is told.

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod site;
#[cfg(test)]
mod streams;
