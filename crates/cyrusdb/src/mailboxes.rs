//! mb
