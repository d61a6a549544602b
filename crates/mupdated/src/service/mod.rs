//! Being started by somebody else: Cyrus's master, systemd, or a shell.

pub(crate) mod entrance;
pub(crate) mod handover;
pub(crate) mod host_rules;
pub(crate) mod notify;
pub(crate) mod role;
pub(crate) mod status;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use tracing::{error, warn};

use crate::inherited_fds::{Inherited, SERVICE_VARIABLE};

/// The name of the service in cyrus.conf, whose prefix options may carry.
pub(crate) const DEFAULT_SERVICE: &str = "mupdate";
/// A number above zero asks for more to be logged.
const VERBOSE_VARIABLE: &str = "CYRUS_VERBOSE";
/// The number of this instance of the service.
const NUMBER_VARIABLE: &str = "CYRUS_ID";
/// Pause before another attempt to start.
pub(crate) const START_RETRY: Duration = Duration::from_secs(5);

/// Who has started us.
#[derive(Debug)]
pub(crate) struct Starter {
    /// Cyrus's master, with its descriptors.
    pub(crate) is_cyrus: bool,
    /// The name of the service.
    pub(crate) service: String,
    /// Which instance of the service this is.
    pub(crate) number: Option<String>,
    /// More is to be logged.
    pub(crate) verbose: bool,
}

impl Starter {
    pub(crate) fn look(inherited: &Inherited) -> Self {
        let named = env::var(SERVICE_VARIABLE).ok();
        let has_descriptors = inherited.status.is_some() || !inherited.listeners.is_empty();
        Self {
            is_cyrus: named.is_some() && has_descriptors,
            service: named.unwrap_or_else(|| DEFAULT_SERVICE.to_owned()),
            number: env::var(NUMBER_VARIABLE).ok(),
            verbose: env::var(VERBOSE_VARIABLE)
                .is_ok_and(|text| text.parse().is_ok_and(|level: u32| level > 0)),
        }
    }
}

/// Begins again by executing the program anew, in the same process with the same descriptors: Cyrus's
/// master disables a service that ends five times in a row. Returns only if that can't be done.
pub(crate) fn begin_again(inherited: &Inherited, arguments: &[OsString]) -> io::Error {
    let keep = |cause: rustix::io::Errno| warn!(%cause, "descriptor can't be kept");
    if let Some(status) = &inherited.status {
        fcntl_setfd(status, FdFlags::empty()).unwrap_or_else(keep);
    }
    for listener in &inherited.listeners {
        fcntl_setfd(listener, FdFlags::empty()).unwrap_or_else(keep);
    }
    let failed = match env::current_exe() {
        Ok(program) => Command::new(program).args(arguments.iter().skip(1)).exec(),
        Err(cause) => cause,
    };
    error!(cause = %failed, "can't begin again");
    failed
}
