//! The mechanisms of libsasl2 for a client.

use std::ffi::CString;
use std::sync::Arc;

use sasl2_sys::prelude::SASL_NOMECH;
use tracing::debug;
use transport::Secret;
use transport::sasl::{
    ClientBackend, ClientBackendExchange, ClientFuture, ClientSaslError, MESSAGE_BYTES_MAX,
    Security, SecurityLayer,
};

use crate::callbacks::ClientContext;
use crate::connection::{Connection, Properties, Refused, Step};
use crate::layer::layer_of;
use crate::library::{Library, LibraryError};
use crate::options::Options;
use crate::secret::PasswordBlock;
use crate::server::c_string;
use crate::threads::Threads;

/// A slave has one master, and an old link may still hang in a step.
const THREADS: usize = 4;
const WAITING_MAX: usize = 16;
/// What Cyrus's clients ask for: no layer is needed, any is welcome.
const ANY_LAYER: Properties = Properties {
    layer_bits_min: 0,
    layer_bits_max: 255,
    flags: 0,
};

/// Who we are, as Cyrus's clients are told.
#[derive(Debug, Clone, Default)]
pub struct ClientConfig {
    /// Name of the service that we log in at.
    pub service: String,
    /// `mupdate_username`: whom to act for; empty: the one who logs in.
    pub username: String,
    /// `mupdate_authname`: who logs in; mechanisms that need a name are not used without.
    pub authname: Option<String>,
    /// `mupdate_realm`.
    pub realm: Option<String>,
    /// `mupdate_password`; mechanisms that need one are not used without.
    pub password: Option<Secret>,
    /// Common name of the certificate that we show, if we have one: EXTERNAL may be used under TLS.
    pub external: Option<String>,
    /// `force_sasl_client_mech`, `<host>_mechs`: only these, if set.
    pub only: Option<Vec<String>>,
    /// The site's `sasl_*` lines.
    pub options: Arc<Options>,
}

/// The mechanisms of libsasl2, with our credentials.
#[derive(Debug, Clone)]
pub struct Client {
    site: Arc<Site>,
    threads: Threads,
}

#[derive(Debug)]
struct Site {
    library: Library,
    service: CString,
    external: Option<CString>,
    only: Option<Vec<String>>,
    context: Arc<ClientContext>,
}

impl Client {
    /// Sets libsasl2 up; may block.
    pub fn new(config: ClientConfig) -> Result<Self, LibraryError> {
        let optional =
            |what, text: Option<String>| text.map(|text| c_string(what, &text)).transpose();
        let password = config
            .password
            .map(|password| {
                PasswordBlock::new(&password).ok_or(LibraryError::Nul {
                    what: "mupdate_password",
                })
            })
            .transpose()?;
        let site = Site {
            library: Library::get(&config.options)?,
            service: c_string("service", &config.service)?,
            external: optional("tls_client_cert", config.external)?,
            only: config.only,
            context: Arc::new(ClientContext {
                options: config.options,
                user: c_string("mupdate_username", &config.username)?,
                authname: optional("mupdate_authname", config.authname)?,
                realm: optional("mupdate_realm", config.realm)?,
                password,
            }),
        };
        Ok(Self {
            site: Arc::new(site),
            threads: Threads::start("sasl-client", THREADS, WAITING_MAX)
                .map_err(|_| LibraryError::Threads)?,
        })
    }
}

impl ClientBackend for Client {
    fn begin<'a>(
        &'a self,
        offered: &'a [String],
        host: &'a str,
        security: Security,
    ) -> ClientFuture<'a, Box<dyn ClientBackendExchange>> {
        Box::pin(async move {
            let (site, offered, host) = (Arc::clone(&self.site), offered.to_vec(), host.to_owned());
            let begun = self
                .threads
                .run(move || site.begin(offered, &host, &security))
                .await;
            let begun = begun.map_err(|_| no_thread())??;
            let exchange: Box<dyn ClientBackendExchange> = Box::new(begun.with(&self.threads));
            Ok(exchange)
        })
    }
}

/// A log-in that has begun, before it has threads.
struct Begun {
    connection: Connection,
    mechanism: String,
    initial: Option<Vec<u8>>,
    is_done: bool,
}

impl Begun {
    fn with(self, threads: &Threads) -> Exchange {
        Exchange {
            threads: threads.clone(),
            mechanism: self.mechanism,
            initial: self.initial,
            connection: Some(self.connection),
            is_done: self.is_done,
        }
    }
}

impl Site {
    /// Begins with libsasl2's choice among what is offered. A mechanism that can't even begin, GSSAPI
    /// without a ticket for one, is left out and another chosen, where Cyrus's clients give up.
    fn begin(
        &self,
        mut offered: Vec<String>,
        host: &str,
        security: &Security,
    ) -> Result<Begun, ClientSaslError> {
        let no_mechanism = ClientSaslError::NoMechanism {
            offered: offered.join(" "),
        };
        if let Some(only) = &self.only {
            offered.retain(|name| only.iter().any(|one| one.eq_ignore_ascii_case(name)));
        }
        let mut complaint = no_mechanism;
        while !offered.is_empty() {
            let mut connection = self.connect(host, security).map_err(library)?;
            let list = CString::new(offered.join(" "))
                .map_err(|_| refusal("a mechanism's name has a NUL in it"))?;
            let (mechanism, step) = connection.client_start(&list);
            let Some(mechanism) = mechanism else { break };
            let refused = match step {
                Ok(step) => return Ok(begun(connection, mechanism, step)),
                Err(refused) => refused,
            };
            debug!(mechanism, cause = %refused, "mechanism can't begin");
            if refused.code != SASL_NOMECH {
                complaint = library(refused);
            }
            let before = offered.len();
            offered.retain(|name| !name.eq_ignore_ascii_case(&mechanism));
            if offered.len() == before {
                break;
            }
        }
        Err(complaint)
    }

    fn connect(&self, host: &str, security: &Security) -> Result<Connection, Refused> {
        let host = CString::new(host).unwrap_or_default();
        let context = Arc::clone(&self.context);
        let mut connection = Connection::client(self.library, &self.service, &host, context)?;
        connection.require(ANY_LAYER)?;
        if security.tls {
            connection.set_external(security.tls_bits, self.external.as_deref())?;
        }
        Ok(connection)
    }
}

fn begun(connection: Connection, mechanism: String, step: Step) -> Begun {
    let (initial, is_done) = match step {
        Step::Continue(initial) => (initial, false),
        Step::Done(initial) => (initial, true),
    };
    Begun {
        connection,
        mechanism,
        initial,
        is_done,
    }
}

/// One log-in.
struct Exchange {
    threads: Threads,
    mechanism: String,
    initial: Option<Vec<u8>>,
    /// Gone while a thread has it, and after an error.
    connection: Option<Connection>,
    /// Our end has nothing more to say; what the server had to prove it has proved.
    is_done: bool,
}

impl ClientBackendExchange for Exchange {
    fn mechanism(&self) -> &str {
        &self.mechanism
    }

    fn initial_response(&mut self) -> Result<Option<Vec<u8>>, ClientSaslError> {
        Ok(self.initial.take())
    }

    fn answer<'a>(&'a mut self, challenge: &'a [u8]) -> ClientFuture<'a, Vec<u8>> {
        Box::pin(self.advance(challenge))
    }

    fn finish(mut self: Box<Self>) -> Result<Option<Box<dyn SecurityLayer>>, ClientSaslError> {
        match self.connection.take() {
            Some(connection) if self.is_done => layer_of(connection).map_err(library),
            _ => Err(ClientSaslError::ServerUnproven),
        }
    }
}

impl Exchange {
    async fn advance(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientSaslError> {
        let connection = self.connection.take().filter(|_| !self.is_done);
        let mut connection = connection.ok_or(ClientSaslError::UnexpectedChallenge)?;
        if challenge.len() > MESSAGE_BYTES_MAX {
            return Err(refusal("challenge is too long"));
        }
        let challenge = challenge.to_vec();
        let ran = self
            .threads
            .run(move || {
                let step = connection.client_step(&challenge);
                (connection, step)
            })
            .await;
        let (connection, step) = ran.map_err(|_| no_thread())?;
        let output = match step.map_err(library)? {
            Step::Continue(output) => output,
            Step::Done(output) => {
                self.is_done = true;
                output
            }
        };
        self.connection = Some(connection);
        Ok(output.unwrap_or_default())
    }
}

fn library(refused: Refused) -> ClientSaslError {
    ClientSaslError::Library { text: refused.text }
}

fn refusal(text: &str) -> ClientSaslError {
    ClientSaslError::Library {
        text: text.to_owned(),
    }
}

fn no_thread() -> ClientSaslError {
    refusal("no thread for it")
}
