//! The options this program reads, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cyrusdb::twoskip::Order;
use exporter::{StyleSetting, Window};
use server::ListOrders;
use thiserror::Error;
use transport::tls::{ClientCertificates, MinimumVersion, ServerVerification};

use crate::telemetry::{Facility, LogTarget};

use super::known::{self, Remark};
use super::login::LoginSettings;
use super::options::{Options, usize_of};
use super::raw::{Place, RawConfig, SyntaxError};
use super::store::StoreSettings;
use super::value::{self, ValueError};
use super::words;

/// What an imapd.conf says about this program.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the service in cyrus.conf, `mupdate` elsewhere: before options, in the log, in names of files.
    pub service: String,
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
    /// Of the store.
    pub store: StoreSettings,
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
    /// `auditlog`: every edit is logged.
    pub audits: bool,
    /// `tls_server_cert` and its kin.
    pub tls: Option<TlsFiles>,
    /// `defaultdomain`.
    pub default_domain: Option<String>,
    /// How `mailboxes.db` is written.
    pub export: ExportSettings,
    /// How a slave reaches its master.
    pub client: ClientSettings,
    /// Who verifies log-ins.
    pub login: LoginSettings,
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
    /// `debug`: more is logged.
    pub debugs: bool,
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
    /// `mupdate_resync`: use RESYNC where the master offers it.
    pub resync: bool,
    /// `client_timeout`.
    pub timeout: Duration,
    /// `mupdate_tls_verify`.
    pub verification: ServerVerification,
    /// `mupdate_tls_ca_file`, else `tls_server_ca_file`, else `tls_client_ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `mupdate_tls_ca_dir`, else `tls_server_ca_dir`, else `tls_client_ca_dir`.
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
    /// `tls_client_certs`.
    pub client_certificates: ClientCertificates,
    /// `tls_versions`.
    pub minimum_version: MinimumVersion,
}

/// All that there is to say about an imapd.conf.
#[derive(Debug)]
pub struct Examined {
    /// What would be done without the mistakes.
    pub settings: Settings,
    /// What keeps the program from starting.
    pub mistakes: Vec<SettingsError>,
    /// What has no effect.
    pub remarks: Vec<Remark>,
    raw: RawConfig,
    service: String,
}

impl Examined {
    /// Further [`remarks`](Self::remarks), about log-ins, which hold where libsasl2 does not do them.
    pub fn remarks_without_libsasl(&self) -> Vec<Remark> {
        known::remarks_without_libsasl(&self.raw, &self.service)
    }

    /// Where the line is that sets this option.
    pub(crate) fn place(&self, name: &str) -> Option<&Place> {
        let (_, option) = self.raw.option(&self.service, name)?;
        Some(&option.place)
    }
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

impl SettingsError {
    /// The line it is about.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Syntax(mistake) => mistake.place(),
            Self::Value { place, .. } => Some(place),
            Self::Missing { .. } => None,
        }
    }
}

const CONNECTIONS_MAX: u64 = 1_000_000;

impl Settings {
    /// Reads `file` for the service of that name in cyrus.conf (usually `mupdate`).
    pub fn read(file: &Path, service: &str) -> Result<Self, SettingsError> {
        let mut examined = Self::examine(file, service);
        if examined.mistakes.is_empty() {
            Ok(examined.settings)
        } else {
            Err(examined.mistakes.swap_remove(0))
        }
    }

    /// Reads `file` as [`Settings::read`] does, and goes on behind each mistake, as if the line with it
    /// were not there.
    pub fn examine(file: &Path, service: &str) -> Examined {
        let (mut raw, syntax) = RawConfig::read_all(file);
        raw.expand(service);
        let options = Options::new(&raw, service);
        let settings = Self::from_options(&options, file, service);
        let mut mistakes: Vec<SettingsError> = syntax.into_iter().map(Into::into).collect();
        mistakes.extend(options.into_mistakes());
        Examined {
            settings,
            mistakes,
            remarks: known::remarks(&raw, service),
            raw,
            service: service.to_owned(),
        }
    }

    fn from_options(options: &Options<'_>, file: &Path, service: &str) -> Self {
        let config_directory = options.path("configdirectory").unwrap_or_else(|| {
            options.mistake(SettingsError::Missing {
                file: file.to_owned(),
                name: "configdirectory",
            });
            PathBuf::new()
        });
        let upstream = options.text("mupdate_server").map(str::to_owned);
        let murder = match upstream {
            Some(_) => options
                .parse("mupdate_config", words::murder_kind)
                .unwrap_or(MurderKind::Standard),
            None => MurderKind::Standard,
        };
        let client = client_settings(options, upstream.as_deref());
        let name_bytes_max = options.number("mupdate_max_name", 1, proto::MAILBOX_NAME_BYTES_MAX);
        Self {
            service: service.to_owned(),
            servername: options
                .text("servername")
                .map_or_else(host_name, str::to_owned),
            admins: options.words("admins").unwrap_or_default(),
            allow_plaintext: options
                .parse("allowplaintext", value::switch)
                .unwrap_or(false),
            mechanisms: options.words("sasl_mech_list"),
            failed_login_pause: options
                .parse("failedloginpause", value::duration)
                .unwrap_or(Duration::from_secs(3)),
            murder,
            upstream,
            connections_max: options.number(
                "mupdate_connections_max",
                1,
                usize_of(CONNECTIONS_MAX),
            ),
            strict: options
                .parse("mupdate_strict", value::switch)
                .unwrap_or(false),
            name_bytes_max: name_bytes_max.unwrap_or(proto::MAILBOX_NAME_BYTES_MAX),
            store: StoreSettings::read(options),
            list_orders: options
                .parse("mupdate_list_order", words::list_orders)
                .unwrap_or_default(),
            log: LogSettings {
                target: options.parse("mupdate_log", words::log_target),
                syslog_prefix: options.text("syslog_prefix").map(str::to_owned),
                facility: options.parse("syslog_facility", words::facility),
                debugs: options.parse("debug", value::switch).unwrap_or(false),
            },
            debug_command: options.text("debug_command").map(str::to_owned),
            data_dir: options.path("mupdate_data_dir"),
            users_file: options.path("mupdate_users_file"),
            mailboxes_db: options
                .path("mboxlist_db_path")
                .unwrap_or_else(|| config_directory.join("mailboxes.db")),
            audits: options.parse("auditlog", value::switch).unwrap_or(false),
            tls: tls_files(options),
            default_domain: options.text("defaultdomain").map(str::to_owned),
            export: export_settings(options),
            client,
            login: LoginSettings::read(options),
            config_directory,
        }
    }
}

fn export_settings(options: &Options<'_>) -> ExportSettings {
    let improved = options.parse("improved_mboxlist_sort", value::switch);
    ExportSettings {
        mode: options.parse("mupdate_export", words::export_mode),
        wait: options
            .parse("mupdate_export_wait", value::duration)
            .unwrap_or(Duration::from_secs(1)),
        style: options
            .parse("mupdate_db_style", words::style)
            .unwrap_or(StyleSetting::Auto),
        order: if improved == Some(true) {
            Order::Mailbox
        } else {
            Order::Bytes
        },
        checkpoint_window: options.parse("mupdate_checkpoint_window", words::window),
    }
}

/// Options that name a host by the first part of its name, `<shorthost>_mechs` and the like, win.
fn client_settings(options: &Options<'_>, upstream: Option<&str>) -> ClientSettings {
    let text = |name| options.text(name).map(str::to_owned);
    let host = upstream.map(short_host).unwrap_or_default();
    let of_host = |what: &str| options.text(&format!("{host}_{what}"));
    let certificate = of_host("client_cert").or_else(|| options.text("tls_client_cert"));
    let key = of_host("client_key").or_else(|| options.text("tls_client_key"));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    ClientSettings {
        username: text("mupdate_username"),
        authname: text("mupdate_authname"),
        password: text("mupdate_password"),
        mechanisms: of_host("mechs")
            .or_else(|| options.text("force_sasl_client_mech"))
            .map(words),
        retry_delay: options
            .parse("mupdate_retry_delay", value::duration)
            .unwrap_or(Duration::from_secs(20)),
        resync: options
            .parse("mupdate_resync", value::switch)
            .unwrap_or(true),
        timeout: options
            .parse("client_timeout", value::duration)
            .unwrap_or(Duration::from_secs(10)),
        verification: options
            .parse("mupdate_tls_verify", words::verification)
            .unwrap_or_default(),
        ca_file: options
            .path("mupdate_tls_ca_file")
            .or_else(|| options.path("tls_server_ca_file"))
            .or_else(|| options.path("tls_client_ca_file")),
        ca_dir: options
            .path("mupdate_tls_ca_dir")
            .or_else(|| options.path("tls_server_ca_dir"))
            .or_else(|| options.path("tls_client_ca_dir")),
        certificate: certificate.filter(|word| !is_off(word)).map(|certificate| {
            let certificate = PathBuf::from(certificate);
            let key = key.map_or_else(|| certificate.clone(), PathBuf::from);
            (certificate, key)
        }),
    }
}

/// The first part of a host's name, in lower case (Cyrus: up to the first dot).
fn short_host(upstream: &str) -> String {
    let end = upstream.find(['.', ':', '/']).unwrap_or(upstream.len());
    upstream.get(..end).unwrap_or_default().to_ascii_lowercase()
}

/// TLS is off without a certificate, and where the certificate is the word `disabled` (Cyrus), and
/// where later series of Cyrus are told so (`allowstarttls`). Names before Cyrus 2.5 count, too.
fn tls_files(options: &Options<'_>) -> Option<TlsFiles> {
    let path = |name: &str, old: &str| options.path(name).or_else(|| options.path(old));
    let allowed = options.parse("allowstarttls", value::switch);
    let client_certificates = options.parse("tls_client_certs", words::client_certificates);
    let minimum_version = options.parse("tls_versions", words::minimum_version);
    let certificate = path("tls_server_cert", "tls_cert_file")
        .filter(|path| !path.to_str().is_some_and(is_off) && allowed != Some(false))?;
    Some(TlsFiles {
        key: path("tls_server_key", "tls_key_file").unwrap_or_else(|| certificate.clone()),
        client_ca_file: path("tls_client_ca_file", "tls_ca_file"),
        client_ca_dir: path("tls_client_ca_dir", "tls_ca_path"),
        certificate,
        client_certificates: client_certificates.unwrap_or_default(),
        minimum_version: minimum_version.unwrap_or_default(),
    })
}

/// What Cyrus takes instead of the path of a certificate.
fn is_off(path: &str) -> bool {
    path.eq_ignore_ascii_case("disabled")
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

    use server::ListOrder;

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
