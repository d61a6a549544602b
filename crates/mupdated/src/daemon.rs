//! The life of a `mupdate` process: who started it, which role, ready, a signal, the end.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::cli::check;
use crate::cli::mupdate::Args;
use crate::config::{Examined, ExportMode, LogSettings, Settings};
use crate::failure::{Failure, Status};
use crate::inherited_fds::Inherited;
use crate::node::{Node, Places, make_data_dir, uses_libsasl};
use crate::service::entrance::{entrance, take_in};
use crate::service::handover::{Instance, stand_by};
use crate::service::host_rules::HostRules;
use crate::service::{START_RETRY, Starter, begin_again, notify, role};
use crate::telemetry;

/// Runs until a signal asks to stop. The exit status is that of sysexits.h.
pub async fn run(args: Args, inherited: Inherited) -> ExitCode {
    let starter = Starter::look(&inherited);
    if args.check_config {
        return check::run(&args, &starter, &inherited).await;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Err(failure) = live(&args, &starter, &inherited).await else {
        return ExitCode::SUCCESS;
    };
    crate::cli::complain("mupdate", &failure);
    if starter.is_cyrus {
        let log = LogSettings::default();
        telemetry::start_service("info", &log, &starter.service, true);
        error!(cause = %failure, "mupdate can't serve");
        if failure.may_pass() {
            tokio::time::sleep(START_RETRY).await;
            begin_again(&inherited, &arguments);
        }
    }
    failure.exit_code()
}

async fn live(args: &Args, starter: &Starter, inherited: &Inherited) -> Result<(), Failure> {
    let system = |cause: std::io::Error| Failure::new(Status::System, cause);
    if starter.is_cyrus && rustix::process::geteuid().is_root() {
        let cause =
            anyhow!("must not run as root: Cyrus's master drops it where it knows the user");
        return Err(Failure::new(Status::Usage, cause));
    }
    let mut examined = Settings::examine(&args.config, &starter.service);
    if let Some(mistake) = examined.mistakes.drain(..).next() {
        return Err(Failure::new(Status::Config, mistake));
    }
    let mut settings = examined.settings.clone();
    let levels = if starter.verbose || settings.log.debugs {
        "debug"
    } else {
        "info"
    };
    telemetry::start_service(levels, &settings.log, &starter.service, starter.is_cyrus);
    tell_remarks(&examined, &args.places(&settings, inherited));
    if rustix::process::geteuid().is_root() {
        warn!("runs as root: files that it makes belong to root; Cyrus's programs run as cyrus");
    }
    if starter.is_cyrus {
        // Cyrus programs of this host read the file that Cyrus's own master would keep.
        settings.export.mode.get_or_insert(ExportMode::BeforeOk);
    }
    if args.debug {
        debug_command(settings.debug_command.as_deref()).await;
    }
    for ignored in &args.ignored {
        warn!(argument = %ignored.to_string_lossy(), "passed over on the command line");
    }
    raise_descriptor_limit();
    let mut signals = Signals::new().map_err(system)?;
    let starting = start(args, &settings, starter, inherited);
    let running = tokio::select! {
        running = starting => running?,
        signal = signals.stop() => {
            info!(signal, "stopped before there was anything to serve");
            return Ok(());
        }
    };
    let signal = tokio::select! {
        signal = signals.stop() => signal,
        () = running.attend(inherited) => "end",
    };
    info!(signal, "stopping");
    notify::stopping();
    running.stop().await;
    info!("stopped");
    Ok(())
}

fn tell_remarks(examined: &Examined, places: &Places) {
    let without_libsasl = if uses_libsasl(&examined.settings, places) {
        Vec::new()
    } else {
        examined.remarks_without_libsasl()
    };
    for remark in examined.remarks.iter().chain(&without_libsasl) {
        info!(place = %remark.place, option = remark.name, "{}", remark.text);
    }
}

/// A node, and what goes with the process.
struct Running {
    node: Node,
    /// Held until the node has given its files back, so that whoever stands by begins then.
    instance: Arc<Instance>,
    tasks: TaskTracker,
    stop: CancellationToken,
    ready: String,
}

async fn start(
    args: &Args,
    settings: &Settings,
    starter: &Starter,
    inherited: &Inherited,
) -> Result<Running, Failure> {
    let places = args.places(settings, inherited);
    let is_master = args.role.master || (args.role.auto && is_master_here(settings).await?);
    let role = if is_master { "master" } else { "slave" };
    make_data_dir(&places.data_dir)?;
    let instance = Arc::new(own(&places.data_dir, role, inherited).await?);
    let system = |cause: std::io::Error| Failure::new(Status::System, cause);
    let rules = if starter.is_cyrus {
        HostRules::start(&starter.service).map_err(system)?
    } else {
        None
    };
    let (entrance, more) = entrance(inherited, rules.clone()).map_err(system)?;
    let node = if is_master {
        Node::start_master(settings, &places, entrance).await?
    } else {
        Node::start_slave(settings, &places, entrance).await?
    };
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    let listening = addresses.join(" ");
    let ready = format!("{role} on {listening}");
    let number = starter.number.as_deref().unwrap_or("-");
    info!(role, listening, number, data = %places.data_dir.display(), "mupdate is ready");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(notify::watchdog(stop.clone()));
    tasks.spawn(take_in(
        Arc::clone(&instance),
        role,
        rules,
        more,
        stop.clone(),
    ));
    Ok(Running {
        node,
        instance,
        tasks,
        stop,
        ready,
    })
}

/// The right to the data directory. A process that brings a socket waits for it.
async fn own(data_dir: &Path, role: &str, inherited: &Inherited) -> Result<Instance, Failure> {
    let owned = if inherited.listeners.is_empty() {
        Instance::claim(data_dir).and_then(|instance| {
            instance.ok_or_else(|| std::io::Error::other("another process uses it"))
        })
    } else {
        stand_by(data_dir, role, inherited).await
    };
    owned
        .with_context(|| format!("data directory {}", data_dir.display()))
        .map_err(|cause| Failure::new(Status::Storage, cause))
}

impl Running {
    /// Says when the list is there, and waits for ever.
    async fn attend(&self, inherited: &Inherited) {
        notify::doing("waits for a whole list");
        self.node.ready().await;
        notify::ready(&self.ready);
        notify::daemon_ready(inherited);
        std::future::pending::<()>().await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.node.stop().await;
        self.tasks.wait().await;
        drop(self.instance);
    }
}

pub(crate) async fn is_master_here(settings: &Settings) -> Result<bool, Failure> {
    let Some(address) = settings.upstream.as_deref() else {
        return Ok(false);
    };
    let upstream = address
        .parse()
        .with_context(|| format!("'mupdate_server: {address}'"))
        .map_err(|cause| Failure::new(Status::Config, cause))?;
    let found = role::is_here(&upstream).await;
    found
        .with_context(|| format!("-a: whether 'mupdate_server: {address}' is this host"))
        .map_err(|cause| Failure::new(Status::System, cause))
}

/// `-D`: a C format of Cyrus's with the program's name and its process id.
async fn debug_command(format: Option<&str>) {
    let Some(format) = format else {
        warn!("-D: imapd.conf has no debug_command");
        return;
    };
    let command =
        format
            .replacen("%s", "mupdate", 1)
            .replacen("%d", &std::process::id().to_string(), 1);
    info!(command, "-D");
    let ended =
        tokio::task::spawn_blocking(move || Command::new("sh").arg("-c").arg(command).status());
    match ended.await {
        Ok(Ok(status)) => info!(%status, "debug_command has ended"),
        Ok(Err(cause)) => warn!(%cause, "debug_command"),
        Err(cause) => warn!(%cause, "debug_command"),
    }
}

/// Every connection is a descriptor; the usual soft limit is far below what one process may have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(descriptors = limit.maximum, "descriptor limit"),
        Err(cause) => debug!(%cause, "descriptor limit stays"),
    }
}

/// The signals this program acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until one of them asks to stop.
    async fn stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    info!("SIGHUP: users are read again by themselves; other settings need a restart");
                }
            }
        }
    }
}
