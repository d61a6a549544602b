//! What other programs rely on: options, exit statuses, files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{ADMIN, PASSWORD};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::process::Process;
use mupdate_tests::programs::{directory, run};
use mupdate_tests::scratch::Scratch;
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

/// `mupdatectl` as a client of a running master.
struct Client {
    server: String,
    password: String,
    scratch: Scratch,
}

impl Client {
    fn of(master: &Master) -> Result<Self> {
        let scratch = Scratch::new()?;
        let password = scratch.join("password");
        fs::write(&password, format!("{PASSWORD}\n"))?;
        let server = format!("127.0.0.1:{}", master.port());
        Ok(Self {
            server,
            password: password.display().to_string(),
            scratch,
        })
    }

    fn options(&self) -> [&str; 6] {
        [
            "--server",
            &self.server,
            "--user",
            ADMIN,
            "--password-file",
            &self.password,
        ]
    }

    fn run(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let all = [self.options().as_slice(), arguments].concat();
        let (status, shown, complaint) = run("mupdatectl", &all, "")?;
        Ok((status, format!("{shown}{complaint}")))
    }

    fn done(&self, arguments: &[&str]) -> Result<String> {
        let (status, shown) = self.run(arguments)?;
        ensure!(
            status == Some(0),
            "{arguments:?} ended with {status:?}: {shown}"
        );
        Ok(shown)
    }
}

#[test]
fn edits_and_questions() -> Result<()> {
    let master = Master::start(Program::Ours, &[])?;
    let client = Client::of(&master)?;
    client.done(&["activate", "user.amy", "be1!default", "amy=lrs", "anyone=l"])?;
    client.done(&["reserve", "user.bob", "be1!default"])?;
    let (status, shown) = client.run(&["reserve", "user.bob", "be2!default"])?;
    ensure!(
        status == Some(1) && shown.contains("mailbox already exists"),
        "{status:?} {shown}"
    );
    let (status, _) = client.run(&["find", "user.nobody"])?;
    ensure!(status == Some(1), "find of nothing ended with {status:?}");
    ensure!(
        client.done(&["find", "user.amy"])?.contains("be1!default"),
        "find shows no location"
    );
    let listed = client.done(&["list", "be1!"])?;
    ensure!(
        listed.contains("user.amy") && listed.contains("user.bob"),
        "list shows {listed}"
    );
    ensure!(
        !client.done(&["list", "be2!"])?.contains("user."),
        "another host's list is not empty"
    );

    // What it says reaches the list as it was meant.
    let mut wire = master.logged_in()?;
    let (data, _) = wire.data("FIND \"user.amy\"")?;
    let arguments = &data.first().context("nothing found")?.arguments;
    ensure!(
        *arguments
            == [
                b"user.amy".as_slice(),
                b"be1!default",
                b"amy\tlrs\tanyone\tl\t"
            ],
        "{arguments:?}"
    );
    client.done(&["deactivate", "user.amy", "be1!default"])?;
    client.done(&["delete", "user.bob"])?;
    let (data, _) = wire.data("LIST")?;
    ensure!(
        data.len() == 1 && data.iter().all(|line| line.word == "RESERVE"),
        "{data:?}"
    );
    Ok(())
}

#[test]
fn watch_shows_changes_as_they_come() -> Result<()> {
    let master = Master::start(Program::Ours, &[])?;
    let client = Client::of(&master)?;
    client.done(&["activate", "user.amy", "be1!default"])?;
    let mut command = Command::new(directory()?.join("mupdatectl"));
    command.args(client.options()).arg("watch");
    let log = client.scratch.join("watch.txt");
    let watch = Process::start(command, &log)?;
    let shows = |text: &str| {
        wait_for(text, || {
            Ok(fs::read_to_string(&log)?.contains(text).then_some(()))
        })
    };
    shows("user.amy")?;
    client.done(&["activate", "user.bob", "be2!default"])?;
    shows("user.bob")?;
    watch.kill()
}

/// A wrong password, and nobody there.
#[test]
fn failures_have_their_status() -> Result<()> {
    let master = Master::start(Program::Ours, &[("failedloginpause", "0s")])?;
    let client = Client::of(&master)?;
    fs::write(&client.password, "wrong")?;
    let (status, shown) = client.run(&["find", "user.amy"])?;
    ensure!(
        status == Some(1),
        "a wrong password ended with {status:?}: {shown}"
    );
    drop(master);
    let (status, shown) = client.run(&["find", "user.amy"])?;
    ensure!(
        status == Some(1),
        "no server ended with {status:?}: {shown}"
    );
    let (status, shown) = client.run(&["nonsense"])?;
    ensure!(
        status == Some(64),
        "nonsense ended with {status:?}: {shown}"
    );
    Ok(())
}

#[test]
fn passwords_are_kept_from_others() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[("failedloginpause", "0s")])?;
    let users = master.node().directory().join("users");
    let mode = |path: &std::path::Path| {
        Ok::<_, anyhow::Error>(fs::metadata(path)?.permissions().mode() & 0o777)
    };
    ensure!(mode(&users)? == 0o600, "mode {:o}", mode(&users)?);
    ensure!(
        !fs::read_to_string(&users)?.contains(PASSWORD),
        "the password itself is in the file"
    );

    // A change counts at once, with no restart, and a remembered log-in does not outlive it.
    Wire::logged_in(master.port(), ADMIN, PASSWORD)?;
    let path = users.display().to_string();
    master.control(&["passwd", "--users", &path, ADMIN], "another\n")?;
    ensure!(
        mode(&users)? == 0o600,
        "mode {:o} after a change",
        mode(&users)?
    );
    wait_for("the new password", || {
        Wire::logged_in(master.port(), ADMIN, "another").map(Some)
    })?;
    ensure!(
        Wire::logged_in(master.port(), ADMIN, PASSWORD).is_err(),
        "the old password still works"
    );
    master.stop()
}

/// Neither a master nor told whom to follow.
#[test]
fn a_role_is_needed() -> Result<()> {
    let master = Master::make(Program::Ours, &[])?;
    let conf = master.node().conf().display().to_string();
    let (status, _, complaint) = run("mupdate", &["-C", &conf], "")?;
    let named = complaint.contains("mupdate_server") && complaint.contains("-m");
    ensure!(
        status == Some(78) && named,
        "without a role it ended with {status:?}: {complaint}"
    );
    let (status, _, complaint) = run("mupdate", &["-m", "--nonsense"], "")?;
    ensure!(
        status == Some(64),
        "a wrong option ended with {status:?}: {complaint}"
    );
    Ok(())
}

#[test]
fn a_bad_line_is_named() -> Result<()> {
    let scratch = Scratch::new()?;
    let conf = scratch.join("imapd.conf").display().to_string();
    fs::write(&conf, "configdirectory: /nowhere\n# fine\nservername x\n")?;
    let (status, _, complaint) = run("mupdate", &["-m", "-C", &conf], "")?;
    ensure!(
        status == Some(78),
        "a bad line ended with {status:?}: {complaint}"
    );
    ensure!(
        complaint.contains(&format!("{conf}:3")) || complaint.contains("line 3"),
        "it says {complaint}"
    );
    let (status, _, complaint) = run("mupdate", &["-m", "-C", "/nowhere/imapd.conf"], "")?;
    ensure!(
        status == Some(78) && complaint.contains("/nowhere/imapd.conf"),
        "{status:?} {complaint}"
    );
    Ok(())
}

/// Two masters on one list would each know half of it.
#[test]
fn one_process_has_the_data() -> Result<()> {
    let master = Master::start(Program::Ours, &[])?;
    let conf = master.node().conf().display().to_string();
    let port = format!("127.0.0.1:{}", mupdate_tests::ports::free_port()?);
    let arguments = [
        "-m",
        "-C",
        &conf,
        "--listen",
        &port,
        "--kick-socket",
        "none",
    ];
    let (status, _, complaint) = run("mupdate", &arguments, "")?;
    ensure!(
        status == Some(74),
        "a second master ended with {status:?}: {complaint}"
    );
    master.logged_in()?.ok("NOOP")
}

/// SIGTERM in the middle of a dump: a slave must not take any word for its end.
#[test]
fn a_stop_cuts_a_dump_without_a_word() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    let mut backend = master.logged_in()?;
    let acl = "x".repeat(20_000);
    for number in 0..2000 {
        backend.ok(&format!(
            "ACTIVATE \"user.f{number}\" \"be1!p1\" \"{acl}\tlrs\t\""
        ))?;
    }
    let mut slave = master.logged_in()?;
    slave.send(b"U1 UPDATE\r\n")?;
    // The dump has begun, and is longer than what fits on the way.
    slave.line()?.context("closed instead of a dump")?;
    master.stop()?;
    let rest = slave.rest()?;
    for word in ["U1 OK", "U1 NO", "U1 BAD", "* BYE", "* OK"] {
        let found = rest
            .windows(word.len())
            .any(|window| window == word.as_bytes());
        ensure!(!found, "the dump was cut with {word}");
    }
    // And a session that does not stream is told.
    ensure!(
        backend.rest()?.starts_with(b"* BYE"),
        "no BYE for a backend"
    );
    Ok(())
}

/// All mistakes at once, what has no effect, and the status of a start that would fail.
#[test]
fn check_config_names_every_mistake() -> Result<()> {
    let scratch = Scratch::new()?;
    let conf = scratch.join("imapd.conf");
    let good = format!("configdirectory: {}\nadmins: a\n", scratch.path().display());
    fs::write(&conf, &good)?;
    let path = conf.display().to_string();
    let (status, shown, _) = run("mupdate", &["--check-config", "-m", "-C", &path], "")?;
    ensure!(
        status == Some(0) && shown.contains("role          master of a standard murder"),
        "{status:?} {shown}"
    );
    let bad = "nonsense\nmupdate_strict: maybe\nmupdate_workers_max: 5\ntls_versions: tls1_0 tls1_2\n\
               mupdate_login: users-file\nsasl_sasldb_path: /x\n";
    fs::write(&conf, format!("{good}{bad}"))?;
    let (status, shown, _) = run("mupdate", &["--check-config", "-m", "-C", &path], "")?;
    ensure!(status == Some(78), "{status:?} {shown}");
    for wanted in [
        "line 3: not of the form 'option: value'",
        "line 4: 'mupdate_strict: maybe' is neither yes nor no",
        "line 5: 'mupdate_workers_max' has no effect",
        "line 6: 'tls_versions' tls1_0: refused",
        "line 8: 'sasl_sasldb_path' has no effect: only libsasl2 reads it",
    ] {
        ensure!(shown.contains(wanted), "not said: {wanted}\n{shown}");
    }
    fs::write(&conf, format!("{good}mupdate_server: /run/mupdate\n"))?;
    let (status, shown, _) = run("mupdate", &["--check-config", "-C", &path], "")?;
    ensure!(
        status == Some(78)
            && shown.contains("'mupdate_server: /run/mupdate' is a path, not a host"),
        "{status:?} {shown}"
    );
    Ok(())
}

/// What rustls or a verifying peer will not have is said before anybody connects; a certificate that can't be used at all is
/// a mistake with its line.
#[test]
fn check_config_looks_at_certificates() -> Result<()> {
    let scratch = Scratch::new()?;
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let done = command
            .args(arguments.split(' '))
            .current_dir(scratch.path())
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "openssl {arguments}: {said}");
        Ok(())
    };
    let make = "req -x509 -nodes -days 9 -subj /CN=mupdate.test";
    openssl(&format!(
        "{make} -newkey rsa:1024 -keyout short.key -out short.pem"
    ))?;
    openssl(&format!(
        "{make} -newkey rsa:2048 -keyout ca.key -out ca.pem"
    ))?;
    openssl("req -nodes -subj /CN=fe.test -newkey rsa:2048 -keyout old.key -out old.csr")?;
    // Without extensions this is X.509 version 1.
    openssl(
        "x509 -req -sha1 -in old.csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 9 -out old.pem",
    )?;

    let conf = scratch.join("imapd.conf");
    let below = |name: &str| scratch.join(name).display().to_string();
    let check = |certificate: &str| {
        let lines = [
            format!("configdirectory: {}", scratch.path().display()),
            "admins: a".to_owned(),
            format!("tls_server_cert: {}", below(&format!("{certificate}.pem"))),
            format!("tls_server_key: {}", below(&format!("{certificate}.key"))),
            format!("tls_client_ca_file: {}", below("short.pem")),
            "tls_server_dhparam: /etc/dh.pem".to_owned(),
        ];
        fs::write(&conf, lines.join("\n"))?;
        let path = conf.display().to_string();
        run("mupdate", &["--check-config", "-m", "-C", &path], "")
    };
    let (status, shown, _) = check("old")?;
    ensure!(
        status == Some(0),
        "a certificate of version 1 is refused: {shown}"
    );
    for wanted in [
        "old.pem is signed with SHA-1",
        "old.pem is of X.509 version 1",
        "old.pem has a common name but no subjectAltName",
        "short.pem has an RSA key of 1024 bits; rustls takes none below 2048: whoever it vouches for",
        "line 6: 'tls_server_dhparam' has no effect: there is no DHE",
    ] {
        ensure!(shown.contains(wanted), "not said: {wanted}\n{shown}");
    }
    let (status, shown, _) = check("short")?;
    ensure!(status == Some(78), "{status:?} {shown}");
    ensure!(
        shown.contains("imapd.conf line 3: certificate")
            && shown.contains("has an RSA key of 1024 bits"),
        "{shown}"
    );
    Ok(())
}

/// Lines that Cyrus's program takes, and that hosts have.
#[test]
fn check_config_takes_what_cyrus_takes() -> Result<()> {
    let scratch = Scratch::new()?;
    let conf = scratch.join("imapd.conf");
    let more = scratch.join("more.conf");
    fs::write(&more, "mupdate_admins: be1 \\\n  be2\n")?;
    let lines = [
        format!("configdirectory: {}", scratch.path().display()),
        "mboxlist_db_path: {configdirectory}/db/mailboxes.db".to_owned(),
        "mboxlist_db: twoskip".to_owned(),
        "admins: cyrus".to_owned(),
        format!("@include: {}", more.display()),
        "allowplaintext: yes  # inside only".to_owned(),
        "popminpoll: 1".to_owned(),
        "mupdate_server: mupdate.test/noauth".to_owned(),
        "mupdate_authname: fe".to_owned(),
        "mupdate_password: secret".to_owned(),
        "tls_client_cert: disabled".to_owned(),
    ];
    fs::write(&conf, lines.join("\n"))?;
    let path = conf.display().to_string();
    let (status, shown, _) = run("mupdate", &["--check-config", "-C", &path], "")?;
    ensure!(status == Some(0), "{status:?} {shown}");
    let database = format!("mailboxes.db  {}/db/mailboxes.db", scratch.path().display());
    for wanted in [
        "follows       mupdate.test",
        "may log in    be1 be2\n",
        &database,
    ] {
        ensure!(shown.contains(wanted), "no {wanted} in\n{shown}");
    }
    let notes: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("note: /"))
        .collect();
    ensure!(
        notes.len() == 1
            && notes
                .iter()
                .all(|note| note
                    .contains("line 8: 'mupdate_server: mupdate.test/noauth': '/noauth'")),
        "{notes:#?}"
    );
    Ok(())
}
