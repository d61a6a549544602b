//! A file read into a store.

#![cfg(test)]

mod support;

use std::time::SystemTime;

use exporter::State;
use exporter::import::{self, ChangeTimes, Gone, ImportError, Why};
use store::OsFileSystem;
use support::{Site, activate, delete, many, name, open_store, reserve};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_takes_the_whole_file() {
    let mut site = Site::new();
    let empty = import::read(&site.config).unwrap();
    assert!(empty.is_empty());
    site.edit(many(1200)).await;
    site.edit(vec![
        reserve("user.coming", "b1.test!p"),
        activate("d.org!user.x^y", "b1.test", "x\tl\t"),
    ])
    .await;
    site.started().await.shutdown().await;
    let odd = "Nuser\x1f\t%(T er P p S b1.test M 1 A %())\nNuser\x1fbad\tnonsense\n\
               Nuser\x1fhome\t%(T e P p M 1 A %())\n";
    site.cyrus
        .dbtool(&site.config.mailboxes_db, &["set"], odd)
        .unwrap();
    site.config.own_server = Some(b"here.test".to_vec());
    let list = import::read(&site.config).unwrap();
    assert_eq!(list.unused.len(), 3);
    assert!(matches!(list.unused[0].why, Why::Name(_)));
    assert!(matches!(list.unused[1].why, Why::Record(_)));
    assert!(matches!(list.unused[2].why, Why::Local(_)));

    let store = open_store(&site.cyrus.path("other"));
    let imported = import::into_empty(&store, &list, "mailboxes.db")
        .await
        .unwrap();
    assert_eq!((imported.entries, imported.refused), (1202, Vec::new()));
    let (ours, theirs) = (site.store.current(), store.current());
    let entries = |version: &store::Version| -> Vec<_> {
        version
            .iter()
            .map(|(name, stored)| (name.clone(), stored.entry.clone()))
            .collect()
    };
    assert_eq!(entries(&ours), entries(&theirs));
    let again = import::into_empty(&store, &list, "mailboxes.db").await;
    assert!(matches!(again, Err(ImportError::NotEmpty(1202))));
}

#[tokio::test(flavor = "multi_thread")]
async fn later_only_what_is_later_than_export_and_store() {
    let site = Site::new();
    site.edit(many(3)).await;
    site.edit(vec![activate("user.gone", "b1.test!p", "")])
        .await;
    site.edit(vec![activate("user.fought", "b1.test!p", "")])
        .await;
    site.started().await.shutdown().await;
    let state = State::load(&site.config.state_file).unwrap().unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // The store went on without an exporter, and somebody wrote the file.
    site.edit(vec![
        activate("user.fought", "b2.test!p", ""),
        delete("user.gone"),
    ])
    .await;
    let record = |at: u64| format!("%(T er P p S b7.test M {at} A %())");
    let lines = format!(
        "Nuser\x1fu00000\t{}\nNuser\x1fu00001\t{}\nNuser\x1ffought\t{}\nNuser\x1fgone\t{}\nNuser\x1fnew\t{}\n",
        record(now + 100),
        record(state.exported),
        record(now),
        record(now),
        record(now + 100),
    );
    site.cyrus
        .dbtool(&site.config.mailboxes_db, &["set"], &lines)
        .unwrap();
    let list = import::read(&site.config).unwrap();
    let times =
        ChangeTimes::read(&OsFileSystem, &site.cyrus.path("store"), state.sequence).unwrap();
    assert!(times.of(&name("user.fought")).is_some() && times.of(&name("user.gone")).is_some());
    assert_eq!(times.of(&name("user.u00000")), None);

    let nothing = import::later(&site.store, &list, None, &times, "mailboxes.db")
        .await
        .unwrap();
    assert_eq!((nothing.entries, nothing.older), (0, 5));
    let some = import::later(
        &site.store,
        &list,
        Some(state.exported),
        &times,
        "mailboxes.db",
    );
    let some = some.await.unwrap();
    assert_eq!((some.entries, some.older), (2, 3));
    let version = site.store.current();
    let server = |mailbox: &str| {
        let stored = version.get(&name(mailbox));
        stored.map(|stored| String::from_utf8(stored.entry.location().server().to_vec()).unwrap())
    };
    assert_eq!(server("user.u00000").as_deref(), Some("b7.test"));
    assert_eq!(server("user.u00001").as_deref(), Some("b1.test"));
    assert_eq!(server("user.fought").as_deref(), Some("b2.test"));
    assert_eq!(server("user.gone"), None);
    assert_eq!(server("user.new").as_deref(), Some("b7.test"));
    // The export then makes the file equal to what came of it.
    let exporter = site.started().await;
    site.assert_equal();
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_master_removed_is_removed_but_not_a_whole_list() {
    let site = Site::new();
    site.edit(many(300)).await;
    site.edit(vec![
        activate("user.kept", "b1.test!p", ""),
        reserve("user.reserved", "b1.test!p"),
    ])
    .await;
    site.started().await.shutdown().await;
    let state = State::load(&site.config.state_file).unwrap().unwrap();
    site.edit(vec![activate("user.kept", "b2.test!p", "")])
        .await;
    let remove = |name: &str| {
        let key = format!("Nuser\x1f{name}");
        let path = &site.config.mailboxes_db;
        site.cyrus.dbtool(path, &["delete", &key], "").unwrap();
    };
    let gone = async || {
        let list = import::read(&site.config).unwrap();
        let directory = site.cyrus.path("store");
        let times = ChangeTimes::read(&OsFileSystem, &directory, state.sequence).unwrap();
        import::gone(&site.store, &list, state.exported, &times, "mailboxes.db")
            .await
            .unwrap()
    };
    for name in ["u00001", "kept", "reserved"] {
        remove(name);
    }
    assert_eq!(
        gone().await,
        Gone::Held(vec![name("user.u00001")]),
        "nobody has written a record since"
    );

    let later = format!("%(T er P p S b7.test M {} A %())", state.exported + 100);
    let line = format!("Nuser\x1fnew\t{later}\n");
    let path = &site.config.mailboxes_db;
    site.cyrus.dbtool(path, &["set"], &line).unwrap();
    assert_eq!(gone().await, Gone::Removed(1));
    let version = site.store.current();
    assert_eq!(version.get(&name("user.u00001")), None);
    assert!(
        version.get(&name("user.kept")).is_some(),
        "changed in the store since"
    );
    assert!(version.get(&name("user.reserved")).is_some());

    for number in 2..150 {
        remove(&format!("u{number:05}"));
    }
    assert!(matches!(gone().await, Gone::Held(names) if names.len() == 148));
    assert!(site.store.current().get(&name("user.u00002")).is_some());
}
