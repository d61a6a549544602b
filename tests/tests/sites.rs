//! Whole sites, with the cyrus.conf that such hosts have: a frontend that is the master too, unified servers, replicated
//! backends.

use anyhow::{Context as _, Result, ensure};
use mupdate_tests::cyrus::{ADMIN, Backend, PASSWORD, STRANGER};
use mupdate_tests::frontend::{Database, Imap};
use mupdate_tests::listing::{Known, Listing};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::ports::free_port;
use mupdate_tests::site::{Host, Programs};
use mupdate_tests::syslog::Syslog;
use mupdate_tests::wait::wait_for;
use mupdate_tests::wire::Wire;

#[test]
fn a_frontend_that_is_the_master() -> Result<()> {
    let syslog = Syslog::catch()?;
    let (own, mupdate) = (Programs::make()?, free_port()?);
    let front = Host::frontend(&own, mupdate)?;
    let (one, two) = (Host::backend(mupdate)?, Host::backend(mupdate)?);
    let mut at_one = Imap::logged_in(one.port, ADMIN, PASSWORD)?;
    at_one.ok(&format!("CREATE user/{STRANGER}"))?;
    at_one.ok(&format!("CREATE user/{STRANGER}/a"))?;
    at_one.ok(&format!("SETACL user/{STRANGER}/a {ADMIN} lrswipkxtecda"))?;
    deliver(&one)?;
    at_one.ok("CREATE user/gone")?;
    at_one.ok(&format!("SETACL user/gone {ADMIN} lrswipkxtecda"))?;
    Imap::logged_in(two.port, ADMIN, PASSWORD)?.ok("CREATE user/other")?;

    let mut mail = Imap::logged_in(front.port, STRANGER, PASSWORD)?;
    mail.ok("SELECT INBOX")?;
    mail.ok("SELECT INBOX/a")?;
    at_one.ok(&format!("RENAME user/{STRANGER}/a user/{STRANGER}/b"))?;
    mail.ok("SELECT INBOX/b")?;
    ensure!(
        mail.command("SELECT INBOX/a")?.word == "NO",
        "the old name is still there"
    );
    at_one.ok("DELETE user/gone")?;
    let accepted = front.recipients(&[STRANGER, "other", "gone"])?;
    ensure!(accepted == [true, true, false], "lmtpd says {accepted:?}");
    // A connection of before would be told of the move by closing.
    drop(mail);
    for (from, to) in [(&one, &two), (&two, &one), (&one, &two)] {
        move_user(from, to, &front, mupdate)?;
    }

    let mut wire = Wire::logged_in(mupdate, ADMIN, PASSWORD)?;
    for backend in [&one, &two] {
        backend.node.tool("ctl_mboxlist", &["-m"], "")?;
        let said = backend.node.tool("ctl_mboxlist", &["-m", "-w"], "")?;
        ensure!(
            said.is_empty(),
            "after a push {} says {said}",
            backend.name()
        );
    }
    let listed = wire.listing("LIST")?;
    ensure!(
        listed
            .names()
            .iter()
            .any(|name| name.starts_with("DELETED.user.gone.")),
        "no delayed deletion: {:?}",
        listed.names()
    );
    ensure!(
        Database(&front.node).listing()? == sorted(listed.clone()),
        "mailboxes.db of the frontend is another list: {:?} instead of {listed:?}",
        Database(&front.node).listing()?
    );
    drop(wire);
    let hosts = [front, one, two];
    let names: Vec<String> = hosts.iter().map(Host::syslog_name).collect();
    for host in hosts {
        host.stop()?;
    }
    healthy(syslog.as_ref(), &names)
}

/// XFER of the user: both hosts, the master and the frontend's file agree on the new place, and mail is there.
fn move_user(from: &Host, to: &Host, front: &Host, mupdate: u16) -> Result<()> {
    let ids = user_ids(from)?;
    ensure!(ids.len() == 2, "{ids:?}");
    from.transfer(STRANGER, to)?;
    ensure!(user_ids(to)? == ids, "other unique ids: {:?}", to.ids()?);
    ensure!(
        user_ids(from)?.is_empty(),
        "still at home: {:?}",
        from.ids()?
    );
    let listed = Wire::logged_in(mupdate, ADMIN, PASSWORD)?.listing("LIST")?;
    check_place(&listed, ids.keys(), to)?;
    check_place(&Database(&front.node).listing()?, ids.keys(), to)?;
    read_mail(front)
}

/// CREATE on either, XFER both ways, restarts: what a unified server has of its own stays its own.
#[test]
fn a_unified_pair() -> Result<()> {
    let mut master = Master::start(Program::Ours, &[])?;
    let own = Programs::make()?;
    let one = Host::unified(&own, master.port())?;
    let two = Host::unified(&own, master.port())?;
    let mut at_one = Imap::logged_in(one.port, ADMIN, PASSWORD)?;
    let mut at_two = Imap::logged_in(two.port, ADMIN, PASSWORD)?;
    at_one.ok(&format!("CREATE {STRANGER_BOX}"))?;
    at_one.ok(&format!("CREATE {STRANGER_BOX}/b"))?;
    at_one.ok("CREATE user/stays")?;
    at_two.ok("CREATE user/other")?;
    deliver(&one)?;
    let ids = user_ids(&one)?;
    ensure!(ids.len() == 2, "{ids:?}");
    for (host, there) in [(&one, "user/other"), (&two, STRANGER_BOX)] {
        wait_for("the other's mailbox", || {
            let listed = Imap::logged_in(host.port, ADMIN, PASSWORD)?.list()?;
            Ok(listed.iter().any(|name| name == there).then_some(()))
        })?;
    }
    drop((at_one, at_two));
    // With the record of the slave in its way, imapd takes nothing in; and nothing is changed.
    ensure!(one.transfer(STRANGER, &two).is_err(), "XFER works as it is");
    check_unified(&ids, &two, &one)?;
    let (mut home, mut away) = (one, two);
    for round in 0..4 {
        away = home.transfer_unified(STRANGER, away)?;
        check_place(&master.logged_in()?.listing("LIST")?, ids.keys(), &away)?;
        check_unified(&ids, &home, &away).with_context(|| format!("after transfer {round}"))?;
        let settled = (home.local()?, away.local()?);
        (home, away) = (home.restart()?, away.restart()?);
        check_unified(&ids, &home, &away).with_context(|| format!("after restart {round}"))?;
        let now = (home.local()?, away.local()?);
        ensure!(
            now == settled,
            "round {round}: a restart has made {now:?} of {settled:?}"
        );
        (home, away) = (away, home);
    }
    home.stop()?;
    away.stop()?;
    master.stop()
}

/// Both have the same mailboxes, and push with `-m -a`.
#[test]
fn a_replicated_pair() -> Result<()> {
    let options = [
        ("mupdate_server", "127.0.0.1"),
        ("mupdate_config", "replicated"),
    ];
    let mut master = Master::start(Program::Ours, &options)?;
    let shared = ["user.amy", "user.amy.Drafts", "user.amy-x", "user.bob"];
    let replicated = [("mupdate_config", "replicated")];
    let one = Backend::make_with(master.port(), "be1.murder.test", &shared, &replicated)?;
    let two = Backend::make_with(master.port(), "be2.murder.test", &shared, &replicated)?;
    for backend in [&one, &two, &one, &two] {
        backend.override_master()?;
        for backend in [&one, &two] {
            backend.check_own(&shared)?;
        }
        let names = master.logged_in()?.listing("LIST")?;
        ensure!(names.names().len() == shared.len(), "{:?}", names.names());
    }
    master.stop()
}

/// The user's mailboxes live on `to`, with these ids, and can be read through either host.
fn check_unified(ids: &Ids, from: &Host, to: &Host) -> Result<()> {
    ensure!(user_ids(to)? == *ids, "other unique ids: {:?}", to.ids()?);
    ensure!(
        user_ids(from)?.is_empty(),
        "still at home: {:?}",
        from.ids()?
    );
    let records = to.local()?;
    for id in ids.values() {
        let record = records.get(&format!("I{id}"));
        ensure!(
            record.is_some_and(|record| record.contains("plainuser")),
            "no I record of {id}: {records:?}"
        );
    }
    for host in [from, to] {
        wait_for("mail", || read_mail(host).map(Some))?;
    }
    Ok(())
}

/// A message in each mailbox of the user.
fn deliver(host: &Host) -> Result<()> {
    let mut mail = Imap::logged_in(host.port, STRANGER, PASSWORD)?;
    for name in mail.list()? {
        mail.ok(&format!("APPEND {name} {{9+}}\r\nA: b\r\n\r\nc"))?;
    }
    Ok(())
}

/// Each mailbox of the user has its message.
fn read_mail(host: &Host) -> Result<()> {
    let mut mail = Imap::logged_in(host.port, STRANGER, PASSWORD)?;
    let listed = mail.list()?;
    ensure!(listed == ["INBOX", "INBOX/b"], "{listed:?}");
    for name in listed {
        let said = mail.ok(&format!("SELECT {name}"))?;
        ensure!(
            said.iter().any(|line| line == "* 1 EXISTS"),
            "{name}: {said:?}"
        );
        let said = mail.ok("FETCH 1 BODY[TEXT]")?;
        ensure!(
            said.iter().any(|line| line.ends_with("BODY[TEXT] c)")),
            "{name}: {said:?}"
        );
    }
    Ok(())
}

/// All these mailboxes are active on this host.
fn check_place<'n>(
    listing: &Listing,
    mut names: impl Iterator<Item = &'n String>,
    host: &Host,
) -> Result<()> {
    let place = format!("{}!default", host.name());
    names.try_for_each(|name| {
        let known = listing.0.get(name);
        let right = matches!(known, Some(Known::Active(at, _)) if *at == place);
        ensure!(right, "{name} is {known:?}, not at {place}");
        Ok(())
    })
}

/// Unique ids of the user's mailboxes that live on a host.
fn user_ids(host: &Host) -> Result<Ids> {
    let mut ids = host.ids()?;
    ids.retain(|name, _| name.starts_with("user.plainuser"));
    Ok(ids)
}

/// Nothing from our programs of these hosts that is an error, and no line with the word from Cyrus's.
fn healthy(syslog: Option<&Syslog>, hosts: &[String]) -> Result<()> {
    let mut lines = syslog.map(Syslog::lines).unwrap_or_default();
    lines.retain(|line| hosts.iter().any(|host| line.contains(host)));
    ensure!(syslog.is_none() || !lines.is_empty(), "nothing in syslog");
    lines.retain(|line| line.contains("ERROR") || (line.contains("/mupdate[") && is_error(line)));
    ensure!(lines.is_empty(), "in syslog:\n{}", lines.join("\n"));
    Ok(())
}

type Ids = std::collections::BTreeMap<String, String>;

const STRANGER_BOX: &str = "user/plainuser";

/// With the identifiers of each ACL in byte order, as [`Database::listing`] has them.
fn sorted(listing: Listing) -> Listing {
    let sorted = |known| match known {
        Known::Active(at, acl) => {
            let words: Vec<&str> = acl.split_terminator('\t').collect();
            let mut pairs: Vec<String> = words
                .chunks(2)
                .map(|pair| format!("{}\t", pair.join("\t")))
                .collect();
            pairs.sort_unstable();
            Known::Active(at, pairs.concat())
        }
        reserved @ Known::Reserved(_) => reserved,
    };
    let mailboxes = listing.0.into_iter();
    mailboxes
        .map(|(name, known)| (name, sorted(known)))
        .collect()
}

/// A priority of `err` or worse: `<facility * 8 + level>`.
fn is_error(line: &str) -> bool {
    let number = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    number.is_some_and(|(number, _)| number.parse().is_ok_and(|number: u32| number % 8 <= 3))
}
