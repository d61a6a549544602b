//! What Cyrus's tools and administrators do to the file under a running exporter.

#![cfg(test)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::KeyStyle;
use cyrusdb::twoskip::{Database, Options};
use exporter::{Exporter, Health, Misfit, StyleSetting};
use support::{PATIENCE, Site, activate, many, reserve};

async fn health_becomes(exporter: &Exporter, wanted: impl Fn(&Health) -> bool) -> Health {
    let mut health = exporter.health();
    let found = tokio::time::timeout(PATIENCE, health.wait_for(|health| wanted(health))).await;
    found.unwrap().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_emptied_removed_or_repacked_file_is_put_right() {
    let site = Site::new();
    site.edit(many(1500)).await;
    let exporter = site.started().await;
    let file = &site.config.mailboxes_db;
    let old = site.cyrus.path("old.db");
    fs::copy(file, &old).unwrap();
    site.export(
        &exporter,
        vec![activate("user.later", "b1.test!p", "x\tl\t")],
    )
    .await;

    // An older copy moved over it, and the same copied into it.
    fs::copy(&old, site.cyrus.path("conf/restored")).unwrap();
    fs::rename(site.cyrus.path("conf/restored"), file).unwrap();
    site.becomes_equal().await;
    fs::copy(&old, file).unwrap();
    site.becomes_equal().await;
    fs::File::create(file).unwrap().set_len(0).unwrap();
    site.becomes_equal().await;
    fs::remove_file(file).unwrap();
    let gone = Instant::now();
    while !file.exists() {
        assert!(gone.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.becomes_equal().await;
    assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);

    // Records removed and added by hand.
    let all: Vec<String> = (0..300).map(|n| format!("Nuser\x1fu{n:05}")).collect();
    let all = all.join("\n") + "\n";
    site.cyrus.dbtool(file, &["delete"], &all).unwrap();
    site.becomes_equal().await;
    let extra = "Nuser\x1fextra\t%(T er P p S b1.test M 1 A %())\n";
    site.cyrus.dbtool(file, &["set"], extra).unwrap();
    site.becomes_equal().await;
    site.cyrus.dbtool(file, &["repack"], "").unwrap();
    site.export(&exporter, vec![activate("user.last", "b1.test!p", "")])
        .await;
    site.becomes_equal().await;
    assert_eq!(*exporter.health().borrow(), Health::Good);
    exporter.shutdown().await;
}

/// Each start of Cyrus runs `ctl_cyrusdb -r`, which throws all reservations away.
#[tokio::test(flavor = "multi_thread")]
async fn reservations_come_back_after_ctl_cyrusdb() {
    let site = Site::new();
    site.edit(many(200)).await;
    let names = |range: std::ops::Range<u32>| {
        range
            .map(|n| reserve(&format!("user.coming{n}"), "b1.test!p"))
            .collect()
    };
    site.edit(names(0..50)).await;
    let exporter = site.started().await;
    for _ in 0..2 {
        site.cyrus.run("ctl_cyrusdb", &["-r"], "").unwrap();
        site.becomes_equal().await;
    }
    exporter.shutdown().await;
    // And while no exporter runs.
    site.cyrus.run("ctl_cyrusdb", &["-r"], "").unwrap();
    assert!(site.difference().is_some());
    let exporter = site.started().await;
    site.assert_equal();
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_converted_to_skiplist_is_moved_aside_on_a_frontend() {
    let site = Site::new();
    site.edit(many(300)).await;
    let exporter = site.started().await;
    let file = &site.config.mailboxes_db;
    let convert = |from: &str, to: &str| {
        let new = site.cyrus.path("conf/converted");
        let arguments = [file.to_str().unwrap(), from, new.to_str().unwrap(), to];
        site.cyrus.run("cvt_cyrusdb", &arguments, "").unwrap();
        fs::rename(new, file).unwrap();
    };
    convert("twoskip", "skiplist");
    let skiplist = fs::read(file).unwrap();
    let kept = site.cyrus.path("conf/mailboxes.db.skiplist");
    let started = Instant::now();
    while !kept.exists()
        || !fs::read(file)
            .unwrap()
            .starts_with(b"\xa1\x02\x8b\x0dtwoskip")
    {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.becomes_equal().await;
    assert_eq!(fs::read(&kept).unwrap(), skiplist);
    site.export(&exporter, vec![activate("user.later", "b1.test!p", "")])
        .await;
    site.assert_equal();
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_refuses_what_it_cannot_keep_and_goes_on_once_it_is_converted() {
    let mut site = Site::new();
    site.config.misfit = Misfit::Refuse;
    site.config.retry_max = Duration::from_millis(200);
    site.edit(many(100)).await;
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../cyrusdb/tests/vectors");
    for (vector, said) in [
        ("20-skiplist.db", "cvt_cyrusdb"),
        ("21-twom.db", "autoconvert"),
    ] {
        fs::copy(format!("{vectors}/{vector}"), &site.config.mailboxes_db).unwrap();
        let before = fs::read(&site.config.mailboxes_db).unwrap();
        let exporter = site.start();
        let health = health_becomes(&exporter, |health| *health != Health::Good).await;
        assert!(
            matches!(&health, Health::Failing { why } if why.contains(said)),
            "{health:?}"
        );
        let now = site.store.current().sequence();
        assert!(!exporter.wait_for(now, Duration::from_millis(300)).await);
        assert_eq!(fs::read(&site.config.mailboxes_db).unwrap(), before);
        fs::remove_file(&site.config.mailboxes_db).unwrap();
        assert!(exporter.wait_for(now, PATIENCE).await);
        health_becomes(&exporter, |health| *health == Health::Good).await;
        site.assert_equal();
        exporter.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_and_keys_of_another_series_are_moved_aside_on_a_frontend() {
    let site = Site::new();
    site.edit(many(300)).await;
    let file = &site.config.mailboxes_db;
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../cyrusdb/tests/vectors");
    fs::copy(format!("{vectors}/12-murder-3018.db"), file).unwrap();
    let exporter = site.started().await;
    site.assert_equal();
    assert!(site.cyrus.path("conf/mailboxes.db.plain").exists());
    exporter.shutdown().await;

    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 300].fill(0x55);
    fs::write(file, &bytes).unwrap();
    fs::remove_file(&site.config.state_file).unwrap();
    let exporter = site.started().await;
    site.assert_equal();
    assert_eq!(
        fs::read(site.cyrus.path("conf/mailboxes.db.damaged")).unwrap(),
        bytes
    );
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_style_of_the_file_is_kept_where_none_is_set() {
    let mut site = Site::new();
    site.config.style = StyleSetting::Auto;
    site.edit(vec![activate("user.joe^x", "b1.test!p", "joe\tl\t")])
        .await;
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../cyrusdb/tests/vectors");
    fs::copy(
        format!("{vectors}/12-murder-3018.db"),
        &site.config.mailboxes_db,
    )
    .unwrap();
    let exporter = site.started().await;
    let keys: Vec<Vec<u8>> = site.content().into_keys().collect();
    assert_eq!(keys, [b"user.joe^x".to_vec()]);
    exporter.shutdown().await;
    fs::remove_file(&site.config.mailboxes_db).unwrap();
    // Here the installed Cyrus tells: Debian's is 3.6 or later.
    let exporter = site.started().await;
    let keys: Vec<Vec<u8>> = site.content().into_keys().collect();
    assert_eq!(keys, [b"Nuser\x1fjoe.x".to_vec()]);
    let style = cyrusdb::mailboxes::Mailboxes::detect_style(&mut site.open()).unwrap();
    assert_eq!(style, Some(KeyStyle::ByName));
    exporter.shutdown().await;
}

/// Somebody holds the lock and is stopped: nothing but the export waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_lock_holder_is_told_of_and_outlived() {
    let mut site = Site::new();
    site.config.lock_alarm = Duration::from_millis(300);
    site.edit(many(50)).await;
    let exporter = site.started().await;
    let mut holder = Command::new(env!("CARGO_BIN_EXE_exporter-lock-holder"))
        .arg(&site.config.mailboxes_db)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 7];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"locked\n");
    let pid = rustix::process::Pid::from_child(&holder);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();

    let mut last = site.store.current().sequence();
    for number in 0..50 {
        last = site
            .edit(vec![activate(
                &format!("user.held{number}"),
                "b1.test!p",
                "",
            )])
            .await;
    }
    assert!(!exporter.wait_for(last, Duration::from_millis(500)).await);
    let wanted = Health::LockHeld {
        pid: Some(holder.id()),
        stopped: true,
    };
    health_becomes(&exporter, |health| *health == wanted).await;
    // Stopping does not wait for the lock either.
    exporter.shutdown().await;
    let exporter = site.start();
    health_becomes(&exporter, |health| {
        matches!(health, Health::LockHeld { .. })
    })
    .await;
    assert!(!*exporter.ready().borrow());

    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(exporter.wait_for(last, PATIENCE).await);
    health_becomes(&exporter, |health| *health == Health::Good).await;
    site.assert_equal();
    exporter.shutdown().await;
}

/// A file that can't be written: told once, tried again, caught up.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_disk_is_told_of_and_outlived() {
    let mut site = Site::new();
    site.config.retry_max = Duration::from_millis(200);
    site.edit(many(20)).await;
    let exporter = site.started().await;
    let conf = site.cyrus.path("conf");
    let away = site.cyrus.path("conf-away");
    fs::rename(&conf, &away).unwrap();
    let last = site
        .edit(vec![activate("user.later", "b1.test!p", "")])
        .await;
    let health = health_becomes(&exporter, |health| *health != Health::Good).await;
    assert!(matches!(health, Health::Failing { .. }), "{health:?}");
    assert!(!exporter.wait_for(last, Duration::from_millis(300)).await);
    fs::rename(&away, &conf).unwrap();
    assert!(exporter.wait_for(last, PATIENCE).await);
    health_becomes(&exporter, |health| *health == Health::Good).await;
    site.assert_equal();
    exporter.shutdown().await;
}

/// A writer of ours that died in a transaction leaves a file that the next one recovers.
#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_file_is_recovered() {
    let site = Site::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../cyrusdb/tests/vectors");
    fs::copy(
        format!("{vectors}/07-dirty-killed.db"),
        &site.config.mailboxes_db,
    )
    .unwrap();
    site.edit(many(100)).await;
    let exporter = site.started().await;
    let mut found = Database::open_path(&site.config.mailboxes_db, Options::read_only()).unwrap();
    assert!(found.read().unwrap().is_clean());
    for edit in many(100) {
        let key = [b"N".as_slice(), edit.mailbox.key()].concat();
        assert!(found.get(&key).unwrap().is_some(), "{}", edit.mailbox);
    }
    exporter.shutdown().await;
}
