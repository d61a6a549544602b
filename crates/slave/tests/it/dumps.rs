//! What becomes of a dump, whole or not.

use std::time::Duration;

use tokio::time::sleep;

use crate::common::{Site, active, name, names, wait_until};
use crate::scripted::{Link, Scripted};

const BEFORE: [&str; 4] = ["user.a", "user.b", "user.c", "user.d"];
/// Lacks `user.b`, and one is new.
const AFTER: [&str; 4] = ["user.a", "user.c", "user.d", "user.e"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Close,
    No,
    Bad,
    Bye,
    HalfALine,
    Nonsense,
}

impl Ending {
    const ALL: [Self; 6] = [
        Self::Close,
        Self::No,
        Self::Bad,
        Self::Bye,
        Self::HalfALine,
        Self::Nonsense,
    ];

    async fn play(self, mut link: Link) {
        match self {
            Self::Close => {}
            Self::No => link.status("NO").await,
            Self::Bad => link.status("BAD").await,
            Self::Bye => link.send(b"* BYE \"going down\"\r\n").await,
            Self::HalfALine => link.send(b"C2 MAILBOX {6+}\r\nuse").await,
            Self::Nonsense => link.send(b"C2 FROBNICATE\r\n").await,
        }
    }
}

/// After `cut` lines of a dump that lacks a name, or behind its OK but before the NOOP is answered,
/// the link ends: everything that was there stays.
#[tokio::test]
async fn a_dump_that_ends_early_deletes_nothing() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    let link = master.live_link(&BEFORE).await;
    slave.synced(1).await;
    drop(link);
    slave.stop().await;

    for ending in Ending::ALL {
        for cut in 0..=AFTER.len() + 1 {
            let slave = site.start().await;
            assert!(slave.slave.status().complete, "known from before");
            let mut link = master.link().await;
            link.dump(&AFTER[..cut.min(AFTER.len())]).await;
            if cut > AFTER.len() {
                link.status("OK").await;
                link.noop().await.unwrap();
            }
            ending.play(link).await;
            slave.failed(1).await;
            for text in BEFORE {
                assert!(slave.has(text), "{text} after {ending:?} at {cut}");
            }
            slave.stop().await;
        }
    }

    let slave = site.start().await;
    let _link = master.live_link(&AFTER).await;
    slave.synced(1).await;
    assert!(!slave.has("user.b") && slave.has("user.e"));
    slave.stop().await;
}

#[tokio::test]
async fn a_list_is_not_complete_before_its_first_proven_dump() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    let mut link = master.link().await;
    link.dump(&BEFORE).await;
    link.status("OK").await;
    let noop = link.noop().await.unwrap();
    wait_until("the dump's lines", || slave.list().len() == 4).await;
    assert!(!slave.slave.status().complete);
    link.ok(&noop).await;
    slave.slave.ready().await;
    slave.stop().await;

    let slave = site.start().await;
    slave.slave.ready().await;
    slave.stop().await;
}

#[tokio::test]
async fn lines_in_any_order_and_number_add_up_to_the_list() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    let mut link = master.live_link(&["user.a", "user.old"]).await;
    slave.synced(1).await;
    link.delete("user.never-heard-of").await;
    link.mailbox_on("user.a", "be2!p").await;
    drop(link);

    let mut link = master.link().await;
    for (mailbox, location) in [
        ("user.z", "be1!p"),
        ("user.a", "be3!p"),
        ("user.m", "be1!p"),
        ("user.a", "be2!p"),
        ("user.z", "be4!p"),
        ("user.a", "be2!p"),
    ] {
        link.mailbox_on(mailbox, location).await;
    }
    link.delete("user.m").await;
    link.mailbox_on("user.m", "be5!p").await;
    link.delete("user.unknown").await;
    link.end_dump().await;
    slave.synced(2).await;
    let expected = [
        (name("user.a"), active("be2!p")),
        (name("user.m"), active("be5!p")),
        (name("user.z"), active("be4!p")),
    ];
    assert_eq!(slave.list(), expected.into());
    slave.stop().await;
}

#[tokio::test]
async fn a_line_behind_the_dump_saves_the_name_it_lacked() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    drop(master.live_link(&BEFORE).await);
    slave.synced(1).await;

    let mut link = master.link().await;
    link.dump(&["user.a"]).await;
    link.status("OK").await;
    link.mailbox("user.c").await;
    link.answer_noop().await;
    slave.synced(2).await;
    assert!(slave.has("user.a") && slave.has("user.c"));
    assert!(!slave.has("user.b") && !slave.has("user.d"));
    slave.stop().await;
}

#[tokio::test]
async fn what_is_already_so_is_not_written() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let list = names(2000);
    let slave = site.start().await;
    drop(master.live_link(&list).await);
    slave.synced(1).await;
    let before = slave.store.current().sequence();
    let _link = master.live_link(&list).await;
    slave.synced(2).await;
    assert_eq!(slave.store.current().sequence(), before);
    slave.stop().await;
}

#[tokio::test]
async fn what_can_not_be_stored_is_no_reason_to_delete_or_to_leave() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    drop(master.live_link(&BEFORE).await);
    slave.synced(1).await;
    let mut link = master.link().await;
    link.dump(&["user.a", "user.c"]).await;
    link.send(b"C2 MAILBOX {6+}\r\nuser.b {5+}\r\na!b!c {0+}\r\n\r\n")
        .await;
    link.send(b"C2 MAILBOX {3+}\r\na..  {5+}\r\na!b {0+}\r\n\r\n")
        .await;
    drop(link);
    slave.failed(1).await;
    assert!(slave.has("user.b"));
    let mut link = master.link().await;
    link.dump(&["user.a", "user.c"]).await;
    link.send(b"C2 MAILBOX \"user.b\" \"a!b!c\" \"\"\r\n").await;
    link.send(b"C2 MAILBOX \"a..b\" \"a!b\" \"\"\r\n").await;
    link.send(b"C2 DELETE \"a..b\"\r\n").await;
    link.end_dump().await;
    slave.synced(2).await;
    assert!(slave.has("user.b") && !slave.has("user.d"));
    slave.stop().await;
}

#[tokio::test]
async fn a_silent_master_is_asked_and_left() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site
        .start_with(|config| config.dump_silence_max = Duration::ZERO)
        .await;
    let mut in_dump = master.link().await;
    in_dump.mailbox("user.a").await;
    assert!(in_dump.noop().await.is_some(), "asked in the dump");
    assert_eq!(in_dump.noop().await, None, "left in the dump");

    let mut live = master.live_link(&["user.a"]).await;
    slave.synced(1).await;
    live.answer_noop().await;
    assert!(live.noop().await.is_some(), "asked again");
    assert_eq!(live.noop().await, None, "left");
    let _link = master.live_link(&["user.a"]).await;
    slave.synced(2).await;
    slave.stop().await;
}

#[tokio::test]
async fn a_slow_line_is_life() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site
        .start_with(|config| config.dump_silence_max = Duration::ZERO)
        .await;
    let mut link = master.link().await;
    // Longer between two octets would be silence; the whole line takes longer than silence may.
    for octet in b"C2 MAILBOX" {
        link.send(&[*octet]).await;
        sleep(Duration::from_millis(500)).await;
    }
    link.send(b" \"user.a\" \"be1!p\" \"\"\r\n").await;
    link.end_dump().await;
    slave.synced(1).await;
    assert_eq!(slave.slave.status().failures, 0);
    slave.stop().await;
}

#[tokio::test]
async fn a_stop_in_a_dump_leaves_the_list_as_it_is() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    drop(master.live_link(&BEFORE).await);
    slave.synced(1).await;
    let mut link = master.link().await;
    link.dump(&["user.new"]).await;
    wait_until("the first line", || slave.has("user.new")).await;
    slave.slave.shutdown().await;
    assert_eq!(link.line().await, None);
    assert!(BEFORE.iter().all(|text| slave.has(text)));
    slave.stop().await;
}

/// A master that takes every connection and ends it must not be stormed.
#[tokio::test]
async fn reconnects_are_paced() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let count = master.slam();
    let slave = site
        .start_with(|config| config.retry_delay = Duration::ZERO)
        .await;
    sleep(Duration::from_secs(3)).await;
    slave.stop().await;
    // 3 seconds hold at most 30 of the shortest delays there are.
    let count = count.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=31).contains(&count), "{count} connections");
}
