//! What becomes of every option that Cyrus's mupdate and its client code read: honoured, or not and why.

use super::raw::{Place, RawConfig};

/// An option that stands in a file and does nothing, or not what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where it stands.
    pub place: Place,
    /// Its name, as written.
    pub name: String,
    /// What of it.
    pub text: String,
}

/// Options of Cyrus's mupdate that have no effect here, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "mupdate_port",
        "Cyrus does not read it either; 'listen' in cyrus.conf, or --listen, says the port",
    ),
    ("mupdate_workers_start", THREADS),
    ("mupdate_workers_minspare", THREADS),
    ("mupdate_workers_maxspare", THREADS),
    ("mupdate_workers_max", THREADS),
    ("mupdate_realm", "mechanisms of this program need no realm"),
    ("loginrealms", IDENTITIES),
    ("virtdomains", IDENTITIES),
    ("proxyservers", "kicks are answered whoever sends them"),
    ("sasl_minimum_layer", LAYERS),
    ("sasl_maximum_layer", LAYERS),
    (
        "tls_server_dhparam",
        "there is no DHE, only elliptic curves (ECDHE, X25519): nothing to set",
    ),
    ("tls_ciphers", CIPHERS),
    ("tls_cipher_list", CIPHERS),
    ("tls_eccurve", CIPHERS),
    ("tls_prefer_server_ciphers", CIPHERS),
    (
        "tls_crl_file",
        "revocation lists are not read: a revoked certificate counts for EXTERNAL until its end",
    ),
    ("tls_sessions_db", "TLS sessions are never resumed"),
    ("tls_session_timeout", "TLS sessions are never resumed"),
    (
        "client_bind",
        "the system chooses the address that a slave connects from",
    ),
    (
        "client_bind_name",
        "the system chooses the address that a slave connects from",
    ),
    ("proxy_compress", "a slave asks for no compression"),
    ("maxword", LIMITS),
    ("maxquoted", LIMITS),
    ("maxliteral", LIMITS),
    ("literalminus", LIMITS),
    ("tcp_keepalive", KEEPALIVE),
    ("tcp_keepalive_cnt", KEEPALIVE),
    ("tcp_keepalive_idle", KEEPALIVE),
    ("tcp_keepalive_intvl", KEEPALIVE),
    (
        "reverseacls",
        "the keys are kept where mailboxes.db has them",
    ),
];

const LIBSASL: &str = "only libsasl2 reads it, and log-ins go by the users file ('mupdate_login')";
const THREADS: &str = "a connection needs no thread of its own";
const IDENTITIES: &str =
    "users are named as in the users file; there is no default realm to take away";
const KEEPALIVE: &str = "keepalive is on for every connection, with times of its own";
const LAYERS: &str = "mechanisms of this program have no layers; use TLS";
const CIPHERS: &str = "the list of rustls stands: TLS 1.2 with ECDHE and AEAD ciphers, and TLS 1.3";
const LIMITS: &str =
    "limits are fixed, before and after log-in; an excess ends one session, not the process";

/// Our own, by which a misspelt `mupdate_` option is told from a prefixed one.
const OWN: &[&str] = &[
    "mupdate_authname",
    "mupdate_checkpoint_window",
    "mupdate_config",
    "mupdate_connections_max",
    "mupdate_data_dir",
    "mupdate_db_style",
    "mupdate_export",
    "mupdate_export_wait",
    "mupdate_history_changes",
    "mupdate_list_order",
    "mupdate_login",
    "mupdate_log",
    "mupdate_max_name",
    "mupdate_password",
    "mupdate_resync",
    "mupdate_retry_delay",
    "mupdate_scrub_interval",
    "mupdate_scrub_rate",
    "mupdate_server",
    "mupdate_strict",
    "mupdate_tls_ca_dir",
    "mupdate_tls_ca_file",
    "mupdate_tls_verify",
    "mupdate_username",
    "mupdate_users_file",
];

/// Options that have the first part of a host's name before them, and many a master is called `mupdate.example.org`.
const OF_HOSTS: [&str; 3] = ["mechs", "client_cert", "client_key"];

/// Options of Cyrus that are honoured, and that may have the service's name before them.
const HONOURED: &[&str] = &[
    "admins",
    "allowplaintext",
    "allowstarttls",
    "auditlog",
    "client_timeout",
    "configdirectory",
    "debug",
    "debug_command",
    "defaultdomain",
    "failedloginpause",
    "force_sasl_client_mech",
    "improved_mboxlist_sort",
    "mboxlist_db_path",
    "servername",
    "syslog_facility",
    "syslog_prefix",
];

/// Options that have an effect where libsasl2 does log-ins, beside its own, the `sasl_` lines.
const OF_LIBSASL: [&str; 3] = ["mupdate_realm", "loginrealms", "virtdomains"];

/// Of the `sasl_` lines those that have an effect with the users file too.
const OF_BOTH: [&str; 3] = [
    "sasl_mech_list",
    "sasl_pwcheck_method",
    "sasl_saslauthd_path",
];

/// Versions of TLS that rustls does not speak.
const REFUSED_VERSIONS: [&str; 4] = ["ssl2", "ssl3", "tls1_0", "tls1_1"];

/// Everything in the file that does nothing although it looks as if it did, in the file's order.
/// Options of other programs are none of our business, and those about log-ins depend on who does them.
pub(super) fn remarks(raw: &RawConfig, service: &str) -> Vec<Remark> {
    collect(raw, service, |name, plain, value| {
        if is_of_libsasl(name, plain) {
            return None;
        }
        without_effect(name)
            .or_else(|| without_effect(plain))
            .or_else(|| value_without_effect(plain, value))
            .or_else(|| unknown(name, plain))
    })
}

/// As [`remarks`], about log-ins, where libsasl2 does not do them.
pub(super) fn remarks_without_libsasl(raw: &RawConfig, service: &str) -> Vec<Remark> {
    collect(raw, service, |name, plain, value| {
        if !is_of_libsasl(name, plain) {
            return None;
        }
        let only_libsasl = !OF_BOTH.contains(&plain);
        without_effect(name)
            .or_else(|| without_effect(plain))
            .or_else(|| value_without_effect(plain, value))
            .or_else(|| only_libsasl.then(|| format!("has no effect: {LIBSASL}")))
    })
}

fn is_of_libsasl(name: &str, plain: &str) -> bool {
    plain.starts_with("sasl_") || OF_LIBSASL.iter().any(|one| [name, plain].contains(one))
}

fn collect(
    raw: &RawConfig,
    service: &str,
    text: impl Fn(&str, &str, &str) -> Option<String>,
) -> Vec<Remark> {
    let prefix = format!("{service}_");
    let mut remarks: Vec<Remark> = raw
        .iter()
        .filter_map(|(name, option)| {
            let plain = name.strip_prefix(&prefix).unwrap_or(name);
            Some(Remark {
                text: text(name, plain, &option.value)?,
                place: option.place.clone(),
                name: name.to_owned(),
            })
        })
        .collect();
    remarks.sort_by(|a, b| (&a.place.file, a.place.line).cmp(&(&b.place.file, b.place.line)));
    remarks
}

fn without_effect(name: &str) -> Option<String> {
    let found = WITHOUT_EFFECT.iter().find(|(option, _)| *option == name)?;
    Some(format!("has no effect: {}", found.1))
}

fn value_without_effect(name: &str, value: &str) -> Option<String> {
    match name {
        "tls_versions" => {
            let refused: Vec<&str> = value
                .split_whitespace()
                .filter(|version| REFUSED_VERSIONS.contains(version))
                .collect();
            (!refused.is_empty()).then(|| {
                let refused = refused.join(" ");
                format!(
                    "{refused}: refused, rustls speaks TLS 1.2 and 1.3 only; older peers get no TLS"
                )
            })
        }
        "mboxlist_db" if value != "twoskip" => Some(
            "has no effect: mailboxes.db is kept as twoskip, into which cvt_cyrusdb changes a file of another kind"
                .to_owned(),
        ),
        "deletedprefix" if value != "DELETED" => {
            Some("has no effect: deleted mailboxes are told by DELETED".to_owned())
        }
        "sasl_pwcheck_method" => {
            let unknown: Vec<&str> = value
                .split_whitespace()
                .filter(|word| !["auxprop", "saslauthd"].contains(word))
                .collect();
            (!unknown.is_empty()).then(|| {
                format!(
                    "{}: not among the ways of this program to verify a password",
                    unknown.join(" ")
                )
            })
        }
        "sasl_mech_list" => {
            let known = [
                "SCRAM-SHA-1",
                "SCRAM-SHA-256",
                "SCRAM-SHA-512",
                "PLAIN",
                "EXTERNAL",
            ];
            let unknown: Vec<&str> = value
                .split_whitespace()
                .filter(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
                .collect();
            (!unknown.is_empty()).then(|| {
                format!(
                    "{}: not among the mechanisms of this program",
                    unknown.join(" ")
                )
            })
        }
        _ => None,
    }
}

/// Only names that begin like ours can be told from those of other programs.
fn unknown(name: &str, plain: &str) -> Option<String> {
    let is_known = OWN.contains(&name)
        || HONOURED.contains(&plain)
        || ["sasl_", "tls_"]
            .iter()
            .any(|family| plain.starts_with(family));
    let is_of_host = OF_HOSTS.contains(&plain.trim_start_matches("mupdate_"));
    (name.starts_with("mupdate_") && !is_known && !is_of_host)
        .then(|| "is not known; is it misspelt?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("imapd.conf");
        std::fs::write(&file, text).unwrap();
        let raw = RawConfig::read(&file).unwrap();
        let remarks = remarks(&raw, "mupdate");
        let shown =
            |remark: &Remark| format!("{} {} {}", remark.place.line, remark.name, remark.text);
        remarks.iter().map(shown).collect()
    }

    #[test]
    fn what_has_no_effect_is_named_with_its_line() {
        let said = said("admins: a\nmupdate_workers_max: 5\nmupdate_tls_ciphers: HIGH\n");
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("2 mupdate_workers_max has no effect: a connection"));
        assert!(said[1].starts_with("3 mupdate_tls_ciphers has no effect: the list"));
    }

    #[test]
    fn versions_that_rustls_refuses_are_named() {
        let said = said("tls_versions: tls1_0 tls1_1 tls1_2\n");
        assert!(said[0].contains("tls1_0 tls1_1: refused"), "{said:?}");
    }

    #[test]
    fn nothing_is_said_of_others_and_of_what_is_honoured() {
        assert!(
            said("popminpoll: 1\nadmins: a\nmupdate_admins: b\nmupdate_server: m\n").is_empty()
        );
    }

    #[test]
    fn what_only_libsasl2_reads_is_named_where_the_users_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("imapd.conf");
        let text = "sasl_mech_list: PLAIN DIGEST-MD5\nsasl_sasldb_path: /x\nsasl_saslauthd_path: /y\n\
                    mupdate_sasl_minimum_layer: 1\nloginrealms: a\nadmins: b\n";
        std::fs::write(&file, text).unwrap();
        let raw = RawConfig::read(&file).unwrap();
        assert!(remarks(&raw, "mupdate").is_empty());
        let remarks = remarks_without_libsasl(&raw, "mupdate");
        let lines: Vec<usize> = remarks.iter().map(|remark| remark.place.line).collect();
        assert_eq!(lines, [1, 2, 4, 5]);
        assert!(remarks[0].text.starts_with("DIGEST-MD5: not among"));
        assert!(remarks[1].text.starts_with("has no effect: only libsasl2"));
    }

    #[test]
    fn a_misspelt_option_is_named() {
        let said = said("mupdate_expert: before-ok\n");
        assert!(said[0].ends_with("is it misspelt?"), "{said:?}");
        assert!(self::said("mupdate_mechs: PLAIN\n").is_empty());
    }
}
