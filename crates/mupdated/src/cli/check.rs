//! `mupdate --check-config`: what an imapd.conf would have this program do, and what is wrong with it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use transport::tls::ServerVerification;
use x509_parser::pem::Pem;

use super::mupdate::Args;
use crate::config::{Examined, ExportMode, MurderKind, Settings, SettingsError, TlsFiles};
use crate::daemon::is_master_here;
use crate::failure::Status;
use crate::inherited_fds::Inherited;
use crate::node::load_tls;
use crate::service::Starter;

/// What there is to say: good, doubtful and wrong.
#[derive(Default)]
struct Report {
    plan: String,
    warnings: Vec<String>,
    mistakes: Vec<String>,
}

/// Prints the report; ends with 0, or with 78 if the program would not start.
pub(crate) async fn run(args: &Args, starter: &Starter, inherited: &Inherited) -> ExitCode {
    let Examined {
        settings,
        mistakes,
        remarks,
    } = Settings::examine(&args.config, &starter.service);
    let mut report = Report {
        mistakes: mistakes.iter().map(SettingsError::to_string).collect(),
        ..Report::default()
    };
    for remark in remarks {
        let line = format!("{}: '{}' {}", remark.place, remark.name, remark.text);
        report.warnings.push(line);
    }
    let is_master =
        args.role.master || (args.role.auto && is_master_here(&settings).await.unwrap_or(false));
    if report.plan(args, &settings, is_master, inherited).is_err() || report.print().is_err() {
        return ExitCode::FAILURE;
    }
    if report.mistakes.is_empty() {
        ExitCode::SUCCESS
    } else {
        Status::Config.exit_code()
    }
}

impl Report {
    fn plan(
        &mut self,
        args: &Args,
        settings: &Settings,
        is_master: bool,
        inherited: &Inherited,
    ) -> std::fmt::Result {
        let places = args.places(settings, inherited);
        let role = if is_master { "master" } else { "slave" };
        let murder = match settings.murder {
            MurderKind::Standard => "standard",
            MurderKind::Replicated => "replicated",
            MurderKind::Unified => "unified",
        };
        writeln!(self.plan, "role          {role} of a {murder} murder")?;
        writeln!(self.plan, "servername    {}", settings.servername)?;
        let admins = settings.admins.join(" ");
        writeln!(
            self.plan,
            "may log in    {}",
            if admins.is_empty() { "nobody" } else { &admins }
        )?;
        writeln!(self.plan, "users         {}", places.users_file.display())?;
        writeln!(self.plan, "own data      {}", places.data_dir.display())?;
        let listen = places.listen.join(" ");
        writeln!(
            self.plan,
            "listens on    {listen}, or on the sockets of Cyrus's master or systemd"
        )?;
        if settings.admins.is_empty() {
            self.warnings
                .push("no 'admins': nobody can log in".to_owned());
        }
        if is_master {
            self.master(settings)?;
        } else {
            self.slave(settings)?;
        }
        let path = places.mailboxes_db.as_deref();
        let path = path.map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        writeln!(self.plan, "mailboxes.db  {path}")?;
        match &settings.tls {
            None => writeln!(self.plan, "STARTTLS      no"),
            Some(files) => self.tls(files),
        }
    }

    fn master(&mut self, settings: &Settings) -> std::fmt::Result {
        if settings.murder == MurderKind::Unified {
            let mistake = "'mupdate_config: unified': there is no master on a unified server";
            self.mistakes.push(mistake.to_owned());
        }
        let exports = match settings.export.mode {
            Some(ExportMode::BeforeOk) => "before OK",
            Some(ExportMode::AfterOk) => "after OK",
            Some(ExportMode::Off) => "never",
            None => "before OK under Cyrus's master, else never",
        };
        writeln!(self.plan, "exports       {exports}")
    }

    fn slave(&mut self, settings: &Settings) -> std::fmt::Result {
        let Some(upstream) = &settings.upstream else {
            let mistake = "no 'mupdate_server': a slave has nobody to follow; a master has -m";
            self.mistakes.push(mistake.to_owned());
            return Ok(());
        };
        match upstream.parse::<slave::Upstream>() {
            Ok(parsed) => writeln!(self.plan, "follows       {parsed}")?,
            Err(cause) => self
                .mistakes
                .push(format!("'mupdate_server: {upstream}' {cause}")),
        }
        let client = &settings.client;
        let name = client.authname.as_ref().or(client.username.as_ref());
        match name {
            Some(name) => writeln!(self.plan, "logs in as    {name}")?,
            None if client.certificate.is_some() => {
                writeln!(self.plan, "logs in with  its certificate")?;
            }
            None => self.mistakes.push(
                "nobody to log in as: set 'mupdate_authname' and 'mupdate_password'".to_owned(),
            ),
        }
        if client.verification == ServerVerification::Full {
            self.warnings.push(
                "'mupdate_tls_verify: full': a master's certificate with a common name only is refused; it needs a subjectAltName".to_owned(),
            );
        }
        Ok(())
    }

    fn tls(&mut self, files: &TlsFiles) -> std::fmt::Result {
        writeln!(self.plan, "STARTTLS      {}", files.certificate.display())?;
        if let Err(failure) = load_tls(files) {
            self.mistakes.push(failure.to_string());
        }
        if common_name_only(&files.certificate) {
            self.warnings.push(format!(
                "{}: has a common name but no subjectAltName: peers on rustls that verify names refuse it, Cyrus's do not",
                files.certificate.display()
            ));
        }
        Ok(())
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.plan.as_bytes())?;
        for warning in &self.warnings {
            writeln!(out, "note: {warning}")?;
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

/// Whether the first certificate of a file names no host but in its subject.
fn common_name_only(file: &Path) -> bool {
    let Ok(octets) = fs::read(file) else {
        return false;
    };
    let first = Pem::iter_from_buffer(&octets)
        .filter_map(Result::ok)
        .find(|block| block.label == "CERTIFICATE");
    let Some(block) = first else {
        return false;
    };
    let Ok(certificate) = block.parse_x509() else {
        return false;
    };
    matches!(certificate.subject_alternative_name(), Ok(None))
}
