//! Who does log-ins: our own mechanisms, or the system's libsasl2.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tracing::{info, warn};
use transport::sasl::{
    AuthConfig, Authenticator, ClientBackend, PasswordCheck, Saslauthd, Security,
};
use transport::users::UsersFile;

use super::Places;
use crate::config::{LoginMethod, SASLAUTHD_SOCKET, Settings};
use crate::failure::{Failure, Status};

/// The SASL name of the service (RFC 3656 section 3.2).
const SERVICE: &str = "mupdate";
/// What TLS is worth, in bits, where somebody only asks what would be offered.
const TLS_BITS: u32 = 256;
/// Whether libsasl2 is in this program.
const HAS_LIBSASL: bool = cfg!(feature = "sasl-cyrus");

/// Who does log-ins here: what `mupdate_login` says; else ours where there is a users file that
/// somebody has named or filled; else libsasl2 if it is in this program.
pub(super) fn method(settings: &Settings, places: &Places) -> LoginMethod {
    let is_named =
        settings.users_file.is_some() || places.users_file != places.data_dir.join("users");
    let is_filled = fs::metadata(&places.users_file).is_ok_and(|users| users.len() > 0);
    settings.login.method.unwrap_or({
        if HAS_LIBSASL && !is_named && !is_filled {
            LoginMethod::CyrusSasl
        } else {
            LoginMethod::UsersFile
        }
    })
}

/// Whether the `sasl_*` lines are libsasl2's business.
pub(crate) fn uses_libsasl(settings: &Settings, places: &Places) -> bool {
    method(settings, places) == LoginMethod::CyrusSasl
}

/// What a server asks about its clients.
pub(super) fn authenticator(
    settings: &Settings,
    places: &Places,
) -> Result<Authenticator, Failure> {
    if settings.admins.is_empty() {
        warn!("imapd.conf names no admins, so nobody can log in");
    }
    match method(settings, places) {
        LoginMethod::UsersFile => own(settings, &places.users_file),
        LoginMethod::CyrusSasl => {
            info!("log-ins are libsasl2's, by the 'sasl_' lines of imapd.conf");
            library::authenticator(settings)
        }
    }
}

/// What a server would offer its clients, as far as can be told without making anything.
#[derive(Debug)]
pub(crate) enum Offer {
    /// There is no users file yet.
    NoUsers,
    /// Mechanisms without TLS and with it.
    Mechanisms {
        method: LoginMethod,
        clear: Vec<String>,
        tls: Vec<String>,
    },
}

/// Looks at what log-ins need.
pub(crate) fn offer(settings: &Settings, places: &Places) -> Result<Offer, Failure> {
    let method = method(settings, places);
    if method == LoginMethod::UsersFile && !places.users_file.exists() {
        return Ok(Offer::NoUsers);
    }
    let authenticator = authenticator(settings, places)?;
    let tls = Security {
        tls: true,
        tls_bits: TLS_BITS,
        external: None,
    };
    Ok(Offer::Mechanisms {
        method,
        clear: authenticator.mechanisms(&Security::default()),
        tls: authenticator.mechanisms(&tls),
    })
}

/// What a slave logs in with, where that is libsasl2's.
pub(super) fn client_backend(
    settings: &Settings,
    places: &Places,
) -> anyhow::Result<Option<Arc<dyn ClientBackend>>> {
    match method(settings, places) {
        LoginMethod::UsersFile => Ok(None),
        LoginMethod::CyrusSasl => library::client(settings).map(Some),
    }
}

fn own(settings: &Settings, users_file: &Path) -> Result<Authenticator, Failure> {
    let config_error = |cause: anyhow::Error| Failure::new(Status::Config, cause);
    if !users_file.exists() {
        warn!(path = %users_file.display(), "no users file yet: make one with 'mupdatectl passwd'");
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(users_file);
        made.with_context(|| format!("users file {}", users_file.display()))
            .map_err(config_error)?;
    }
    let users = UsersFile::load(users_file).map_err(|cause| config_error(cause.into()))?;
    let config = AuthConfig {
        users: Arc::new(users),
        mechanisms: settings.mechanisms.clone(),
        allow_plaintext: settings.allow_plaintext,
        admins: settings.admins.clone(),
    };
    Authenticator::with_password_checks(config, password_checks(settings))
        .map_err(|cause| Failure::new(Status::System, cause))
}

/// `sasl_pwcheck_method` as far as it concerns us.
fn password_checks(settings: &Settings) -> Vec<PasswordCheck> {
    let login = &settings.login;
    let mut checks = Vec::new();
    for word in &login.password_checks {
        match word.as_str() {
            "auxprop" => checks.push(PasswordCheck::UsersFile),
            "saslauthd" => {
                let socket = login.sasl("saslauthd_path").unwrap_or(SASLAUTHD_SOCKET);
                checks.push(PasswordCheck::Saslauthd(Saslauthd::new(socket, SERVICE)));
            }
            other => {
                warn!(
                    method = other,
                    "'sasl_pwcheck_method' has a word that needs libsasl2"
                );
            }
        }
    }
    checks
}

#[cfg(not(feature = "sasl-cyrus"))]
mod library {
    use super::{Arc, Authenticator, ClientBackend, Failure, Settings, Status, anyhow};

    fn absent() -> anyhow::Error {
        anyhow!(
            "'mupdate_login: cyrus-sasl': this program was built without libsasl2 (feature 'sasl-cyrus')"
        )
    }

    pub(super) fn authenticator(_settings: &Settings) -> Result<Authenticator, Failure> {
        Err(Failure::new(Status::Config, absent()))
    }

    pub(super) fn client(_settings: &Settings) -> anyhow::Result<Arc<dyn ClientBackend>> {
        Err(absent())
    }
}

#[cfg(feature = "sasl-cyrus")]
mod library {
    use sasl_cyrus::{Admission, Client, ClientConfig, Options, Server, ServerConfig};
    use transport::Secret;

    use super::{
        Arc, Authenticator, ClientBackend, Context, Failure, SERVICE, Settings, Status, anyhow,
    };

    fn options(settings: &Settings) -> Arc<Options> {
        let lines = settings.login.sasl.iter();
        Arc::new(lines.map(|(name, value)| (name, value.as_str())).collect())
    }

    pub(super) fn authenticator(settings: &Settings) -> Result<Authenticator, Failure> {
        let login = &settings.login;
        let server = Server::new(ServerConfig {
            service: SERVICE.to_owned(),
            host: settings.servername.clone(),
            options: options(settings),
            admission: Admission {
                admins: settings.admins.clone(),
                login_realms: login.login_realms.clone(),
                virtual_domains: login.virtual_domains,
            },
            allow_plaintext: settings.allow_plaintext,
            layer_bits_min: login.layer_bits_min,
            layer_bits_max: login.layer_bits_max,
        });
        let server = server.map_err(|cause| Failure::new(Status::Config, cause))?;
        Ok(Authenticator::with_backend(Arc::new(server)))
    }

    pub(super) fn client(settings: &Settings) -> anyhow::Result<Arc<dyn ClientBackend>> {
        let client = &settings.client;
        let external = client.certificate.as_ref().map(|_| String::new());
        let backend = Client::new(ClientConfig {
            service: SERVICE.to_owned(),
            username: client.username.clone().unwrap_or_default(),
            authname: client.authname.clone().or_else(|| client.username.clone()),
            realm: settings.login.realm.clone(),
            password: client.password.as_deref().map(Secret::from),
            external,
            only: settings.client.mechanisms.clone(),
            options: options(settings),
        });
        let backend = backend
            .map_err(|cause| anyhow!(cause))
            .context("log-in at the master")?;
        Ok(Arc::new(backend))
    }
}
