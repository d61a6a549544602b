//! The header of a literal: `{n}` or `{n+}` and CRLF, behind its `{`.

/// What was seen of a header.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Header {
    size: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    Size,
    Digits,
    Plus,
    Close {
        awaited: bool,
    },
    Return {
        awaited: bool,
    },
}

/// What one more octet makes of a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderStep {
    Again,
    Malformed,
    Complete {
        /// Octets that follow; saturates.
        size: usize,
        /// Whether the peer waits for a go-ahead.
        awaited: bool,
    },
}

impl Header {
    pub(super) fn step(&mut self, octet: u8) -> HeaderStep {
        self.stage = match (self.stage, octet) {
            (Stage::Size | Stage::Digits, b'0'..=b'9') => {
                let digit = usize::from(octet - b'0');
                self.size = self.size.saturating_mul(10).saturating_add(digit);
                Stage::Digits
            }
            (Stage::Digits, b'+') => Stage::Plus,
            (Stage::Digits, b'}') => Stage::Close { awaited: true },
            (Stage::Plus, b'}') => Stage::Close { awaited: false },
            (Stage::Close { awaited }, b'\r') => Stage::Return { awaited },
            (Stage::Return { awaited }, b'\n') => {
                return HeaderStep::Complete {
                    size: self.size,
                    awaited,
                };
            }
            (_, _) => return HeaderStep::Malformed,
        };
        HeaderStep::Again
    }
}
