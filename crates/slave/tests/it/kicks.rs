//! Kicks, and barriers of the slave's own clients.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mupdate_tests::ports::free_port;
use slave::Phase;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::common::{Site, names, wait_until};
use crate::scripted::Scripted;

/// Kicks, and returns what was answered.
async fn kick(path: &Path) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut kicker = UnixStream::connect(path).await.unwrap();
    kicker.read_to_end(&mut answer).await.unwrap();
    answer
}

fn kicks(site: &Site, count: usize) -> Vec<tokio::task::JoinHandle<Vec<u8>>> {
    let one = || {
        let path = site.kick_path();
        tokio::spawn(async move { kick(&path).await })
    };
    (0..count).map(|_| one()).collect()
}

#[tokio::test]
async fn any_number_of_kicks_share_a_noop() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site
        .start_with(|config| config.retry_delay = Duration::from_mins(1))
        .await;
    let mut link = master.live_link(&names(3)).await;
    slave.synced(1).await;
    let first = kicks(&site, 1);
    let noop = link.noop().await.unwrap();
    let rest = kicks(&site, 500);
    sleep(Duration::from_millis(300)).await;
    link.mailbox("user.late").await;
    link.ok(&noop).await;
    let answering = tokio::spawn(link.answer_noops());
    for kicker in first.into_iter().chain(rest) {
        assert_eq!(kicker.await.unwrap(), b"ok");
    }
    assert!(slave.has("user.late"));
    slave.stop().await;
    // One for all that came while the first was on its way; a straggler may have needed another.
    let noops = answering.await.unwrap();
    assert!((1..=5).contains(&noops), "{noops} NOOPs for 500 kicks");
}

#[tokio::test]
async fn a_kick_is_answered_when_the_change_is_exported() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let (exporting, exported) = watch::channel(store::Sequence(0));
    let slave = site
        .start_with(|config| {
            config.retry_delay = Duration::from_mins(1);
            config.exported = Some(Arc::new(move |sequence| {
                let mut exported = exported.clone();
                Box::pin(async move {
                    drop(exported.wait_for(|&so_far| so_far >= sequence).await);
                })
            }));
        })
        .await;
    let mut link = master.live_link(&names(3)).await;
    slave.synced(1).await;
    let ready = tokio::spawn({
        let slave = slave.slave.clone();
        async move { slave.ready().await }
    });
    let kicker = kicks(&site, 1).pop().unwrap();
    link.mailbox("user.late").await;
    link.answer_noop().await;
    wait_until("the change", || slave.has("user.late")).await;
    sleep(Duration::from_millis(100)).await;
    assert!(!kicker.is_finished() && !ready.is_finished());
    exporting.send_replace(slave.store.current().sequence());
    assert_eq!(kicker.await.unwrap(), b"ok");
    ready.await.unwrap();
    slave.stop().await;
}

#[tokio::test]
async fn kicks_without_a_master_are_closed_and_share_attempts() {
    let site = Site::new(free_port().unwrap());
    let slave = site
        .start_with(|config| config.retry_delay = Duration::from_hours(1))
        .await;
    slave.failed(1).await;
    let before = slave.slave.status().failures;
    for _ in 0..3 {
        for kicker in kicks(&site, 300) {
            assert_eq!(kicker.await.unwrap(), b"");
        }
    }
    let attempts = slave.slave.status().failures - before;
    assert!((3..=9).contains(&attempts), "{attempts} for 3 × 300 kicks");
    assert_eq!(slave.slave.barrier().await, Err(slave::Unreached));
    slave.stop().await;
}

#[tokio::test]
async fn a_kick_brings_the_link_back() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site
        .start_with(|config| config.retry_delay = Duration::from_hours(1))
        .await;
    drop(master.live_link(&names(3)).await);
    slave.synced(1).await;
    // The first way back is at once, the next would be after minutes.
    drop(master.link().await);
    slave.failed(1).await;
    let kicker = kicks(&site, 1).pop().unwrap();
    let link = master.live_link(&names(4)).await;
    slave.synced(2).await;
    drop(kicker.await);
    let answering = tokio::spawn(link.answer_noops());
    assert_eq!(kick(&site.kick_path()).await, b"ok");
    slave.stop().await;
    answering.await.unwrap();
}

#[tokio::test]
async fn no_kick_hangs_while_the_link_flaps() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site.start().await;
    let links = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&links);
    let flapping = tokio::spawn(async move {
        loop {
            let mut link = master.live_link(&names(50)).await;
            // Some are answered, some are cut off with a NOOP on its way.
            if let Some(noop) = link.noop().await
                && counting.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
            {
                link.ok(&noop).await;
            }
        }
    });
    let mut answered = 0;
    while answered < 5 || links.load(Ordering::SeqCst) < 5 {
        for kicker in kicks(&site, 50) {
            let answer = kicker.await.unwrap();
            assert!(answer.is_empty() || answer == b"ok");
            answered += usize::from(!answer.is_empty());
        }
    }
    assert_eq!(slave.list().len(), 50);
    flapping.abort();
    slave.stop().await;
}

#[tokio::test]
async fn the_socket_stays_while_the_link_is_down_and_goes_with_the_slave() {
    let site = Site::new(free_port().unwrap());
    let slave = site.start().await;
    slave.failed(2).await;
    assert!(site.kick_path().exists());
    let waiting = kicks(&site, 20);
    slave.stop().await;
    for kicker in waiting {
        // Closed by the stop, or never let in.
        drop(kicker.await);
    }
    assert!(!site.kick_path().exists());
}

#[tokio::test]
async fn a_barrier_brings_what_the_master_has() {
    let master = Scripted::new().await;
    let site = Site::new(master.port());
    let slave = site
        .start_with(|config| config.retry_delay = Duration::from_mins(1))
        .await;
    let mut link = master.live_link(&names(3)).await;
    slave.synced(1).await;
    assert_eq!(slave.slave.status().phase, Phase::Live);
    let barrier = tokio::spawn({
        let slave = slave.slave.clone();
        async move { slave.barrier().await }
    });
    let noop = link.noop().await.unwrap();
    link.mailbox("user.late").await;
    link.ok(&noop).await;
    assert_eq!(barrier.await.unwrap(), Ok(()));
    assert!(slave.has("user.late"));
    slave.stop().await;
}
