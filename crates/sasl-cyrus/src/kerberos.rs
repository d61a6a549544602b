//! Is there a key for Kerberos?
//!
//! libsasl2 lists GSSAPI wherever its plugin is installed. A Cyrus client that has the plugin too
//! takes it before anything else and fails without a second try, so a server that has no key locks
//! its clients out by listing it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sasl2_sys::prelude::SASL_BADAUTH;
use tracing::info;

use crate::connection::Refused;
use crate::threads::Threads;

/// How long an answer stands; a keytab may come later, or go.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// Whether a mechanism needs a key in the keytab.
pub(crate) fn needs_key(mechanism: &str) -> bool {
    mechanism == "GSSAPI" || mechanism == "GSS-SPNEGO" || mechanism.starts_with("GS2-")
}

/// Whether a server's first step with GSSAPI and a message of nonsense means that there is a key: the
/// plugin gets its credentials before it looks at the message.
pub(crate) fn has_key<T>(step: &Result<T, Refused>) -> bool {
    step.as_ref()
        .map_or_else(|refused| refused.code == SASL_BADAUTH, |_| true)
}

/// What was found at the last look.
#[derive(Debug)]
pub(crate) struct Key {
    is_usable: AtomicBool,
    looked: Mutex<Instant>,
}

impl Key {
    pub(crate) fn new(is_usable: bool) -> Arc<Self> {
        Arc::new(Self {
            is_usable: AtomicBool::new(is_usable),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// What was found at the last look; when that is some time ago, another begins on one of the
    /// threads.
    pub(crate) fn is_usable(
        self: &Arc<Self>,
        threads: &Threads,
        look: impl FnOnce() -> bool + Send + 'static,
    ) -> bool {
        if self.is_due() {
            let key = Arc::clone(self);
            let looking = threads.submit(move || key.found(look()));
            if looking.is_err() {
                tracing::debug!("no thread to look for a Kerberos key; the last answer stands");
            }
        }
        self.is_usable.load(Ordering::Relaxed)
    }

    fn is_due(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = looked.elapsed() >= LOOK_INTERVAL;
        if is_due {
            *looked = Instant::now();
        }
        is_due
    }

    fn found(&self, is_usable: bool) {
        if self.is_usable.swap(is_usable, Ordering::Relaxed) != is_usable {
            info!(is_usable, "key for GSSAPI");
        }
    }
}
