//! What a slave is told about its site.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Login;
use server::Wait;
use store::Sequence;
use transport::tls::TlsClient;

use crate::Upstream;

/// No delay is shorter or longer, whatever the settings say.
const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_hours(24);

/// Something that waits until whatever is exported has come to a sequence of the store.
pub type Exported = Arc<dyn Fn(Sequence) -> Wait + Send + Sync>;

/// Settings of a slave.
#[derive(Clone)]
pub struct SlaveConfig {
    /// `mupdate_server`.
    pub upstream: Upstream,
    /// `mupdate_username`, `mupdate_authname`, `mupdate_password`: who we are to the master.
    pub login: Login,
    /// For STARTTLS, which is used when the master offers it; `None`: never.
    pub tls: Option<TlsClient>,
    /// Directory of the slave's own small files; it must exist.
    pub data_dir: PathBuf,
    /// `mupdate_retry_delay`: silence after which the master is asked whether it is there, and the
    /// longest pause between two attempts, about. Less than a second counts as a second.
    pub retry_delay: Duration,
    /// `client_timeout`: bound of each step from TCP to log-in.
    pub connect_timeout: Duration,
    /// `mupdate_resync`: use RESYNC where the master offers it.
    pub resync: bool,
    /// How long a master may be silent in a dump beyond `retry_delay`; Cyrus reads its whole list
    /// before it sends any of it.
    pub dump_silence_max: Duration,
    /// What a kick and [`Slave::ready`](crate::Slave::ready) wait for beyond the store; `None`: nothing.
    pub exported: Option<Exported>,
    /// Chance from 0 to 1, so that slaves do not all come back at once.
    pub chance: fn() -> f64,
}

impl SlaveConfig {
    /// With Cyrus's defaults: 20 seconds between attempts, 10 for each step of one.
    pub fn new(upstream: Upstream, login: Login, data_dir: PathBuf) -> Self {
        Self {
            upstream,
            login,
            tls: None,
            data_dir,
            retry_delay: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            resync: true,
            dump_silence_max: Duration::from_mins(1),
            exported: None,
            chance: rand::random,
        }
    }

    pub(crate) fn delay(&self) -> Duration {
        self.retry_delay.clamp(RETRY_DELAY_MIN, RETRY_DELAY_MAX)
    }
}
