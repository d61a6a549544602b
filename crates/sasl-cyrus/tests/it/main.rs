//! Tests of the crate as a whole.

#[cfg(test)]
mod log_in;
