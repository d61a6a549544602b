//! How much a peer may send before its session ends.

use crate::ACL_BYTES_MAX;

/// Bounds of what a server reads from one session. All figures are octets.
///
/// Cyrus has one bound for words and strings (131072) whose excess ends the whole process, before
/// login too; here an excess ends one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest tag.
    pub tag_bytes_max: usize,
    /// Longest line of a SASL exchange, without its line end (Cyrus: 21848).
    pub sasl_line_bytes_max: usize,
    /// Bounds of a peer that has not logged in.
    pub before_login: CommandLimits,
    /// Bounds of a peer that has logged in.
    pub after_login: CommandLimits,
}

/// Bounds of one command. All figures are octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandLimits {
    /// The command without the contents of its literals, with its line end.
    pub line_bytes_max: usize,
    /// The contents of one literal.
    pub literal_bytes_max: usize,
    /// The contents of all literals of one command together.
    pub literals_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tag_bytes_max: 1024,
            sasl_line_bytes_max: 21_848,
            before_login: CommandLimits {
                line_bytes_max: 8 * 1024,
                literal_bytes_max: 32 * 1024,
                literals_bytes_max: 64 * 1024,
            },
            after_login: CommandLimits {
                line_bytes_max: 128 * 1024,
                literal_bytes_max: ACL_BYTES_MAX,
                literals_bytes_max: 1024 * 1024,
            },
        }
    }
}

/// Bounds of what a client reads from its server. All figures are octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseLimits {
    /// A response without the contents of its literals, with its line end.
    pub line_bytes_max: usize,
    /// The contents of one literal.
    pub literal_bytes_max: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 512 * 1024,
            literal_bytes_max: 512 * 1024,
        }
    }
}
