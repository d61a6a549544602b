//! The binaries, as a script runs them.

#[cfg(test)]
mod db;
