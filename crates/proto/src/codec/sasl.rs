//! Base64 of SASL exchanges: lines of it, with no prefix, both ways.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use thiserror::Error;

/// Octets that are not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not base64")]
pub struct BadBase64;

/// Appends a challenge, or an answer, as a line.
pub fn encode_sasl_line(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(encode_base64(message).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Base64 of some octets, with padding.
pub fn encode_base64(message: &[u8]) -> String {
    BASE64.encode(message)
}

/// Octets of some base64; its padding may be missing.
pub fn decode_base64(text: &[u8]) -> Result<Vec<u8>, BadBase64> {
    BASE64.decode(text).map_err(|_| BadBase64)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
