//! A peer's picture of the mailbox list.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::response::Response;

/// What is known of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Location and ACL.
    Active(String, String),
    /// Location.
    Reserved(String),
}

/// Mailboxes by name. Octets outside of UTF-8 are replaced, which is good enough for comparing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<String, Known>);

impl Listing {
    /// Takes over what one MAILBOX, RESERVE or DELETE says; other responses are refused with `false`.
    pub fn apply(&mut self, response: &Response) -> Result<bool> {
        let text = |octets: &Vec<u8>| String::from_utf8_lossy(octets).into_owned();
        match (response.word.as_str(), response.arguments.as_slice()) {
            ("MAILBOX", [name, location, acl]) => {
                self.0
                    .insert(text(name), Known::Active(text(location), text(acl)));
            }
            ("RESERVE", [name, location]) => {
                self.0.insert(text(name), Known::Reserved(text(location)));
            }
            ("DELETE", [name]) => {
                self.0.remove(&text(name));
            }
            ("MAILBOX" | "RESERVE" | "DELETE", _) => {
                bail!(
                    "wrong number of strings: {}",
                    String::from_utf8_lossy(&response.raw)
                )
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The names, in byte order.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl FromIterator<(String, Known)> for Listing {
    fn from_iter<I: IntoIterator<Item = (String, Known)>>(mailboxes: I) -> Self {
        Self(mailboxes.into_iter().collect())
    }
}
