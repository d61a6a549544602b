//! The simple path, on a real disk and with real threads.

use crate::common::{Plain, activate, batch, delete, name};
use store::{EditError, HostFilter, OsFileSystem, Sequence, Store, StoreConfig};

#[tokio::test]
async fn edits_survive_a_restart_and_reach_feeds() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Store::open(
            OsFileSystem,
            dir.path(),
            StoreConfig::default(),
            Box::new(Plain),
        )
    };
    let (store, report) = open().unwrap();
    assert!(report.created);
    let epoch = store.current().epoch();
    let mut feed = store.feed(Sequence(0));
    let first = store.edit(batch(vec![
        activate("user.a", "be1!p"),
        activate("user.b", "be1!p"),
    ]));
    let answers = first.await.unwrap();
    assert_eq!(answers[1].clone().unwrap().sequence, Sequence(2));
    feed.changed().await.unwrap();
    let chunk = feed.next_chunk(None, 100).unwrap();
    assert_eq!(chunk.lines, [name("user.a"), name("user.b")]);

    let second = batch(vec![
        activate("user.a", "be2!p"),
        delete("user.b"),
        delete("user.x"),
    ]);
    let answers = store.edit(second).await.unwrap();
    assert!(!answers[2].clone().unwrap().changed);
    let only_be2 = HostFilter::new([b"be2".to_vec()]);
    let chunk = feed.next_chunk(Some(&only_be2), 100).unwrap();
    assert_eq!(
        (chunk.lines, chunk.through),
        (vec![name("user.a")], Sequence(4))
    );

    let busy = open().unwrap_err();
    assert!(matches!(busy, store::OpenError::Locked { .. }), "{busy}");
    let handle = store.clone();
    store.shutdown().await;
    let late = handle.edit(batch(vec![delete("user.a")])).await;
    assert_eq!(late.unwrap_err(), EditError::Stopped);
    assert!(feed.changed().await.is_err());

    let (store, report) = open().unwrap();
    assert!(!report.created && report.findings.is_empty(), "{report:?}");
    store
        .history_complete()
        .wait_for(|&complete| complete)
        .await
        .unwrap();
    assert_eq!(store.history_findings(), []);
    let version = store.current();
    assert_eq!(
        (version.epoch(), version.sequence(), version.len()),
        (epoch, Sequence(4), 1)
    );
    assert!(version.digests_are_right());
    assert_eq!(version.get(&name("user.a")).unwrap().changed, Sequence(3));
    assert_eq!(version.history().since(Sequence(1)).unwrap().count(), 3);
    store.shutdown().await;
}
