//! The options this program reads, checked.

use std::path::PathBuf;
use std::time::Duration;

use cyrusdb::mailboxes::KeyStyle;
use cyrusdb::twoskip::Order;
use exporter::{StyleSetting, Window};
use server::{ListOrder, ListOrders};
use thiserror::Error;
use transport::tls::ServerVerification;

use crate::telemetry::{self, Facility, LogTarget};

use super::raw::{Place, RawConfig, SyntaxError};
use super::value::{self, ValueError};

/// What an imapd.conf says about this program.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `servername`: own name, in the banner.
    pub servername: String,
    /// `configdirectory`: Cyrus's state, and our marker.
    pub config_directory: PathBuf,
    /// `admins`: who may log in.
    pub admins: Vec<String>,
    /// `allowplaintext`: PLAIN without TLS.
    pub allow_plaintext: bool,
    /// `sasl_mech_list`: mechanisms to offer, in this order.
    pub mechanisms: Option<Vec<String>>,
    /// `failedloginpause`.
    pub failed_login_pause: Duration,
    /// `mupdate_config`, which Cyrus reads only where `mupdate_server` is set.
    pub murder: MurderKind,
    /// `mupdate_server`: the master that a slave follows.
    pub upstream: Option<String>,
    /// `mupdate_connections_max`.
    pub connections_max: Option<usize>,
    /// `mupdate_strict`: answers as the RFC has them.
    pub strict: bool,
    /// `mupdate_max_name`: longest mailbox name, in octets.
    pub name_bytes_max: usize,
    /// `mupdate_history_changes`: changes that a peer may have missed and still be told of one by one.
    pub history_changes_max: Option<usize>,
    /// `mupdate_list_order`.
    pub list_orders: ListOrders,
    /// Where log lines go.
    pub log: LogSettings,
    /// `debug_command`: what `-D` runs first.
    pub debug_command: Option<String>,
    /// `mupdate_data_dir`: our own state.
    pub data_dir: Option<PathBuf>,
    /// `mupdate_users_file`.
    pub users_file: Option<PathBuf>,
    /// `mboxlist_db_path`, or `mailboxes.db` in `configdirectory`.
    pub mailboxes_db: PathBuf,
    /// `tls_server_cert` and its kin.
    pub tls: Option<TlsFiles>,
    /// `defaultdomain`.
    pub default_domain: Option<String>,
    /// How `mailboxes.db` is written.
    pub export: ExportSettings,
    /// How a slave reaches its master.
    pub client: ClientSettings,
}

/// When a master's changes are in `mailboxes.db` (`mupdate_export`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMode {
    /// Before they are answered with OK, within a bound.
    BeforeOk,
    /// Soon after.
    AfterOk,
    /// Never: the file is not written.
    Off,
}

/// Where log lines go.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// `mupdate_log`; else whoever started the process decides.
    pub target: Option<LogTarget>,
    /// `syslog_prefix`: what stands before the name of the service.
    pub syslog_prefix: Option<String>,
    /// `syslog_facility`.
    pub facility: Option<Facility>,
}

/// How `mailboxes.db` is written.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// `mupdate_export`, a master's; a slave always exports where there is a file.
    pub mode: Option<ExportMode>,
    /// `mupdate_export_wait`: bound of what an OK waits for.
    pub wait: Duration,
    /// `mupdate_db_style`.
    pub style: StyleSetting,
    /// `improved_mboxlist_sort`, which Cyrus up to 3.4 knows.
    pub order: Order,
    /// `mupdate_checkpoint_window`.
    pub checkpoint_window: Option<Window>,
}

/// How a slave reaches its master.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `mupdate_username`: whom to act for.
    pub username: Option<String>,
    /// `mupdate_authname`: who logs in.
    pub authname: Option<String>,
    /// `mupdate_password`.
    pub password: Option<String>,
    /// `force_sasl_client_mech`: the only mechanism.
    pub mechanisms: Option<Vec<String>>,
    /// `mupdate_retry_delay`.
    pub retry_delay: Duration,
    /// `client_timeout`.
    pub timeout: Duration,
    /// `mupdate_tls_verify`.
    pub verification: ServerVerification,
    /// `mupdate_tls_ca_file`, else `tls_client_ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `mupdate_tls_ca_dir`, else `tls_client_ca_dir`.
    pub ca_dir: Option<PathBuf>,
    /// `tls_client_cert` and `tls_client_key`.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Kinds of murder, as `mupdate_config` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MurderKind {
    /// Frontends and backends are different hosts.
    Standard,
    /// Backends share their mailboxes.
    Replicated,
    /// Every host is both; a master has no place on one.
    Unified,
}

/// Files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `tls_server_cert`.
    pub certificate: PathBuf,
    /// `tls_server_key`.
    pub key: PathBuf,
    /// `tls_client_ca_file`: who may show a certificate.
    pub client_ca_file: Option<PathBuf>,
    /// `tls_client_ca_dir`.
    pub client_ca_dir: Option<PathBuf>,
}

/// Why an imapd.conf can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A line can't be read.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A value can't be used.
    #[error("{place}: '{name}: {value}' {cause}")]
    Value {
        /// Where.
        place: Place,
        /// The option as written.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong.
        cause: ValueError,
    },
    /// An option that has no default is missing.
    #[error("configuration {}: option '{name}' is missing", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// The option.
        name: &'static str,
    },
}

const CONNECTIONS_MAX: u64 = 1_000_000;
const HISTORY_CHANGES_MAX: u64 = 100_000_000;

impl Settings {
    /// Reads `file` for the service of that name in cyrus.conf (usually `mupdate`).
    pub fn read(file: &std::path::Path, service: &str) -> Result<Self, SettingsError> {
        let raw = RawConfig::read(file)?;
        let options = Options { raw: &raw, service };
        let missing = |name| SettingsError::Missing {
            file: file.to_owned(),
            name,
        };
        let config_directory = options
            .path("configdirectory")
            .ok_or_else(|| missing("configdirectory"))?;
        let upstream = options.text("mupdate_server").map(str::to_owned);
        let murder = match upstream {
            Some(_) => options
                .parse("mupdate_config", murder_kind)?
                .unwrap_or(MurderKind::Standard),
            None => MurderKind::Standard,
        };
        let name_bytes_max =
            options.number("mupdate_max_name", 1, proto::MAILBOX_NAME_BYTES_MAX)?;
        Ok(Self {
            servername: options
                .text("servername")
                .map_or_else(host_name, str::to_owned),
            admins: options.words("admins").unwrap_or_default(),
            allow_plaintext: options
                .parse("allowplaintext", value::switch)?
                .unwrap_or(false),
            mechanisms: options.words("sasl_mech_list"),
            failed_login_pause: options
                .parse("failedloginpause", value::duration)?
                .unwrap_or(Duration::from_secs(3)),
            murder,
            upstream,
            connections_max: options.number(
                "mupdate_connections_max",
                1,
                usize_of(CONNECTIONS_MAX),
            )?,
            strict: options
                .parse("mupdate_strict", value::switch)?
                .unwrap_or(false),
            name_bytes_max: name_bytes_max.unwrap_or(proto::MAILBOX_NAME_BYTES_MAX),
            history_changes_max: options.number(
                "mupdate_history_changes",
                1,
                usize_of(HISTORY_CHANGES_MAX),
            )?,
            list_orders: options
                .parse("mupdate_list_order", list_orders)?
                .unwrap_or_default(),
            log: LogSettings {
                target: options.parse("mupdate_log", log_target)?,
                syslog_prefix: options.text("syslog_prefix").map(str::to_owned),
                facility: options.parse("syslog_facility", facility)?,
            },
            debug_command: options.text("debug_command").map(str::to_owned),
            data_dir: options.path("mupdate_data_dir"),
            users_file: options.path("mupdate_users_file"),
            mailboxes_db: options
                .path("mboxlist_db_path")
                .unwrap_or_else(|| config_directory.join("mailboxes.db")),
            tls: tls_files(&options),
            default_domain: options.text("defaultdomain").map(str::to_owned),
            export: export_settings(&options)?,
            client: client_settings(&options)?,
            config_directory,
        })
    }
}

fn export_settings(options: &Options<'_>) -> Result<ExportSettings, SettingsError> {
    let improved = options.parse("improved_mboxlist_sort", value::switch)?;
    Ok(ExportSettings {
        mode: options.parse("mupdate_export", export_mode)?,
        wait: options
            .parse("mupdate_export_wait", value::duration)?
            .unwrap_or(Duration::from_secs(1)),
        style: options
            .parse("mupdate_db_style", style)?
            .unwrap_or(StyleSetting::Auto),
        order: if improved == Some(true) {
            Order::Mailbox
        } else {
            Order::Bytes
        },
        checkpoint_window: options.parse("mupdate_checkpoint_window", window)?,
    })
}

fn client_settings(options: &Options<'_>) -> Result<ClientSettings, SettingsError> {
    let text = |name| options.text(name).map(str::to_owned);
    let certificate = options.path("tls_client_cert");
    Ok(ClientSettings {
        username: text("mupdate_username"),
        authname: text("mupdate_authname"),
        password: text("mupdate_password"),
        mechanisms: options.words("force_sasl_client_mech"),
        retry_delay: options
            .parse("mupdate_retry_delay", value::duration)?
            .unwrap_or(Duration::from_secs(20)),
        timeout: options
            .parse("client_timeout", value::duration)?
            .unwrap_or(Duration::from_secs(10)),
        verification: options
            .parse("mupdate_tls_verify", verification)?
            .unwrap_or_default(),
        ca_file: options
            .path("mupdate_tls_ca_file")
            .or_else(|| options.path("tls_client_ca_file")),
        ca_dir: options
            .path("mupdate_tls_ca_dir")
            .or_else(|| options.path("tls_client_ca_dir")),
        certificate: certificate.map(|certificate| {
            let key = options
                .path("tls_client_key")
                .unwrap_or_else(|| certificate.clone());
            (certificate, key)
        }),
    })
}

/// Typed access to the options of one service.
struct Options<'a> {
    raw: &'a RawConfig,
    service: &'a str,
}

impl<'a> Options<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.raw
            .option(self.service, name)
            .map(|(_, option)| option.value.as_str())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    fn words(&self, name: &str) -> Option<Vec<String>> {
        self.text(name)
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
    }

    fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<Option<T>, SettingsError> {
        let Some((name, option)) = self.raw.option(self.service, name) else {
            return Ok(None);
        };
        let parsed = parse(&option.value).map_err(|cause| SettingsError::Value {
            place: option.place.clone(),
            name: name.to_owned(),
            value: option.value.clone(),
            cause,
        })?;
        Ok(Some(parsed))
    }

    fn number(&self, name: &str, min: u64, max: usize) -> Result<Option<usize>, SettingsError> {
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        Ok(self
            .parse(name, |text| value::number(text, min, max))?
            .map(usize_of))
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn murder_kind(value: &str) -> Result<MurderKind, ValueError> {
    match value {
        "standard" => Ok(MurderKind::Standard),
        "replicated" => Ok(MurderKind::Replicated),
        "unified" => Ok(MurderKind::Unified),
        _ => Err(ValueError::Word {
            allowed: "standard, unified, replicated",
        }),
    }
}

fn export_mode(value: &str) -> Result<ExportMode, ValueError> {
    match value {
        "before-ok" => Ok(ExportMode::BeforeOk),
        "after-ok" => Ok(ExportMode::AfterOk),
        "off" => Ok(ExportMode::Off),
        _ => Err(ValueError::Word {
            allowed: "before-ok, after-ok, off",
        }),
    }
}

fn log_target(value: &str) -> Result<LogTarget, ValueError> {
    match value {
        "stderr" => Ok(LogTarget::StandardError),
        "syslog" => Ok(LogTarget::Syslog),
        "journal" => Ok(LogTarget::Journal),
        _ => Err(ValueError::Word {
            allowed: "stderr, syslog, journal",
        }),
    }
}

fn facility(value: &str) -> Result<Facility, ValueError> {
    telemetry::facility(value).ok_or(ValueError::Word {
        allowed: "auth, authpriv, cron, daemon, ftp, lpr, mail, news, user, uucp, local0 to local7",
    })
}

fn style(value: &str) -> Result<StyleSetting, ValueError> {
    match value {
        "auto" => Ok(StyleSetting::Auto),
        "plain" => Ok(StyleSetting::Fixed(KeyStyle::Plain)),
        "byname" => Ok(StyleSetting::Fixed(KeyStyle::ByName)),
        _ => Err(ValueError::Word {
            allowed: "auto, plain, byname",
        }),
    }
}

fn window(value: &str) -> Result<Window, ValueError> {
    value.parse().map_err(|_| ValueError::Window)
}

fn verification(value: &str) -> Result<ServerVerification, ValueError> {
    match value {
        "no" => Ok(ServerVerification::No),
        "ca" => Ok(ServerVerification::Ca),
        "full" => Ok(ServerVerification::Full),
        _ => Err(ValueError::Word {
            allowed: "no, ca, full",
        }),
    }
}

/// `hier`, `bytes`, or one of them followed by `host=order` for single hosts.
fn list_orders(value: &str) -> Result<ListOrders, ValueError> {
    let mut orders = ListOrders::default();
    for word in value.split_whitespace() {
        match word.split_once('=') {
            None => orders.default = list_order(word)?,
            Some((host, order)) => orders
                .by_host
                .push((host.as_bytes().into(), list_order(order)?)),
        }
    }
    Ok(orders)
}

fn list_order(word: &str) -> Result<ListOrder, ValueError> {
    match word {
        "hier" => Ok(ListOrder::Hierarchy),
        "bytes" => Ok(ListOrder::Octets),
        _ => Err(ValueError::Word {
            allowed: "hier, bytes, host=hier, host=bytes",
        }),
    }
}

/// TLS is off without a certificate, and where the certificate is the word `disabled` (Cyrus).
fn tls_files(options: &Options<'_>) -> Option<TlsFiles> {
    let certificate = options
        .path("tls_server_cert")
        .filter(|path| path.as_os_str() != "disabled")?;
    Some(TlsFiles {
        key: options
            .path("tls_server_key")
            .unwrap_or_else(|| certificate.clone()),
        client_ca_file: options.path("tls_client_ca_file"),
        client_ca_dir: options.path("tls_client_ca_dir"),
        certificate,
    })
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    fn settings(text: &str) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("imapd.conf");
        fs::write(&file, text).unwrap();
        Settings::read(&file, "mupdate")
    }

    #[test]
    fn defaults_are_those_of_cyrus() {
        let settings = settings("configdirectory: /c\n").unwrap();
        assert!(!settings.allow_plaintext && !settings.strict && settings.tls.is_none());
        assert_eq!(settings.failed_login_pause, Duration::from_secs(3));
        assert_eq!(settings.mailboxes_db, PathBuf::from("/c/mailboxes.db"));
        assert_eq!(settings.murder, MurderKind::Standard);
    }

    #[test]
    fn mupdate_config_counts_only_in_a_murder() {
        let alone = settings("configdirectory: /c\nmupdate_config: replicated\n").unwrap();
        assert_eq!(alone.murder, MurderKind::Standard);
        let text = "configdirectory: /c\nmupdate_server: m\nmupdate_config: replicated\n";
        assert_eq!(settings(text).unwrap().murder, MurderKind::Replicated);
    }

    #[test]
    fn list_order_by_host() {
        let text = "configdirectory: /c\nmupdate_list_order: hier old.test=bytes\n";
        let orders = settings(text).unwrap().list_orders;
        assert_eq!(orders.default, ListOrder::Hierarchy);
        assert_eq!(
            orders.by_host,
            vec![(b"old.test".as_slice().into(), ListOrder::Octets)]
        );
    }

    #[test]
    fn a_bad_value_is_named_with_its_place() {
        let error = settings("configdirectory: /c\nmupdate_strict: maybe\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("line 2: 'mupdate_strict: maybe' is neither yes nor no"),
            "{error}"
        );
        let error = settings("admins: a\n").unwrap_err().to_string();
        assert!(
            error.ends_with("option 'configdirectory' is missing"),
            "{error}"
        );
    }
}
