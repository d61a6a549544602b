//! `mupdate --check-config`: what an imapd.conf would have this program do, and what is wrong with it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use transport::tls::{AuthorityFiles, ServerVerification};

use super::certificates;
use super::mupdate::Args;
use crate::config::{
    Examined, ExportMode, LoginMethod, MurderKind, Remark, Settings, SettingsError, SyntaxError,
    TlsFiles,
};
use crate::daemon::is_master_here;
use crate::failure::{Status, told};
use crate::inherited_fds::Inherited;
use crate::node::{Offer, Places, client_login, client_tls, load_tls, offer, uses_libsasl};
use crate::service::Starter;

/// Prints the report; ends with 0, or with 78 if the program would not start.
pub(crate) async fn run(args: &Args, starter: &Starter, inherited: &Inherited) -> ExitCode {
    let examined = Settings::examine(&args.config, &starter.service);
    let mut report = Report::new(&examined);
    if report.is_readable(args) {
        let is_master = report.is_master(args).await;
        let places = args.places(&examined.settings, inherited);
        if report.plan(&places, is_master).is_err() {
            return ExitCode::FAILURE;
        }
    }
    if report.print().is_err() {
        ExitCode::FAILURE
    } else if report.mistakes.is_empty() {
        ExitCode::SUCCESS
    } else {
        Status::Config.exit_code()
    }
}

fn note(remark: &Remark) -> String {
    format!("{}: '{}' {}", remark.place, remark.name, remark.text)
}

/// What there is to say: good, doubtful and wrong.
struct Report<'a> {
    examined: &'a Examined,
    plan: String,
    notes: Vec<String>,
    mistakes: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(examined: &'a Examined) -> Self {
        Self {
            examined,
            plan: String::new(),
            notes: examined.remarks.iter().map(note).collect(),
            mistakes: Vec::new(),
        }
    }

    /// Takes over the mistakes of the file; of one that can't be read there is nothing else to say.
    fn is_readable(&mut self, args: &Args) -> bool {
        let is_unreadable = |mistake: &&SettingsError| matches!(mistake, SettingsError::Syntax(SyntaxError::Io { file, .. }) if *file == args.config);
        let mistakes = &self.examined.mistakes;
        if let Some(mistake) = mistakes.iter().find(is_unreadable) {
            self.mistakes.push(mistake.to_string());
            return false;
        }
        let mut mistakes: Vec<&SettingsError> = mistakes.iter().collect();
        mistakes.sort_by_key(|mistake| mistake.place());
        self.mistakes
            .extend(mistakes.into_iter().map(ToString::to_string));
        true
    }

    async fn is_master(&mut self, args: &Args) -> bool {
        if args.role.master || !args.role.auto {
            return args.role.master;
        }
        match is_master_here(&self.examined.settings).await {
            Ok(is_master) => is_master,
            // A value that means nothing is named with its line further on.
            Err(failure) if failure.status == Status::Config => false,
            Err(failure) => {
                self.notes.push(format!(
                    "{failure}; it is tried again until it is known. Shown as a slave"
                ));
                false
            }
        }
    }

    fn plan(&mut self, places: &Places, is_master: bool) -> std::fmt::Result {
        let settings = &self.examined.settings;
        let role = if is_master { "master" } else { "slave" };
        let murder = match settings.murder {
            MurderKind::Standard => "standard",
            MurderKind::Replicated => "replicated",
            MurderKind::Unified => "unified",
        };
        self.line("role", format_args!("{role} of a {murder} murder"))?;
        self.line("servername", &settings.servername)?;
        if is_master {
            self.master(settings)?;
        } else {
            self.slave(settings, places)?;
        }
        let listen = places.listen.join(" ");
        self.line(
            "listens on",
            format_args!("{listen}, or on the sockets of Cyrus's master or systemd"),
        )?;
        self.login(settings, places)?;
        match &settings.tls {
            None => self.line("STARTTLS", "no")?,
            Some(files) => self.tls(files)?,
        }
        self.line("own data", places.data_dir.display())?;
        let path = places.mailboxes_db.as_deref();
        let path = path.map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        self.line("mailboxes.db", path)?;
        if rustix::process::geteuid().is_root() {
            self.notes.push(
                "read as root: whether the user that mupdate runs as may read these files is told only by that user"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn line(&mut self, what: &str, value: impl std::fmt::Display) -> std::fmt::Result {
        writeln!(self.plan, "{what:<14}{value}")
    }

    /// An option as it stands, with its place before it.
    fn quoted(&self, name: &str, value: &str) -> String {
        match self.examined.place(name) {
            Some(place) => format!("{place}: '{name}: {value}'"),
            None => format!("'{name}: {value}'"),
        }
    }

    fn master(&mut self, settings: &Settings) -> std::fmt::Result {
        if settings.murder == MurderKind::Unified {
            let mistake = self.quoted("mupdate_config", "unified");
            self.mistakes
                .push(format!("{mistake}: there is no master on a unified server"));
        }
        if settings.upstream.is_none() && self.examined.place("mupdate_config").is_some() {
            let option = self.place("mupdate_config");
            self.notes.push(format!(
                "{option}'mupdate_config' counts only where 'mupdate_server' is set, as with Cyrus"
            ));
        }
        self.line(
            "exports",
            match settings.export.mode {
                Some(ExportMode::BeforeOk) => "before OK",
                Some(ExportMode::AfterOk) => "after OK",
                Some(ExportMode::Off) => "never",
                None => "before OK under Cyrus's master, else never",
            },
        )
    }

    fn slave(&mut self, settings: &Settings, places: &Places) -> std::fmt::Result {
        let Some(upstream) = &settings.upstream else {
            let mistake = "no 'mupdate_server': a slave has nobody to follow; a master has -m";
            self.mistakes.push(mistake.to_owned());
            return Ok(());
        };
        match upstream.parse::<slave::Upstream>() {
            Ok(parsed) => {
                self.line("follows", &parsed)?;
                for option in &parsed.ignored {
                    let line = self.quoted("mupdate_server", upstream);
                    self.notes
                        .push(format!("{line}: '/{option}' has no effect"));
                }
            }
            Err(cause) => {
                let line = self.quoted("mupdate_server", upstream);
                self.mistakes.push(format!("{line} {cause}"));
            }
        }
        let client = &settings.client;
        match client.authname.as_ref().or(client.username.as_ref()) {
            Some(name) => self.line("logs in as", name)?,
            None if client.certificate.is_some() => self.line("logs in with", "its certificate")?,
            None => self.line("logs in with", "what libsasl2 finds, a Kerberos ticket say")?,
        }
        if let Err(cause) = client_login(settings, places) {
            self.mistakes.push(told(&cause));
        }
        self.client_tls(settings);
        Ok(())
    }

    fn client_tls(&mut self, settings: &Settings) {
        let client = &settings.client;
        if let Err(cause) = client_tls(settings) {
            let place = self.place("tls_client_cert");
            self.mistakes.push(format!("{place}{}", told(&cause)));
        }
        if let Some((certificate, _)) = &client.certificate {
            self.notes.extend(certificates::of_own(certificate));
        }
        match client.verification {
            ServerVerification::No => {}
            ServerVerification::Ca | ServerVerification::Full => {
                let authorities = AuthorityFiles {
                    file: client.ca_file.clone(),
                    directory: client.ca_dir.clone(),
                };
                self.notes
                    .extend(certificates::of_authorities(&authorities));
            }
        }
        if client.verification == ServerVerification::Full {
            self.notes.push(
                "'mupdate_tls_verify: full': a master's certificate with a common name only is refused; it needs a subjectAltName".to_owned(),
            );
        }
    }

    fn login(&mut self, settings: &Settings, places: &Places) -> std::fmt::Result {
        let admins = settings.admins.join(" ");
        let nobody = admins.is_empty();
        self.line("may log in", if nobody { "nobody" } else { &admins })?;
        if nobody {
            self.notes.push("no 'admins': nobody can log in".to_owned());
        }
        if !uses_libsasl(settings, places) {
            let remarks = self.examined.remarks_without_libsasl();
            self.notes.extend(remarks.iter().map(note));
        }
        let users = places.users_file.display();
        match offer(settings, places) {
            Err(failure) => self.mistakes.push(failure.to_string()),
            Ok(Offer::NoUsers) => {
                self.line("log-ins by", format_args!("users file {users}"))?;
                self.notes.push(format!(
                    "no users file yet: 'mupdatectl passwd --users {users} NAME' makes it"
                ));
            }
            Ok(Offer::Mechanisms { method, clear, tls }) => {
                match method {
                    LoginMethod::UsersFile => {
                        self.line("log-ins by", format_args!("users file {users}"))?;
                    }
                    LoginMethod::CyrusSasl => {
                        self.line("log-ins by", "libsasl2, as the 'sasl_' lines say")?;
                    }
                }
                self.line("mechanisms", shown(&clear))?;
                if settings.tls.is_some() {
                    self.line("with TLS", shown(&tls))?;
                }
            }
        }
        Ok(())
    }

    fn tls(&mut self, files: &TlsFiles) -> std::fmt::Result {
        self.line("STARTTLS", files.certificate.display())?;
        if let Err(failure) = load_tls(files) {
            let place = self.place("tls_server_cert");
            self.mistakes.push(format!("{place}{failure}"));
        }
        self.notes.extend(certificates::of_own(&files.certificate));
        let authorities = AuthorityFiles {
            file: files.client_ca_file.clone(),
            directory: files.client_ca_dir.clone(),
        };
        self.notes
            .extend(certificates::of_authorities(&authorities));
        Ok(())
    }

    /// `FILE line N: `, or nothing.
    fn place(&self, name: &str) -> String {
        let place = self.examined.place(name);
        place.map(|place| format!("{place}: ")).unwrap_or_default()
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.plan.as_bytes())?;
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        for mistake in &self.mistakes {
            writeln!(out, "MISTAKE: {mistake}")?;
        }
        let count = self.mistakes.len();
        if count == 0 {
            writeln!(out, "mupdate would start")
        } else {
            writeln!(out, "mupdate would not start: mistakes {count}")
        }
    }
}

fn shown(mechanisms: &[String]) -> String {
    if mechanisms.is_empty() {
        "none: nobody can log in".to_owned()
    } else {
        mechanisms.join(" ")
    }
}
