//! What an exporter is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use cyrusdb::file::Access;
use cyrusdb::mailboxes::{KeyStyle, Naming};
use cyrusdb::twoskip::{Options, Order};

use crate::Window;

/// How long one try for the lock may take: between tries a wish to stop is seen.
const LOCK_SLICE: Duration = Duration::from_millis(100);

/// Which style of keys to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StyleSetting {
    /// That of the keys in the file; if there are none, that of the installed Cyrus; else by name.
    Auto,
    /// This one; a file with keys of the other is treated as [`Misfit`] says.
    Fixed(KeyStyle),
}

/// What to do with a file that can't be kept: skiplist or twom, keys of another style, damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// Put a new one in its place and keep the old beside it: on a frontend the file only repeats
    /// what the master knows. Not done on a unified server, where it also holds local mailboxes.
    MoveAside,
    /// Leave it alone and say so: on a master the file may hold what no one else knows.
    Refuse,
}

/// Bounds of one transaction, so that no reader waits long.
#[derive(Debug, Clone, Copy)]
pub struct TransactionBounds {
    /// Names looked at.
    pub entries_max: usize,
    /// Time spent on them, before the syncs.
    pub time_max: Duration,
    /// Pause between two transactions while there is more to do, so that those who wait get a turn.
    pub pause: Duration,
}

impl Default for TransactionBounds {
    fn default() -> Self {
        Self {
            entries_max: 500,
            time_max: Duration::from_millis(20),
            pause: Duration::from_micros(500),
        }
    }
}

/// When the file is written anew, in order and without dead records.
#[derive(Debug, Clone)]
pub struct CheckpointPolicy {
    /// Times of day for ordinary checkpoints; `None`: any time.
    pub window: Option<Window>,
    /// In the window: beyond this multiple of the live size.
    pub factor: u64,
    /// At once: beyond this multiple.
    pub factor_max: u64,
    /// At once too, when half of the file or more is dead and fewer bytes than this are free.
    pub free_bytes_min: u64,
    /// Smaller files are not worth one.
    pub bytes_min: u64,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self {
            window: None,
            factor: 2,
            factor_max: 4,
            free_bytes_min: 256 << 20,
            bytes_min: 256 << 10,
        }
    }
}

/// What an exporter is told at its start.
#[derive(Debug, Clone)]
pub struct ExporterConfig {
    /// The file: option `mboxlist_db_path`, or `mailboxes.db` in the `configdirectory`.
    pub mailboxes_db: PathBuf,
    /// Where the exporter keeps its position.
    pub state_file: PathBuf,
    /// Style of keys.
    pub style: StyleSetting,
    /// Order of keys in the file, which only sites up to 3.4 can have changed.
    pub order: Order,
    /// Whether to write fillers: see [`Options::fillers`].
    pub fillers: bool,
    /// Option `servername` of a unified server, whose local records are never touched.
    pub own_server: Option<Vec<u8>>,
    /// Option `defaultdomain`.
    pub default_domain: Option<Vec<u8>>,
    /// Option `admins`, which are not in the reverse ACL index.
    pub admins: Vec<Vec<u8>>,
    /// What to do with a file that can't be kept.
    pub misfit: Misfit,
    /// Answers wait for the file: no change is held back, and the file is made ready for it while the store makes it
    /// durable.
    pub awaited: bool,
    /// Bounds of a transaction.
    pub transaction: TransactionBounds,
    /// When the file is written anew.
    pub checkpoint: CheckpointPolicy,
    /// How often the file is looked at while there is nothing to do.
    pub poll: Duration,
    /// The lock held by others for longer than this is an alarm.
    pub lock_alarm: Duration,
    /// Longest pause before a retry after a failure.
    pub retry_max: Duration,
    /// How long a stopping exporter goes on writing what the store already has.
    pub drain_max: Duration,
}

impl ExporterConfig {
    /// A frontend's, with all else as usual.
    pub fn new(mailboxes_db: impl Into<PathBuf>, state_file: impl Into<PathBuf>) -> Self {
        Self {
            mailboxes_db: mailboxes_db.into(),
            state_file: state_file.into(),
            style: StyleSetting::Auto,
            order: Order::Bytes,
            fillers: true,
            own_server: None,
            default_domain: None,
            admins: Vec::new(),
            misfit: Misfit::MoveAside,
            awaited: false,
            transaction: TransactionBounds::default(),
            checkpoint: CheckpointPolicy::default(),
            poll: Duration::from_secs(1),
            lock_alarm: Duration::from_secs(1),
            retry_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(2),
        }
    }

    /// How the file is opened.
    pub(crate) fn options(&self) -> Options {
        Options {
            access: Access::ReadWrite,
            order: self.order,
            lock_wait_max: LOCK_SLICE,
            fillers: self.fillers,
        }
    }

    /// How keys of this style are made.
    pub(crate) fn naming(&self, style: KeyStyle) -> Naming {
        Naming {
            style,
            default_domain: self.default_domain.clone(),
        }
    }

    /// Checksum of the settings that decide what is in the file: with others, it is compared anew.
    pub(crate) fn fingerprint(&self) -> u32 {
        let style = match self.style {
            StyleSetting::Auto => b'a',
            StyleSetting::Fixed(KeyStyle::Plain) => b'p',
            StyleSetting::Fixed(KeyStyle::ByName) => b'n',
        };
        let mut sum = crc32fast::Hasher::new();
        sum.update(&[style]);
        for setting in [&self.own_server, &self.default_domain] {
            sum.update(setting.as_deref().unwrap_or(b"\0"));
            sum.update(b"\n");
        }
        sum.finalize()
    }
}
