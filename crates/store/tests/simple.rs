//! The simple path, on a real disk and with real threads.

use std::sync::Arc;

use proto::{Acl, Edit, EditKind, Entry, Location, MailboxName, Refusal, ReservedBy};
use store::{
    Batch, Decision, EditError, HostFilter, Origin, OsFileSystem, Rules, Sequence, Store,
    StoreConfig, Stored,
};

struct Plain;

impl Rules for Plain {
    fn decide(&mut self, current: Option<&Stored>, edit: &Edit, _: &Origin) -> Decision {
        let entry = match &edit.kind {
            EditKind::Activate { location, acl } => Entry::Active {
                location: location.clone(),
                acl: acl.clone(),
            },
            EditKind::Reserve { .. } if current.is_some() => {
                return Decision::Refuse(Refusal::Exists);
            }
            EditKind::Reserve { location } => Entry::Reserved {
                location: location.clone(),
                by: ReservedBy::Reserve,
            },
            EditKind::Deactivate { location } => Entry::Reserved {
                location: location.clone(),
                by: ReservedBy::Deactivate,
            },
            EditKind::Delete => return Decision::Remove,
        };
        Decision::Set {
            entry,
            conflict: false,
        }
    }
}

fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

fn activate(mailbox: &str, location: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Activate {
            location: Location::try_from(location.as_bytes()).unwrap(),
            acl: Acl::try_from(b"anyone\tlrs\t".as_slice()).unwrap(),
        },
    }
}

fn delete(mailbox: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Delete,
    }
}

fn batch(edits: Vec<Edit>) -> Batch {
    let origin = Origin {
        identity: Arc::from("backend"),
        peer: Arc::from("127.0.0.1:4711"),
    };
    Batch { origin, edits }
}

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
    let version = store.current();
    assert_eq!(
        (version.epoch(), version.sequence(), version.len()),
        (epoch, Sequence(4), 1)
    );
    assert_eq!(version.root(), version.compute_root());
    assert_eq!(version.get(&name("user.a")).unwrap().changed, Sequence(3));
    assert_eq!(version.history().since(Sequence(1)).unwrap().count(), 3);
    store.shutdown().await;
}
