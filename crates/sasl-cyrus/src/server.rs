//! The mechanisms of libsasl2 for a server.

use std::ffi::CString;
use std::sync::Arc;

use sasl2_sys::prelude::{
    SASL_BADAUTH, SASL_BADPROT, SASL_ENCRYPT, SASL_NOMECH, SASL_NOUSER, SASL_NOUSERPASS,
    SASL_NOVERIFY, SASL_SEC_NOANONYMOUS, SASL_SEC_NOPLAINTEXT, SASL_TOOWEAK, SASL_TRANS,
    SASL_UNAVAIL,
};
use tracing::{debug, error, info};
use transport::sasl::{
    AuthFailure, Backend, BackendExchange, FailureReason, SaslStep, Security, StepFuture,
};

use crate::callbacks::ServerContext;
use crate::connection::{Connection, Properties, Refused, Step};
use crate::kerberos::{self, Key};
use crate::layer::layer_of;
use crate::library::{Library, LibraryError};
use crate::options::Options;
use crate::policy::{Admission, Verdicts};
use crate::threads::{NotRun, Threads};

/// Log-ins that may run at once; a saslauthd or an LDAP server may be slow.
const THREADS: usize = 16;
/// Steps of log-ins that may wait for a thread; each one more is refused.
const WAITING_MAX: usize = 256;

/// How a server lets its clients log in.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Name of the service: what a Kerberos key is for, and saslauthd is asked about.
    pub service: String,
    /// `servername`: the host in a Kerberos key, and the realm of users without one.
    pub host: String,
    /// The site's `sasl_*` lines.
    pub options: Arc<Options>,
    /// Who may log in.
    pub admission: Admission,
    /// `allowplaintext`: mechanisms that send the password in clear, without TLS, too.
    pub allow_plaintext: bool,
    /// `sasl_minimum_layer`: bits of encryption, by TLS or by the mechanism, that a log-in needs; 1 is
    /// integrity only.
    pub layer_bits_min: u32,
    /// `sasl_maximum_layer`: bits that a mechanism's own layer may have; what TLS has is taken off it.
    pub layer_bits_max: u32,
}

/// The mechanisms of libsasl2.
#[derive(Debug, Clone)]
pub struct Server {
    site: Arc<Site>,
    threads: Threads,
    key: Arc<Key>,
}

/// What makes a connection object.
#[derive(Debug)]
struct Site {
    library: Library,
    service: CString,
    host: CString,
    options: Arc<Options>,
    admission: Arc<Admission>,
    properties: Properties,
}

impl Server {
    /// Sets libsasl2 up and looks whether it can be used; may block.
    pub fn new(config: ServerConfig) -> Result<Self, LibraryError> {
        let library = Library::get(&config.options)?;
        let mut flags = SASL_SEC_NOANONYMOUS;
        if !config.allow_plaintext {
            flags |= SASL_SEC_NOPLAINTEXT;
        }
        let site = Arc::new(Site {
            library,
            service: c_string("service", &config.service)?,
            host: c_string("servername", &config.host)?,
            options: config.options,
            admission: Arc::new(config.admission),
            properties: Properties {
                layer_bits_min: config.layer_bits_min,
                layer_bits_max: config.layer_bits_max,
                flags,
            },
        });
        let listed = site
            .mechanisms(&Security::default())
            .map_err(|refused| LibraryError::Use { text: refused.text })?;
        let has_key = site.has_key();
        if !has_key && listed.iter().any(|name| kerberos::needs_key(name)) {
            info!("GSSAPI is not offered: there is no key for it");
        }
        Ok(Self {
            site,
            threads: Threads::start("sasl", THREADS, WAITING_MAX)
                .map_err(|_| LibraryError::Threads)?,
            key: Key::new(has_key),
        })
    }
}

impl Backend for Server {
    /// What libsasl2 lists, in its order, without Kerberos where there is no key.
    fn mechanisms(&self, security: &Security) -> Vec<String> {
        let mut listed = self.site.mechanisms(security).unwrap_or_else(|refused| {
            error!(cause = %refused, "no mechanisms from libsasl2");
            Vec::new()
        });
        if listed.iter().any(|name| kerberos::needs_key(name)) {
            let site = Arc::clone(&self.site);
            if !self.key.is_usable(&self.threads, move || site.has_key()) {
                listed.retain(|name| !kerberos::needs_key(name));
            }
        }
        listed
    }

    fn start(
        &self,
        mechanism: &str,
        security: &Security,
    ) -> Result<Box<dyn BackendExchange>, AuthFailure> {
        let name =
            CString::new(mechanism).map_err(|_| FailureReason::UnknownMechanism.unnamed())?;
        let (connection, context) = self.site.connect(security).map_err(|refused| {
            error!(cause = %refused, "no connection object from libsasl2");
            FailureReason::Internal.unnamed()
        })?;
        Ok(Box::new(Exchange {
            threads: self.threads.clone(),
            context,
            state: State::Start {
                connection,
                mechanism: name,
            },
        }))
    }
}

impl Site {
    fn connect(&self, security: &Security) -> Result<(Connection, Arc<ServerContext>), Refused> {
        self.connect_requiring(self.properties, security)
    }

    fn connect_requiring(
        &self,
        properties: Properties,
        security: &Security,
    ) -> Result<(Connection, Arc<ServerContext>), Refused> {
        let context = Arc::new(ServerContext {
            options: Arc::clone(&self.options),
            admission: Arc::clone(&self.admission),
            verdicts: Verdicts::default(),
        });
        let mut connection = Connection::server(
            self.library,
            &self.service,
            &self.host,
            Arc::clone(&context),
        )?;
        connection.require(properties)?;
        if security.tls {
            // A name with a NUL is nobody's.
            let identity = security
                .external
                .as_deref()
                .and_then(|name| CString::new(name).ok());
            connection.set_external(security.tls_bits, identity.as_deref())?;
        }
        Ok((connection, context))
    }

    fn mechanisms(&self, security: &Security) -> Result<Vec<String>, Refused> {
        match self.connect(security)?.0.mechanisms() {
            // None that is strong enough.
            Err(refused) if refused.code == SASL_NOMECH => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn has_key(&self) -> bool {
        let any = Properties {
            layer_bits_min: 0,
            ..self.properties
        };
        self.connect_requiring(any, &Security::default())
            .is_ok_and(|(mut connection, _)| {
                let step = connection.server_start(c"GSSAPI", Some(b"is there a key?"));
                if let Err(refused) = &step {
                    debug!(cause = %refused, code = refused.code, "look for a Kerberos key");
                }
                kerberos::has_key(&step)
            })
    }
}

/// One log-in.
struct Exchange {
    threads: Threads,
    context: Arc<ServerContext>,
    state: State,
}

enum State {
    Start {
        connection: Connection,
        mechanism: CString,
    },
    Running {
        connection: Connection,
    },
    /// Done, failed, or dropped while a thread had it.
    Ended,
}

impl BackendExchange for Exchange {
    fn step<'a>(&'a mut self, input: Option<&'a [u8]>) -> StepFuture<'a> {
        Box::pin(async move { self.advance(input).await.unwrap_or_else(SaslStep::Failed) })
    }
}

impl Exchange {
    async fn advance(&mut self, input: Option<&[u8]>) -> Result<SaslStep, AuthFailure> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let input = input.map(<[u8]>::to_vec);
        let work = move || match (state, input) {
            (
                State::Start {
                    mut connection,
                    mechanism,
                },
                input,
            ) => {
                let step = connection.server_start(&mechanism, input.as_deref());
                Some((connection, step))
            }
            (State::Running { mut connection }, Some(input)) => {
                let step = connection.server_step(&input);
                Some((connection, step))
            }
            (State::Running { .. } | State::Ended, _) => None,
        };
        let ran = self
            .threads
            .run(work)
            .await
            .map_err(|not_run| match not_run {
                NotRun::Full => FailureReason::Busy.unnamed(),
                NotRun::Lost => FailureReason::Internal.unnamed(),
            })?;
        let (connection, step) = ran.ok_or_else(|| FailureReason::OutOfTurn.unnamed())?;
        match step {
            Ok(Step::Continue(output)) => {
                self.state = State::Running { connection };
                Ok(SaslStep::Challenge(output.unwrap_or_default()))
            }
            Ok(Step::Done(_)) => self.done(connection),
            Err(refused) => Err(self.failure(&refused)),
        }
    }

    fn done(&self, connection: Connection) -> Result<SaslStep, AuthFailure> {
        // Without a question about it nobody has been admitted.
        let verdict = self.context.verdicts.last();
        let verdict = verdict.ok_or_else(|| FailureReason::Internal.unnamed())?;
        if !verdict.is_admitted {
            return Err(FailureReason::NotAdmin.of(verdict.identity));
        }
        let layer = layer_of(connection).map_err(|refused| self.failure(&refused))?;
        Ok(SaslStep::Done {
            identity: verdict.identity,
            layer,
        })
    }

    fn failure(&self, refused: &Refused) -> AuthFailure {
        debug!(cause = %refused, code = refused.code, "libsasl2 refuses a log-in");
        match self.context.verdicts.last() {
            Some(verdict) if !verdict.is_admitted => FailureReason::NotAdmin.of(verdict.identity),
            Some(verdict) => reason(refused.code).of(verdict.identity),
            None => reason(refused.code).unnamed(),
        }
    }
}

/// What a result code of libsasl2 means to us.
fn reason(code: i32) -> FailureReason {
    match code {
        SASL_NOMECH => FailureReason::UnknownMechanism,
        SASL_TOOWEAK | SASL_ENCRYPT => FailureReason::MechanismNotOffered,
        SASL_BADPROT => FailureReason::Malformed,
        SASL_NOUSER => FailureReason::UnknownUser,
        SASL_NOUSERPASS | SASL_NOVERIFY | SASL_TRANS => FailureReason::NoVerifier,
        SASL_BADAUTH => FailureReason::WrongPassword,
        SASL_UNAVAIL => FailureReason::Unavailable,
        _ => FailureReason::Internal,
    }
}

pub(crate) fn c_string(what: &'static str, text: &str) -> Result<CString, LibraryError> {
    CString::new(text).map_err(|_| LibraryError::Nul { what })
}
