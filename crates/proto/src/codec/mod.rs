//! Bytes to commands and responses, and back.
//!
//! A stream is cut into whole commands ([`Splitter`]) or responses ([`ResponseSplitter`]) before
//! anything is parsed; parsers ([`parse_command`], [`parse_response`]) see whole ones only, and
//! [`encode`] writes what Cyrus would.

mod command;
mod discard;
pub mod encode;
mod header;
mod limits;
mod parse;
mod response;
mod response_splitter;
mod sasl;
mod split;
mod splitter;
mod strings;
mod tag;

pub(crate) use self::tag::before_nul;

pub use self::command::{Command, ResyncCommand, ResyncVerb, Shape, UPDATE_HOSTS_MAX, Verb};
pub use self::limits::{CommandLimits, Limits, ResponseLimits};
pub use self::parse::{Malformed, parse_command};
pub use self::response::{Response, ResyncResponse, Status, parse_response};
pub use self::response_splitter::{ResponseSplitter, ResponseTooLong};
pub use self::sasl::{BadBase64, decode_base64, encode_base64, encode_sasl_line};
pub use self::split::{Fault, Split, TooLong};
pub use self::splitter::Splitter;
pub use self::tag::Tag;
