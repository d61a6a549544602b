//! The file follows the store, beside Cyrus's own programs; a restart without a change writes
//! nothing.

#![cfg(test)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use exporter::{Exporter, State};
use proto::EditKind;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Site, activate, delete, many, ownership, reserve};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_the_file_once_it_is_reached() {
    let site = Site::new();
    let exporter = site.started().await;
    assert_eq!(ownership(&site.config.mailboxes_db).2, 0o600);
    site.export(&exporter, many(1200)).await;
    site.assert_equal();
    let odd = vec![
        activate("user.alice", "b1.test!default", "alice\tlrswipkxtecda\t"),
        activate("user.alice.a b", "b1.test!default", ""),
        activate("user.bob.sub^dot", "b2.test", "bob\tlrs\t-carol\tlrs\t"),
        activate(
            "example.org!user.dave",
            "b1.test!default",
            "dave@example.org\tl\t",
        ),
        activate(
            "DELETED.user.alice.5F3C1A2B",
            "b1.test!default",
            "alice\tlrs\t",
        ),
        reserve("user.coming", "b2.test!p2"),
    ];
    site.export(&exporter, odd).await;
    site.assert_equal();
    let listed = site.cyrus.listed();
    for name in [
        "user.alice.a b",
        "user.bob.sub^dot",
        "example.org!user.dave",
    ] {
        assert!(listed.contains(&format!("\"{name}\"")), "{name}: {listed}");
    }
    // Each change is there when it is reached, also one that is followed by others at once.
    for round in 0..30 {
        let mailbox = format!("user.r{round}");
        let sequence = site.edit(vec![activate(&mailbox, "b1.test!p", "")]).await;
        let again = site.edit(vec![activate(&mailbox, "b2.test!p", "")]).await;
        assert!(exporter.wait_for(sequence, support::PATIENCE).await);
        let key = format!("Nuser\x1fr{round}");
        assert!(site.content().contains_key(key.as_bytes()), "{round}");
        assert!(exporter.wait_for(again, support::PATIENCE).await);
    }
    site.export(&exporter, vec![delete("user.alice"), delete("user.coming")])
        .await;
    site.assert_equal();
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_has_its_change_in_the_file() {
    let mut site = Site::new();
    site.config.awaited = true;
    site.edit(many(2000)).await;
    let exporter = site.started().await;
    for round in 0..100 {
        let mailbox = format!("user.r{round}");
        let key = format!("Nuser\x1fr{round}").into_bytes();
        // A reservation is not held back, when somebody may wait for it.
        for edit in [
            reserve(&mailbox, "b1.test!p"),
            activate(&mailbox, "b1.test!p", ""),
            delete(&mailbox),
        ] {
            let there = edit.kind != EditKind::Delete;
            let sequence = site.edit(vec![edit]).await;
            assert!(exporter.wait_for(sequence, support::PATIENCE).await);
            assert_eq!(site.content().contains_key(&key), there, "{round}");
        }
        site.edit(vec![activate(&mailbox, "b2.test!p", "")]).await;
    }
    site.becomes_equal().await;
    exporter.shutdown().await;
    let before = site.identity();
    site.started().await.shutdown().await;
    assert_eq!(site.identity(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_file_is_not_touched_at_a_restart() {
    let site = Site::new();
    site.edit(many(2000)).await;
    let exporter = site.started().await;
    exporter.shutdown().await;
    let (before, bytes) = (
        site.identity(),
        fs::read(&site.config.mailboxes_db).unwrap(),
    );

    let exporter = site.started().await;
    assert_eq!(
        *exporter.reached().borrow(),
        site.store.current().sequence()
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    exporter.shutdown().await;
    assert_eq!(site.identity(), before);
    assert_eq!(fs::read(&site.config.mailboxes_db).unwrap(), bytes);

    // What happened while no exporter ran is replayed: the file grows by that, in place.
    site.edit(vec![
        delete("user.u00007"),
        activate("user.new", "b1.test!p", ""),
    ])
    .await;
    let exporter = site.started().await;
    exporter.shutdown().await;
    let after = site.identity();
    assert_eq!(
        (after.file, after.generation),
        (before.file, before.generation)
    );
    assert!(after.committed > before.committed && after.committed < before.committed + 1000);
    site.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_state_file_the_file_is_compared_and_only_differences_are_written() {
    let site = Site::new();
    site.edit(many(2000)).await;
    site.started().await.shutdown().await;
    let before = site.identity();
    for damage in ["", "nonsense", "mupdate-export 1\n"] {
        fs::write(&site.config.state_file, damage).unwrap();
        site.started().await.shutdown().await;
        assert_eq!(site.identity(), before, "{damage}");
    }
    let state = State::load(&site.config.state_file).unwrap().unwrap();
    assert_eq!(state.identity, before);
    assert_eq!(state.sequence, site.store.current().sequence());

    fs::remove_file(&site.config.state_file).unwrap();
    site.cyrus
        .dbtool(&site.config.mailboxes_db, &["delete"], "Nuser\x1fu00003\n")
        .unwrap();
    let extra = "Nuser\x1fstale\t%(T er P p S b1.test M 1 A %(x lrs))\n";
    site.cyrus
        .dbtool(&site.config.mailboxes_db, &["set"], extra)
        .unwrap();
    let before = site.identity();
    site.started().await.shutdown().await;
    let after = site.identity();
    assert_eq!(after.file, before.file);
    assert!(after.committed - before.committed < 1000);
    site.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_and_mode_are_kept_through_checkpoints() {
    let mut site = Site::new();
    site.config.checkpoint.bytes_min = 4096;
    site.config.transaction.pause = Duration::ZERO;
    site.edit(many(300)).await;
    let exporter = site.started().await;
    fs::set_permissions(&site.config.mailboxes_db, fs::Permissions::from_mode(0o640)).unwrap();
    let before = (site.identity(), ownership(&site.config.mailboxes_db));
    let mut round = 0;
    // Rewritten again and again, more of the file is dead than alive.
    while site.identity().generation == before.0.generation {
        round += 1;
        assert!(round < 1000, "no checkpoint");
        let edits = (0..300).map(|number| {
            activate(
                &format!("user.u{number:05}"),
                "b1.test!p",
                &format!("r{round}\tl\t"),
            )
        });
        site.export(&exporter, edits.collect()).await;
    }
    assert_eq!(ownership(&site.config.mailboxes_db), before.1);
    site.assert_equal();
    // The position went with the file: nothing is compared, and a restart finds it as we left it.
    site.export(&exporter, vec![delete("user.u00001")]).await;
    exporter.shutdown().await;
    let left = site.identity();
    let state = State::load(&site.config.state_file).unwrap().unwrap();
    assert_eq!(state.identity, left);
    site.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn cyrus_programs_read_write_and_repack_meanwhile() {
    beside_cyrus_programs(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_where_answers_wait_for_the_file() {
    beside_cyrus_programs(true).await;
}

async fn beside_cyrus_programs(awaited: bool) {
    let mut site = Site::new();
    site.config.awaited = awaited;
    site.config.checkpoint.bytes_min = 64 << 10;
    site.edit(many(1000)).await;
    let exporter = site.started().await;
    let (cyrus, file) = (&site.cyrus, &site.config.mailboxes_db);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let running = || !stop.load(std::sync::atomic::Ordering::Relaxed);
    let (shows, repacks) = std::thread::scope(|scope| {
        let shower = scope.spawn(|| {
            let mut shows = 0;
            while running() {
                let printed = cyrus.dbtool(file, &["show"], "").unwrap();
                let records = printed.split(|&octet| octet == b'\n');
                let base = records.filter(|line| line.starts_with(b"Nuser\x1fu00"));
                assert_eq!(base.count(), 1000);
                shows += 1;
            }
            shows
        });
        let repacker = scope.spawn(|| {
            let mut repacks = 0;
            while running() {
                repacks += usize::from(cyrus.dbtool(file, &["repack"], "").is_ok());
                std::thread::sleep(Duration::from_millis(150));
            }
            repacks
        });
        // Keys that are none of ours, such as a unified server's, and removals of what is ours.
        let writer = scope.spawn(|| {
            for round in 0..40 {
                let line = format!("Iunique{round}\t%(N user\x1fx)\n");
                cyrus.dbtool(file, &["set"], &line).unwrap();
                let gone = format!("Nuser\x1ft{:03}\n", round * 3);
                cyrus.dbtool(file, &["delete"], &gone).unwrap();
            }
        });
        let handle = tokio::runtime::Handle::current();
        let (site, exporter): (&Site, &Exporter) = (&site, &exporter);
        let editor = scope.spawn(move || {
            let rng = &mut StdRng::seed_from_u64(1);
            for _ in 0..300 {
                let mailbox = format!("user.t{:03}", rng.random_range(0..200));
                let edit = match rng.random_range(0..4) {
                    0 => delete(&mailbox),
                    1 => reserve(&mailbox, "b2.test!p"),
                    _ => activate(&mailbox, "b1.test!p", "anyone\tlrs\t"),
                };
                handle.block_on(site.export(exporter, vec![edit]));
            }
        });
        let ended = [writer.join(), editor.join()];
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let counts = (shower.join().unwrap(), repacker.join().unwrap());
        ended.into_iter().for_each(Result::unwrap);
        counts
    });
    println!("{shows} listings, {repacks} repacks");
    assert!(shows > 0 && repacks > 0);
    site.becomes_equal().await;
    assert_eq!(
        site.content()
            .keys()
            .filter(|key| key.starts_with(b"I"))
            .count(),
        40
    );
    exporter.shutdown().await;
}
