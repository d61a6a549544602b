//! Where log lines go: standard error, syslog as the Cyrus programs use it, or the journal.

mod journal;

use std::env;
use std::ffi::CString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

pub use syslog_tracing::Facility;
use syslog_tracing::{Options, Syslog};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::LogSettings;
use journal::Journal;

/// Environment variable with the levels to log, in the syntax of `tracing`: `info`,
/// `warn,server=debug`.
pub const LEVELS_VARIABLE: &str = "MUPDATE_LOG";
/// Environment variable that Cyrus's programs let win over `syslog_prefix`.
const PREFIX_VARIABLE: &str = "CYRUS_SYSLOG_PREFIX";
/// Environment variable by which systemd says that standard error is the journal: device and inode.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";
/// What stands before the name of the service, where nothing is set (Cyrus: the same).
const PREFIX_DEFAULT: &str = "cyrus";

/// The kinds of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// One line an event, with its time.
    StandardError,
    /// `syslog(3)`, with the process id.
    Syslog,
    /// systemd's journal, with the level as priority.
    Journal,
}

/// Starts logging to standard error; `default_levels` count where the environment says nothing. A
/// second call changes nothing.
pub fn start(default_levels: &str) {
    begin(default_levels, Box::new(to_standard_error()));
}

/// Starts logging as a service of that name does. Where the target can't be had, standard error is.
pub(crate) fn start_service(
    default_levels: &str,
    settings: &LogSettings,
    service: &str,
    of_cyrus: bool,
) {
    let target = settings.target.unwrap_or_else(|| {
        if of_cyrus {
            LogTarget::Syslog
        } else if is_journal() {
            LogTarget::Journal
        } else {
            LogTarget::StandardError
        }
    });
    let layer = match target {
        LogTarget::StandardError => None,
        LogTarget::Syslog => to_syslog(settings, service),
        LogTarget::Journal => to_journal(service),
    };
    let is_there = layer.is_some();
    begin(
        default_levels,
        layer.unwrap_or_else(|| Box::new(to_standard_error())),
    );
    if !is_there && target != LogTarget::StandardError {
        tracing::warn!(?target, "can't be logged to; standard error is");
    }
}

/// The facility of that name (`syslog_facility`), such as `mail` or `LOG_LOCAL6`.
pub(crate) fn facility(name: &str) -> Option<Facility> {
    let name = name.to_ascii_lowercase();
    Some(match name.strip_prefix("log_").unwrap_or(&name) {
        "auth" => Facility::Auth,
        "authpriv" => Facility::AuthPriv,
        "cron" => Facility::Cron,
        "daemon" => Facility::Daemon,
        "ftp" => Facility::Ftp,
        "lpr" => Facility::Lpr,
        "mail" => Facility::Mail,
        "news" => Facility::News,
        "user" => Facility::User,
        "uucp" => Facility::Uucp,
        "local0" => Facility::Local0,
        "local1" => Facility::Local1,
        "local2" => Facility::Local2,
        "local3" => Facility::Local3,
        "local4" => Facility::Local4,
        "local5" => Facility::Local5,
        "local6" => Facility::Local6,
        "local7" => Facility::Local7,
        _ => return None,
    })
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn begin(default_levels: &str, layer: BoxedLayer) {
    let filter =
        EnvFilter::try_from_env(LEVELS_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_levels));
    let started = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

fn to_standard_error() -> impl Layer<Registry> + Send + Sync {
    fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
}

/// Name, process id and facility as Cyrus's programs have them, so that the site's filters fit.
fn to_syslog(settings: &LogSettings, service: &str) -> Option<BoxedLayer> {
    let prefix = env::var(PREFIX_VARIABLE)
        .ok()
        .or_else(|| settings.syslog_prefix.clone());
    let prefix = prefix.as_deref().unwrap_or(PREFIX_DEFAULT);
    let name = CString::new(format!("{prefix}/{service}")).ok()?;
    let facility = settings.facility.unwrap_or(Facility::Mail);
    let syslog = Syslog::new(name, Options::LOG_PID, facility)?;
    Some(Box::new(bare_lines().with_writer(syslog)))
}

fn to_journal(service: &str) -> Option<BoxedLayer> {
    let journal = Journal::connect(service).ok()?;
    Some(Box::new(bare_lines().with_writer(journal)))
}

/// Lines to which whoever takes them adds time and level.
fn bare_lines()
-> fmt::Layer<Registry, fmt::format::DefaultFields, fmt::format::Format<fmt::format::Full, ()>> {
    fmt::layer()
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
}

/// Whether standard error is the journal's.
fn is_journal() -> bool {
    let Ok(named) = env::var(JOURNAL_VARIABLE) else {
        return false;
    };
    rustix::fs::fstat(io::stderr().as_fd())
        .is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_by_their_names() {
        assert!(matches!(facility("LOCAL6"), Some(Facility::Local6)));
        assert!(matches!(facility("LOG_MAIL"), Some(Facility::Mail)));
        assert!(facility("kern").is_none());
    }
}
