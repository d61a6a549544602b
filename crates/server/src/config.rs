//! What a server is told about its site.

use std::time::Duration;

use crate::transcripts::Transcripts;

/// Settings of a server. Durations and counts are bounds, not targets.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Own name in the banner (imapd.conf: `servername`).
    pub servername: String,
    /// Implementation's name in the banner.
    pub implementation: String,
    /// Version in the banner.
    pub version: String,
    /// `(master)`, or the upstream's URL on a slave.
    pub upstream: Option<String>,
    /// Connections served at once; a further one gets BYE (imapd.conf: `mupdate_connections_max`).
    pub connections_max: usize,
    /// How long a connection may take to log in.
    pub login_timeout: Duration,
    /// How long a session that is not streaming may stay silent. RFC 3656 section 3.3: at least 15
    /// minutes; Cyrus: 3 hours.
    pub idle_timeout: Duration,
    /// Pause after a failed log-in (imapd.conf: `failedloginpause`).
    pub failed_login_pause: Duration,
    /// Failed log-ins after which the connection is closed.
    pub failed_logins_max: u32,
    /// A streaming peer with an answer outstanding never sees a longer silence than this.
    pub stream_silence_max: Duration,
    /// A RESYNC peer that has everything is told so this often (`docs/resync.md`, section 6).
    pub points_every: Duration,
    /// How long a compare may take (section 12).
    pub compare_timeout: Duration,
    /// DELETE of a name that can't exist is a NO, as the RFC has it (imapd.conf: `mupdate_strict`).
    pub strict: bool,
    /// Longest mailbox name that is taken in, in octets (imapd.conf: `mupdate_max_name`): 490 while
    /// slaves before Cyrus 3.8 follow.
    pub name_bytes_max: usize,
    /// The order of LIST.
    pub list_orders: ListOrders,
    /// Every change is logged with who has made it (imapd.conf: `auditlog`).
    pub audits: bool,
    /// What is said in sessions is kept, for users that want it (directories in `<configdirectory>/log`).
    pub transcripts: Option<Transcripts>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            servername: "localhost".into(),
            implementation: "mupdate-rs".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            upstream: None,
            connections_max: 8192,
            login_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_hours(3),
            failed_login_pause: Duration::from_secs(3),
            failed_logins_max: 32,
            stream_silence_max: Duration::from_secs(5),
            points_every: Duration::from_secs(5),
            compare_timeout: Duration::from_mins(10),
            strict: false,
            name_bytes_max: proto::MAILBOX_NAME_BYTES_MAX,
            list_orders: ListOrders::default(),
            audits: false,
            transcripts: None,
        }
    }
}

/// The order of the lines of a LIST. A dump is always in [`ListOrder::Hierarchy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListOrder {
    /// Cyrus's own since 3.6: a mailbox's children follow it at once.
    #[default]
    Hierarchy,
    /// Octet by octet, as backends up to Cyrus 3.4 walk their list.
    Octets,
}

/// The order of LIST, by the host that is listed (imapd.conf: `mupdate_list_order`).
#[derive(Debug, Clone, Default)]
pub struct ListOrders {
    /// For every other host, and for lists without a host.
    pub default: ListOrder,
    /// For `LIST "<host>!"`.
    pub by_host: Vec<(Box<[u8]>, ListOrder)>,
}

impl ListOrders {
    /// The order for this LIST prefix.
    pub(crate) fn order_of(&self, prefix: &[u8]) -> ListOrder {
        let host = prefix
            .split(|&octet| octet == b'!')
            .next()
            .unwrap_or_default();
        let named = self.by_host.iter().find(|(name, _)| **name == *host);
        named.map_or(self.default, |(_, order)| *order)
    }
}
