//! `mupdatectl demo`: a whole master to look at.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use client::{Client, Login, Options, Timeouts, Update, Updates};
use proto::{Acl, Location, MailboxName};
use rand::distr::{Alphanumeric, SampleString};
use transport::{Secret, users};

use super::remote::show;
use crate::config::Settings;
use crate::node::{Entrance, Node, Places};
use crate::telemetry;

const USER: &str = "demo";
const PASSWORD_CHARS: usize = 24;
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(700);
const PEOPLE: [&str; 5] = ["amy", "bob", "cat", "dan", "eve"];
const FOLDERS: [&str; 4] = ["", ".Drafts", ".Sent", ".Trash"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// End after the show instead of serving until ^C.
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    telemetry::start("warn");
    let dir = std::env::temp_dir().join(format!("mupdate-demo-{}", std::process::id()));
    fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
    let shown = play(args, &dir).await;
    fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    shown
}

async fn play(args: &Args, dir: &Path) -> anyhow::Result<()> {
    let password = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_CHARS);
    let master = start_master(args, dir, &password).await?;
    let address = *master
        .addresses
        .first()
        .context("no address to listen on")?;
    say(&format!(
        "A mupdate master listens on {address}. Its configuration, users and list are in {}.",
        dir.display()
    ))?;

    let options = || {
        let login = Login::password(USER, Secret::new(password.clone().into_bytes()));
        Options::new(login, Timeouts::each(TIMEOUT))
    };
    let mut backend = connect(address.port(), &options()).await?;
    fill(&mut backend).await?;
    let mailboxes = PEOPLE.len() * FOLDERS.len();
    say(&format!(
        "A backend has logged in and activated {mailboxes} mailboxes. Now a slave asks for UPDATE:\n"
    ))?;
    let mut slave = connect(address.port(), &options()).await?.update(&[]);
    receive_dump(&mut slave).await?;
    say("\nThat was the dump. The backend goes on, and each change arrives as it is committed:\n")?;
    live_changes(&mut backend, &mut slave).await?;
    backend.logout().await?;

    if !args.once {
        say(&instructions(&address.to_string(), dir, &password))?;
        tokio::signal::ctrl_c().await?;
    }
    drop(slave);
    master.stop().await;
    Ok(())
}

async fn start_master(args: &Args, dir: &Path, password: &str) -> anyhow::Result<Node> {
    let config = dir.join("imapd.conf");
    let users_file = dir.join("users");
    let text = format!(
        "configdirectory: {}\nservername: demo.invalid\nadmins: {USER}\n",
        dir.display()
    );
    fs::write(&config, text)?;
    fs::write(dir.join("password"), password)?;
    users::set_password(&users_file, USER, password.as_bytes())?;
    let settings = Settings::read(&config, "mupdate")?;
    let places = Places {
        data_dir: dir.join("mupdate"),
        users_file,
        mailboxes_db: None,
        kick_socket: Some(dir.join("socket/mupdate.target")),
        listen: vec![format!("127.0.0.1:{}", args.port)],
    };
    Node::start_master(&settings, &places, Entrance::default())
        .await
        .map_err(|failure| anyhow!(failure.to_string()))
}

async fn connect(port: u16, options: &Options) -> anyhow::Result<Client> {
    Ok(Client::connect("127.0.0.1", port, options).await?)
}

async fn fill(backend: &mut Client) -> anyhow::Result<()> {
    for (number, person) in PEOPLE.iter().enumerate() {
        let location = location(&format!("backend{}.demo.invalid!default", number % 2 + 1))?;
        for folder in FOLDERS {
            let acl = acl(&format!("{person}\tlrswipkxtecda\t"))?;
            backend
                .activate(&name(&format!("user.{person}{folder}"))?, &location, &acl)
                .await?;
        }
    }
    Ok(())
}

async fn receive_dump(slave: &mut Updates) -> anyhow::Result<()> {
    loop {
        match slave.next().await? {
            Update::DumpComplete => return Ok(()),
            update => show(&update)?,
        }
    }
}

/// What happens in a murder all day: a new folder, an ACL, a move to another backend, a removal.
async fn live_changes(backend: &mut Client, slave: &mut Updates) -> anyhow::Result<()> {
    let (first, second) = (
        location("backend1.demo.invalid!default")?,
        location("backend2.demo.invalid!default")?,
    );
    let private = acl("amy\tlrswipkxtecda\t")?;
    let shared = acl("amy\tlrswipkxtecda\tbob\tlrs\t")?;
    let (projects, trash) = (name("user.amy.Projects")?, name("user.eve.Trash")?);
    backend.reserve(&projects, &first).await?;
    expect(slave).await?;
    backend.activate(&projects, &first, &private).await?;
    expect(slave).await?;
    backend.activate(&projects, &first, &shared).await?;
    expect(slave).await?;
    backend.deactivate(&projects, &first).await?;
    expect(slave).await?;
    backend.activate(&projects, &second, &shared).await?;
    expect(slave).await?;
    backend.delete(&trash).await?;
    expect(slave).await
}

async fn expect(slave: &mut Updates) -> anyhow::Result<()> {
    show(
        &tokio::time::timeout(TIMEOUT, slave.next())
            .await
            .context("the change did not arrive")??,
    )?;
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

fn instructions(address: &str, dir: &Path, password: &str) -> String {
    let dir = dir.display();
    format!(
        "
The master goes on until ^C. To talk to it from another terminal:

  mupdatectl --server {address} --user {USER} --password-file {dir}/password watch
  mupdatectl --server {address} --user {USER} --password-file {dir}/password find user.amy
  mupdatectl --server {address} --user {USER} --password-file {dir}/password delete user.bob.Trash
  mupdatectl status -C {dir}/imapd.conf
  mupdatetest -u {USER} -a {USER} -w {password} -p {port} 127.0.0.1      (Debian: cyrus-clients)",
        port = address.rsplit(':').next().unwrap_or_default(),
    )
}

fn say(what: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{what}")
}

fn name(text: &str) -> anyhow::Result<MailboxName> {
    Ok(MailboxName::try_from(text.as_bytes())?)
}

fn location(text: &str) -> anyhow::Result<Location> {
    Ok(Location::try_from(text.as_bytes())?)
}

fn acl(text: &str) -> anyhow::Result<Acl> {
    Ok(Acl::try_from(text.as_bytes())?)
}
