//! Deletions that wait for an operator.

use std::collections::HashSet;

use mupdate_tests::ports::free_port;
use slave::is_slave_store;

use crate::common::{Site, names, wait_until};
use crate::scripted::Scripted;

#[tokio::test]
async fn a_master_that_comes_back_empty_empties_nothing() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    assert!(!is_slave_store(site.data_dir()));
    let slave = site.start().await;
    drop(master.live_link(&names(3)).await);
    slave.synced(1).await;
    let none: [&str; 0] = [];
    drop(master.live_link(&none).await);
    slave.synced(2).await;
    assert_eq!((slave.list().len(), slave.slave.status().held), (3, 3));

    // The same again, and after a restart without a master.
    let _link = master.live_link(&none).await;
    slave.synced(3).await;
    assert_eq!(slave.slave.status().held, 3);
    slave.stop().await;
    assert!(is_slave_store(site.data_dir()));
    let slave = site.start().await;
    assert_eq!((slave.list().len(), slave.slave.status().held), (3, 3));
    assert_eq!(slave.slave.confirm_deletes().await, Ok(3));
    assert_eq!((slave.list().len(), slave.slave.status().held), (0, 0));
    assert_eq!(slave.slave.confirm_deletes().await, Ok(0));
    slave.stop().await;
    let slave = site.start().await;
    assert_eq!(slave.slave.status().held, 0);
    slave.stop().await;
}

#[tokio::test]
async fn a_tenth_less_is_applied_and_a_third_less_is_held() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let all = names(1200);
    let slave = site.start().await;
    drop(master.live_link(&all).await);
    slave.synced(1).await;
    drop(master.live_link(&all[120..]).await);
    slave.synced(2).await;
    assert_eq!((slave.list().len(), slave.slave.status().held), (1080, 0));
    let link = master.live_link(&all[480..]).await;
    slave.synced(3).await;
    assert_eq!((slave.list().len(), slave.slave.status().held), (1080, 360));
    drop(link);

    // A whole list again: nothing is held any more.
    drop(master.live_link(&all).await);
    slave.synced(4).await;
    assert_eq!((slave.list().len(), slave.slave.status().held), (1200, 0));
    slave.stop().await;
}

#[tokio::test]
async fn a_streamed_line_ends_the_holding_for_good() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let all = names(600);
    let slave = site.start().await;
    drop(master.live_link(&all).await);
    slave.synced(1).await;
    let mut link = master.live_link(&all[200..]).await;
    slave.synced(2).await;
    assert_eq!(slave.slave.status().held, 200);
    link.delete(&all[0]).await;
    link.mailbox(&all[1]).await; // as it is
    link.mailbox_on(&all[2], "be9!p").await;
    link.delete("user.unknown").await;
    wait_until("197 held", || slave.slave.status().held == 197).await;
    assert!(!slave.has(&all[0]) && slave.has(&all[1]) && slave.has(&all[2]));
    slave.stop().await;
    drop(link);

    let site = site.moved_to(free_port().unwrap());
    let slave = site.start().await;
    assert_eq!(slave.slave.status().held, 197);
    assert_eq!(slave.slave.confirm_deletes().await, Ok(197));
    let left: HashSet<String> = slave.list().keys().map(ToString::to_string).collect();
    let expected: HashSet<String> = all[1..3].iter().chain(&all[200..]).cloned().collect();
    assert_eq!(left, expected);
    slave.stop().await;
}

/// Names that the next dump mentions again, alike, are not deleted by a later confirmation.
#[tokio::test]
async fn what_a_dump_mentions_again_is_not_confirmed_away() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let all = names(600);
    let slave = site.start().await;
    drop(master.live_link(&all).await);
    slave.synced(1).await;
    drop(master.live_link(&all[200..]).await);
    slave.synced(2).await;
    let mut link = master.link().await;
    link.dump(&all[150..]).await;
    wait_until("150 held", || slave.slave.status().held == 150).await;
    assert_eq!(slave.slave.confirm_deletes().await, Ok(150));
    link.end_dump().await;
    slave.synced(3).await;
    assert_eq!((slave.list().len(), slave.slave.status().held), (450, 0));
    slave.stop().await;
}

/// Earlier versions kept the held names in a file beside the store.
#[tokio::test]
async fn a_file_of_held_names_is_taken_over() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let all = names(5);
    let slave = site.start().await;
    let mut link = master.live_link(&all).await;
    slave.synced(1).await;
    let version = slave.store.current();
    let (epoch, sequence) = (version.epoch(), version.sequence());
    link.mailbox_on(&all[4], "be9!p").await;
    wait_until("a later change", || {
        slave.store.current().sequence() > sequence
    })
    .await;
    slave.stop().await;
    drop(link);

    let held = [&all[1..], &["user.unknown".to_owned()]]
        .concat()
        .join("\n");
    let content = format!("mupdate-held 1\nepoch {epoch}\nsequence {sequence}\n{held}\n");
    let crc = crc32fast::hash(content.as_bytes());
    let file = site.data_dir().join("slave.held");
    std::fs::write(&file, format!("{content}crc32 {crc:08x}\n")).unwrap();
    let site = site.moved_to(free_port().unwrap());
    for _ in 0..2 {
        let slave = site.start().await;
        assert_eq!(
            slave.slave.status().held,
            3,
            "but not what was said of later"
        );
        assert!(!file.exists());
        slave.stop().await;
    }
    let slave = site.start().await;
    assert_eq!(slave.slave.confirm_deletes().await, Ok(3));
    assert!(slave.has(&all[0]) && slave.has(&all[4]) && slave.list().len() == 2);
    slave.stop().await;
}
