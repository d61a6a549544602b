//! When mailboxes were last changed, from the store's log.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use proto::MailboxName;
use store::log::{ReadError, What, read};
use store::{FileSystem, Sequence};

/// When mailboxes were last changed, deletions too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeTimes(HashMap<MailboxName, SystemTime>);

impl ChangeTimes {
    /// Those of the changes after `after`, from the log in `dir`, which the store may be using. What
    /// a crash has torn off the end of the log was never answered, so it is passed over.
    pub fn read(fs: &dyn FileSystem, dir: &Path, after: Sequence) -> Result<Self, ReadError> {
        let mut times = HashMap::new();
        for group in read(fs, dir)? {
            let group = match group {
                Err(ReadError::NoGroup { .. }) => continue,
                other => other?,
            };
            for record in group.records {
                if let What::Change(change) = record.what
                    && record.sequence > after
                {
                    times.insert(change.mailbox, record.time);
                }
            }
        }
        Ok(Self(times))
    }

    /// When a mailbox was last changed; `None`: not since.
    pub fn of(&self, name: &MailboxName) -> Option<SystemTime> {
        self.0.get(name).copied()
    }
}
