//! Values of options that are one of a few words.

use cyrusdb::mailboxes::KeyStyle;
use exporter::{StyleSetting, Window};
use server::{ListOrder, ListOrders};
use transport::tls::{ClientCertificates, MinimumVersion, ServerVerification};

use crate::telemetry::{self, Facility, LogTarget};

use super::settings::{ExportMode, MurderKind};
use super::value::ValueError;

pub(super) fn murder_kind(value: &str) -> Result<MurderKind, ValueError> {
    match value {
        "standard" => Ok(MurderKind::Standard),
        "replicated" => Ok(MurderKind::Replicated),
        "unified" => Ok(MurderKind::Unified),
        _ => Err(ValueError::Word {
            allowed: "standard, unified, replicated",
        }),
    }
}

pub(super) fn export_mode(value: &str) -> Result<ExportMode, ValueError> {
    match value {
        "before-ok" => Ok(ExportMode::BeforeOk),
        "after-ok" => Ok(ExportMode::AfterOk),
        "off" => Ok(ExportMode::Off),
        _ => Err(ValueError::Word {
            allowed: "before-ok, after-ok, off",
        }),
    }
}

pub(super) fn log_target(value: &str) -> Result<LogTarget, ValueError> {
    match value {
        "stderr" => Ok(LogTarget::StandardError),
        "syslog" => Ok(LogTarget::Syslog),
        "journal" => Ok(LogTarget::Journal),
        _ => Err(ValueError::Word {
            allowed: "stderr, syslog, journal",
        }),
    }
}

pub(super) fn facility(value: &str) -> Result<Facility, ValueError> {
    telemetry::facility(value).ok_or(ValueError::Word {
        allowed: "auth, authpriv, cron, daemon, ftp, lpr, mail, news, user, uucp, local0 to local7",
    })
}

pub(super) fn style(value: &str) -> Result<StyleSetting, ValueError> {
    match value {
        "auto" => Ok(StyleSetting::Auto),
        "plain" => Ok(StyleSetting::Fixed(KeyStyle::Plain)),
        "byname" => Ok(StyleSetting::Fixed(KeyStyle::ByName)),
        _ => Err(ValueError::Word {
            allowed: "auto, plain, byname",
        }),
    }
}

pub(super) fn window(value: &str) -> Result<Window, ValueError> {
    value.parse().map_err(|_| ValueError::Window)
}

pub(super) fn verification(value: &str) -> Result<ServerVerification, ValueError> {
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
pub(super) fn list_orders(value: &str) -> Result<ListOrders, ValueError> {
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

pub(super) fn list_order(word: &str) -> Result<ListOrder, ValueError> {
    match word {
        "hier" => Ok(ListOrder::Hierarchy),
        "bytes" => Ok(ListOrder::Octets),
        _ => Err(ValueError::Word {
            allowed: "hier, bytes, host=hier, host=bytes",
        }),
    }
}

pub(super) fn client_certificates(value: &str) -> Result<ClientCertificates, ValueError> {
    match value {
        "off" => Ok(ClientCertificates::Off),
        "optional" => Ok(ClientCertificates::Optional),
        "require" => Ok(ClientCertificates::Required),
        _ => Err(ValueError::Word {
            allowed: "off, optional, require",
        }),
    }
}

/// The oldest version that is listed and that rustls speaks.
pub(super) fn minimum_version(value: &str) -> Result<MinimumVersion, ValueError> {
    let has = |version: &str| value.split_whitespace().any(|listed| listed == version);
    if has("tls1_2") {
        Ok(MinimumVersion::Tls12)
    } else if has("tls1_3") {
        Ok(MinimumVersion::Tls13)
    } else {
        Err(ValueError::Word {
            allowed: "a list with tls1_2 or tls1_3, the versions that rustls speaks",
        })
    }
}
