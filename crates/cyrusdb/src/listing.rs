//! Keys and values as lines of text: `KEY<TAB>VALUE`, other bytes than 0x20-0x7e and the backslash
//! as `\xNN`.

use thiserror::Error;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Why a line's escapes can't be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("bad escape at {at}, expected \\xNN")]
pub struct InvalidEscape {
    /// Offset of the backslash.
    pub at: usize,
}

/// Appends `bytes` to `line`, escaped.
pub fn escape(bytes: &[u8], line: &mut String) {
    for &octet in bytes {
        match octet {
            b'\\' | ..=0x1f | 0x7f.. => {
                line.push_str("\\x");
                for digit in [octet >> 4, octet & 15] {
                    line.push(
                        DIGITS
                            .get(usize::from(digit))
                            .copied()
                            .unwrap_or(b'?')
                            .into(),
                    );
                }
            }
            0x20..=0x7e => line.push(octet.into()),
        }
    }
}

/// The bytes that `text` stands for.
pub fn unescape(text: &str) -> Result<Vec<u8>, InvalidEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split("\\x");
    let first = parts.next().unwrap_or_default();
    let plain = |part: &str, at: usize| match part.find('\\') {
        Some(found) => Err(InvalidEscape { at: at + found }),
        None => Ok(()),
    };
    plain(first, 0)?;
    bytes.extend_from_slice(first.as_bytes());
    let mut at = first.len();
    for part in parts {
        let value = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let rest = part.get(2..).unwrap_or_default();
        plain(rest, at + 4)?;
        bytes.push(value.ok_or(InvalidEscape { at })?);
        bytes.extend_from_slice(rest.as_bytes());
        at += 2 + part.len();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        let mut line = String::new();
        escape(&all, &mut line);
        assert!(line.contains("\\x1f !\"#") && line.contains("[\\x5c]") && line.ends_with("\\xff"));
        assert_eq!(unescape(&line).unwrap(), all);
        assert_eq!(unescape("ab\\q"), Err(InvalidEscape { at: 2 }));
        assert_eq!(unescape("a\\x4"), Err(InvalidEscape { at: 1 }));
        assert_eq!(unescape("\\x41\\"), Err(InvalidEscape { at: 4 }));
    }
}
