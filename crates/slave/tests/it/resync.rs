//! How a slave comes back to a master of ours, and what it does about a list that is not the master's.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use proto::codec::{ResponseLimits, ResponseSplitter};
use proto::{Edit, EditKind, Entry};
use slave::{Phase, Resynced, Way};
use store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Running, Site, active, list_of, name, names, wait_until};
use crate::murder::{Node, drained, edit};

fn activate(mailbox: &str, location: &str) -> Edit {
    let Entry::Active { location, acl } = active(location) else {
        unreachable!()
    };
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Activate { location, acl },
    }
}

fn delete(mailbox: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Delete,
    }
}

async fn fill(master: &Store, names: &[String]) {
    let edits = names.iter().map(|mailbox| activate(mailbox, "be1!p"));
    edit(master, edits.collect()).await;
}

/// Waits for a verified list; returns how it came.
async fn resynced(slave: &Running) -> Resynced {
    wait_until("a live link", || slave.slave.status().phase == Phase::Live).await;
    slave.slave.status().resync.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_takes_what_was_missed_and_nothing_else() {
    let mut node = Node::new();
    node.history = 50;
    let all = names(1000);
    let master = node.open_master();
    fill(&master, &all).await;
    let serving = node.serve_master(&master).await;
    let site = Site::new(node.port);

    let slave = site.start().await;
    let first = resynced(&slave).await;
    assert_eq!((first.way, first.changes), (Way::Full, 1000));
    assert_eq!(slave.list(), list_of(&master.current()));
    assert_eq!(slave.slave.status().place, Some(master.current().place()));
    slave.stop().await;

    // Nothing has changed, and nothing is written.
    let slave = site.start().await;
    let before = slave.store.current().sequence();
    assert!(slave.slave.status().complete);
    let nothing = resynced(&slave).await;
    assert_eq!((nothing.way, nothing.changes), (Way::Log, 0));
    assert!(nothing.octets < 1000, "{nothing:?}");
    assert_eq!(slave.store.current().sequence(), before);
    slave.stop().await;

    // Few changes: the log.
    edit(
        &master,
        vec![delete(&all[7]), activate("user.new", "be2!p")],
    )
    .await;
    let slave = site.start().await;
    let few = resynced(&slave).await;
    assert_eq!((few.way, few.changes), (Way::Log, 2));
    assert_eq!(slave.list(), list_of(&master.current()));
    slave.stop().await;

    // More than is remembered: digests.
    let moved = all.iter().skip(20).take(80);
    edit(
        &master,
        moved.map(|mailbox| activate(mailbox, "be3!p")).collect(),
    )
    .await;
    edit(&master, vec![delete(&all[8]), delete(&all[9])]).await;
    let slave = site.start().await;
    let many = resynced(&slave).await;
    assert_eq!((many.way, many.changes), (Way::Digest, 82));
    assert!(many.octets < first.octets, "{many:?} {first:?}");
    assert_eq!(slave.list(), list_of(&master.current()));

    // On request.
    let wait = std::time::Duration::from_mins(1);
    let compared = slave.slave.resync(false, wait).await.unwrap().unwrap();
    assert_eq!((compared.way, compared.changes), (Way::Digest, 0));
    let taken = slave.slave.resync(true, wait).await.unwrap().unwrap();
    assert_eq!((taken.way, taken.changes), (Way::Full, 0));
    assert_eq!(slave.slave.status().mismatches, 0);
    slave.stop().await;

    // Not wished for.
    let slave = site.start_with(|config| config.resync = false).await;
    assert_eq!(resynced(&slave).await.way, Way::Dump);
    assert_eq!(slave.slave.status().place, None);
    slave.stop().await;
    let slave = site.start().await;
    assert_eq!(
        resynced(&slave).await.way,
        Way::Digest,
        "its place is no longer known"
    );
    slave.stop().await;
    serving.stop().await;
    master.shutdown().await;
}

/// A store of the master's, copied to a slave's host, is where the slave begins; a master whose store is
/// put back is behind its slaves, and they take over what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_the_masters_store_do_no_harm() {
    let node = Node::new();
    let all = names(300);
    let master = node.open_master();
    fill(&master, &all).await;
    master.shutdown().await;
    let site = Site::new(node.port);
    let (masters, backup) = (
        node.dir.path().join("store"),
        node.dir.path().join("backup"),
    );
    copy(&masters, &site.data_dir().join("store"));
    copy(&masters, &backup);

    let master = node.open_master();
    edit(
        &master,
        vec![activate("user.later", "be2!p"), delete(&all[0])],
    )
    .await;
    let serving = node.serve_master(&master).await;
    let slave = site.start().await;
    let copied = resynced(&slave).await;
    assert_eq!((copied.way, copied.changes), (Way::Log, 2));
    assert_eq!(slave.list(), list_of(&master.current()));
    serving.stop().await;
    master.shutdown().await;

    fs::remove_dir_all(&masters).unwrap();
    copy(&backup, &masters);
    let master = node.open_master();
    edit(&master, vec![activate("user.other", "be2!p")]).await;
    let serving = node.serve_master(&master).await;
    wait_until("a second link", || slave.slave.status().dumps >= 2).await;
    assert_eq!(drained(&slave, &master).await, slave.list());
    let way = slave.slave.status().resync.unwrap().way;
    assert_eq!(way, Way::Digest);
    assert_eq!(slave.store.current().place(), master.current().place());
    slave.stop().await;
    serving.stop().await;
    master.shutdown().await;
}

/// Between a slave and its master; swallows lines on demand.
struct Proxy {
    port: u16,
    swallow: Arc<AtomicUsize>,
}

impl Proxy {
    async fn before(master: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let swallow = Arc::new(AtomicUsize::new(0));
        let swallowing = Arc::clone(&swallow);
        tokio::spawn(async move {
            loop {
                let (slave, _) = listener.accept().await.unwrap();
                let Ok(master) = TcpStream::connect(("127.0.0.1", master)).await else {
                    continue;
                };
                let (mut asks, answers) = slave.into_split();
                let (said, mut asked) = master.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut asks, &mut asked).await });
                tokio::spawn(pass(said, answers, Arc::clone(&swallowing)));
            }
        });
        Self { port, swallow }
    }
}

/// Passes on what the master says, but for so many MAILBOX lines.
async fn pass(mut said: OwnedReadHalf, mut answers: OwnedWriteHalf, swallow: Arc<AtomicUsize>) {
    let mut splitter = ResponseSplitter::new(ResponseLimits::default());
    let mut buffer = BytesMut::new();
    while said.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        while let Ok(Some(line)) = splitter.next(&mut buffer) {
            let is_mailbox = line.windows(9).any(|word| word == b" MAILBOX ");
            let less = |left: usize| left.checked_sub(1);
            let swallowed = is_mailbox
                && swallow
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                    .is_ok();
            if !swallowed && answers.write_all(&line).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_lost_on_the_way_is_found_at_the_next_point_and_repaired() {
    let node = Node::new();
    let master = node.open_master();
    fill(&master, &names(500)).await;
    let serving = node.serve_master(&master).await;
    let proxy = Proxy::before(node.port).await;
    let site = Site::new(proxy.port);
    let slave = site.start().await;
    resynced(&slave).await;
    let points = slave.slave.status().points;

    // In the stream.
    proxy.swallow.store(1, Ordering::SeqCst);
    edit(&master, vec![activate("user.lost", "be2!p")]).await;
    wait_until("an alarm", || slave.slave.status().mismatches == 1).await;
    wait_until("a repaired list", || slave.has("user.lost")).await;
    wait_until("another link", || slave.slave.status().dumps == 2).await;
    assert_eq!(resynced(&slave).await.way, Way::Digest);
    assert_eq!(drained(&slave, &master).await, slave.list());
    assert!(slave.slave.status().points > points);
    slave.stop().await;

    // While it comes back: nothing that this resync would delete is deleted before it is known right.
    edit(
        &master,
        vec![activate("user.lost.again", "be2!p"), delete("user.0001")],
    )
    .await;
    proxy.swallow.store(1, Ordering::SeqCst);
    let slave = site.start().await;
    wait_until("an alarm", || slave.slave.status().mismatches == 1).await;
    wait_until("a repaired list", || slave.has("user.lost.again")).await;
    assert_eq!(resynced(&slave).await.way, Way::Digest);
    assert_eq!(drained(&slave, &master).await, slave.list());
    slave.stop().await;
    serving.stop().await;
    master.shutdown().await;
}

/// What a slave holds back is deleted from its list as RESYNC tells it; whoever follows it holds it back,
/// too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_is_held_all_the_way_down() {
    let top = Node::new();
    let all = names(600);
    let master = top.open_master();
    fill(&master, &all).await;
    let serving_top = top.serve_master(&master).await;
    let site = Site::new(top.port);
    let middle = site.start().await;
    middle.slave.ready().await;
    let relay = Node::new();
    let url = format!("mupdate://127.0.0.1:{}", top.port);
    let role = Arc::new(middle.slave.role());
    let serving_relay = relay.serve(&middle.store, role, Some(&url)).await;
    let leaf_site = Site::new(relay.port);
    let leaf = leaf_site.start().await;
    resynced(&leaf).await;
    assert_eq!(leaf.list().len(), 600);
    serving_top.stop().await;

    let lost = all.iter().take(400).map(|mailbox| delete(mailbox));
    edit(&master, lost.collect()).await;
    let serving_top = top.serve_master(&master).await;
    wait_until("a held loss", || middle.slave.status().held == 400).await;
    wait_until("the same below", || leaf.slave.status().held == 400).await;
    assert_eq!((middle.list().len(), leaf.list().len()), (600, 600));

    // The master speaks of one of them, and an operator of the rest.
    edit(&master, vec![activate(&all[3], "be4!p")]).await;
    wait_until("399 held", || leaf.slave.status().held == 399).await;
    assert_eq!(middle.slave.confirm_deletes().await, Ok(399));
    assert_eq!((middle.list().len(), leaf.list().len()), (201, 600));
    assert_eq!(leaf.slave.confirm_deletes().await, Ok(399));
    assert_eq!(leaf.list(), list_of(&master.current()));
    leaf.stop().await;
    serving_relay.stop().await;
    middle.stop().await;
    serving_top.stop().await;
    master.shutdown().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A server that has missed what we have is not followed back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_behind_is_waited_for() {
    let top = Node::new();
    let master = top.open_master();
    fill(&master, &names(50)).await;
    let serving_top = top.serve_master(&master).await;
    let site = Site::new(top.port);
    let middle = site.start().await;
    resynced(&middle).await;
    middle.stop().await;

    edit(&master, vec![activate("user.later", "be2!p")]).await;
    let leaf_site = Site::new(top.port);
    let leaf = leaf_site.start().await;
    resynced(&leaf).await;
    leaf.stop().await;
    serving_top.stop().await;

    let middle = site.start().await;
    let relay = Node::new();
    let url = format!("mupdate://127.0.0.1:{}", top.port);
    let role = Arc::new(middle.slave.role());
    let serving_relay = relay.serve(&middle.store, role, Some(&url)).await;
    let leaf_site = leaf_site.moved_to(relay.port);
    let leaf = leaf_site.start().await;
    leaf.failed(2).await;
    let status = leaf.slave.status();
    assert!(status.complete && leaf.has("user.later"));
    assert!(status.trouble.unwrap().contains("behind"));

    let serving_top = top.serve_master(&master).await;
    let back = resynced(&leaf).await;
    assert_eq!((back.way, back.changes), (Way::Log, 0));
    assert_eq!(leaf.list(), list_of(&master.current()));
    leaf.stop().await;
    serving_relay.stop().await;
    middle.stop().await;
    serving_top.stop().await;
    master.shutdown().await;
}

/// What a backend was told OK for is here once a slave's barrier is through, also right after a start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrier_waits_for_the_resync_and_for_what_streams() {
    let node = Node::new();
    let master = node.open_master();
    fill(&master, &names(50)).await;
    let serving = node.serve_master(&master).await;
    let site = Site::new(node.port);
    for round in 0..5 {
        let mailbox = format!("user.away.{round}");
        edit(&master, vec![activate(&mailbox, "be2!p")]).await;
        let slave = site.start().await;
        slave.slave.barrier().await.unwrap();
        assert!(slave.has(&mailbox));
        for step in 0..20 {
            let mailbox = format!("user.live.{round}.{step}");
            edit(&master, vec![activate(&mailbox, "be2!p")]).await;
            slave.slave.barrier().await.unwrap();
            assert!(slave.has(&mailbox));
        }
        slave.stop().await;
    }
    serving.stop().await;
    master.shutdown().await;
}
