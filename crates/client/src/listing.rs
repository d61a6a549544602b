//! The answer to LIST, line by line.

use proto::codec::parse_response;

use crate::client::{Client, end_of_command, response_tag};
use crate::error::Error;
use crate::record::{Listed, Records};

/// The mailboxes of a LIST, in the server's order. Holds one line at a time; dropping it early is
/// fine, the rest is skipped by the next command.
#[derive(Debug)]
pub struct Listing<'a> {
    client: &'a mut Client,
    tag: String,
    is_complete: bool,
    records: Records,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(client: &'a mut Client, tag: String) -> Self {
        Self {
            client,
            tag,
            is_complete: false,
            records: Records::default(),
        }
    }

    /// The next mailbox; `None` once the server has said that the list is complete. A list that is
    /// cut off is an error, never an end.
    pub async fn next(&mut self) -> Result<Option<Listed>, Error> {
        while !self.is_complete {
            let line = self.client.receive("LIST").await?;
            let response = parse_response(&line)?;
            if response_tag(&response) == Some(self.tag.as_bytes())
                && let Some(listed) = self.records.listed(&response)
            {
                return Ok(Some(listed));
            }
            self.is_complete = end_of_command("LIST", &self.tag, &response)?;
        }
        Ok(None)
    }
}
