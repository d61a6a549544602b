//! Options about log-ins: who verifies passwords, and what libsasl2 is told.

use super::options::Options;
use super::value::ValueError;

/// How log-ins are done, both as a server and as a slave.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// `mupdate_login`; `None`: by what there is.
    pub method: Option<LoginMethod>,
    /// The `sasl_*` lines, without that prefix; one of the service's own wins over the plain one.
    pub sasl: Vec<(String, String)>,
    /// `sasl_pwcheck_method`.
    pub password_checks: Vec<String>,
    /// `sasl_minimum_layer`.
    pub layer_bits_min: u32,
    /// `sasl_maximum_layer`.
    pub layer_bits_max: u32,
    /// `loginrealms`.
    pub login_realms: Vec<String>,
    /// `virtdomains` is anything but off.
    pub virtual_domains: bool,
    /// `mupdate_realm`: of a slave's own log-in.
    pub realm: Option<String>,
}

/// Who does log-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// Our own mechanisms, against the users file and saslauthd.
    UsersFile,
    /// The system's libsasl2, as it is configured for Cyrus.
    CyrusSasl,
}

/// Where saslauthd listens, unless `sasl_saslauthd_path` says otherwise: Debian's place.
pub(crate) const SASLAUTHD_SOCKET: &str = "/var/run/saslauthd/mux";
/// Bits of a layer that can't be exceeded.
const LAYER_BITS_MAX: usize = 256;

impl LoginSettings {
    pub(super) fn read(options: &Options<'_>) -> Self {
        let bits = |name, default| {
            options
                .number(name, 0, LAYER_BITS_MAX)
                .and_then(|bits| u32::try_from(bits).ok())
                .unwrap_or(default)
        };
        Self {
            method: options.parse("mupdate_login", method),
            sasl: options.with_prefix("sasl_"),
            password_checks: options
                .words("sasl_pwcheck_method")
                .unwrap_or_else(|| vec!["auxprop".to_owned()]),
            layer_bits_min: bits("sasl_minimum_layer", 0),
            layer_bits_max: bits("sasl_maximum_layer", 256),
            login_realms: options.words("loginrealms").unwrap_or_default(),
            virtual_domains: options
                .text("virtdomains")
                .is_some_and(|word| !matches!(word, "no" | "off" | "n" | "f" | "false" | "0")),
            realm: options.text("mupdate_realm").map(str::to_owned),
        }
    }

    /// One of the `sasl_*` options.
    pub fn sasl(&self, name: &str) -> Option<&str> {
        self.sasl
            .iter()
            .find(|(option, _)| option == name)
            .map(|(_, value)| value.as_str())
    }
}

fn method(word: &str) -> Result<LoginMethod, ValueError> {
    match word {
        "users-file" => Ok(LoginMethod::UsersFile),
        "cyrus-sasl" => Ok(LoginMethod::CyrusSasl),
        _ => Err(ValueError::Word {
            allowed: "users-file, cyrus-sasl",
        }),
    }
}
