//! Bytes to commands and responses, and back.
