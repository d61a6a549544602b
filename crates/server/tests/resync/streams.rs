//! Log and full resync, host subsets, points under way, and what a stock slave sees of it: nothing.

use std::time::Duration;

use client::{ResyncEvent, ResyncFrom, Update};
use proto::Edit;
use proto::codec::encode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{List, Peer};
use crate::site::{Site, activate, delete, list_of, reserve, user};

/// A change of one of the first `names` users.
pub(crate) fn random_edit(rng: &mut StdRng, names: usize) -> Edit {
    let name = user(rng.random_range(0..names));
    let server = format!("be{}!p{}", rng.random_range(1..4), rng.random_range(0..9));
    match rng.random_range(0..4) {
        0 => delete(&name),
        1 => reserve(&name, &server),
        _ => activate(&name, &server, "anyone\tlrs\t"),
    }
}

#[tokio::test]
async fn a_new_peer_gets_everything_and_then_changes() {
    let site = Site::start().await;
    site.fill(3000).await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    let first = peer.next().await.unwrap();
    assert!(
        matches!(first, ResyncEvent::History { epoch, .. } if epoch == site.store.current().epoch().0)
    );
    let second = peer.next().await.unwrap();
    assert!(matches!(second, ResyncEvent::Full { sequence: 3000, sum } if sum.count == 3000));
    peer.until_live().await;
    assert_eq!(peer.list, list_of(&site.store.current()));
    site.edit(vec![delete(&user(1)), reserve("user.new", "be1!p")])
        .await;
    peer.drain().await;
    assert_eq!(peer.list, list_of(&site.store.current()));
    assert_eq!(peer.position, Some(site.store.current().sequence().0));
    assert_eq!(site.sessions.resyncs().full, 1);
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let site = Site::start().await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    peer.until_live().await;
    assert_eq!((peer.list.len(), peer.position), (0, Some(0)));
    site.edit(vec![reserve("user.a", "be1!p")]).await;
    peer.drain().await;
    assert_eq!(peer.list.len(), 1);
}

#[tokio::test]
async fn a_known_place_is_continued_from() {
    let site = Site::start().await;
    site.fill(2000).await;
    let mut first = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    first.until_live().await;
    let all_octets = first.resync.octets().read;
    let (place, list) = (first.place(), first.list.clone());
    drop(first);
    let again = activate(&user(2), "be3!q", "anyone\tlrs\t");
    site.edit(vec![
        delete(&user(1)),
        delete(&user(2)),
        reserve("user.x", "be1!p"),
        again,
    ])
    .await;
    let mut peer = Peer::begin(site.client().await, place, list, &[]);
    let event = peer
        .until(|event| !matches!(event, ResyncEvent::History { .. }))
        .await;
    assert_eq!(event, ResyncEvent::Log { sequence: 2000 });
    let mut lines = 0;
    loop {
        match peer.next().await.unwrap() {
            ResyncEvent::Line(_) => lines += 1,
            ResyncEvent::Streaming => break,
            ResyncEvent::Position { .. } | ResyncEvent::Point { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lines, 3);
    assert_eq!(peer.list, list_of(&site.store.current()));
    let octets = peer.resync.octets();
    assert!(octets.read < all_octets / 50, "{octets:?} of {all_octets}");
    // At the very place there is nothing but the point.
    let mut idle = Peer::begin(site.client().await, peer.place(), peer.list.clone(), &[]);
    idle.until_live().await;
    assert_eq!(idle.points, 1);
    assert_eq!(site.sessions.resyncs().log, 2);
}

#[tokio::test]
async fn every_point_is_true_while_edits_go_on() {
    let site = Site::start().await;
    site.fill(200).await;
    let mut peers = Vec::new();
    for hosts in [&[][..], &["be1"], &["be2", "be3"], &["nowhere"]] {
        let client = site.client().await;
        peers.push(Peer::begin(client, ResyncFrom::Nothing, List::new(), hosts));
    }
    let store = site.store.clone();
    let editing = tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..1500 {
            let count = rng.random_range(1..6);
            let edits = (0..count).map(|_| random_edit(&mut rng, 40)).collect();
            store.edit(crate::site::batch(edits)).await.unwrap();
            if rng.random_range(0..20) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let followers = peers.into_iter().map(|mut peer| {
        tokio::spawn(async move {
            peer.until_live().await;
            while peer.points < 30 {
                peer.next().await.unwrap();
            }
            peer
        })
    });
    let mut followed = Vec::new();
    for follower in followers.collect::<Vec<_>>() {
        followed.push(follower.await.unwrap());
    }
    editing.await.unwrap();
    for peer in &mut followed {
        peer.drain().await;
        assert_eq!(peer.position, Some(site.store.current().sequence().0));
    }
    assert_eq!(followed[0].list, list_of(&site.store.current()));
    assert!(followed[3].list.is_empty());
}

#[tokio::test]
async fn a_subset_follows_its_hosts() {
    let site = Site::start().await;
    site.fill(300).await;
    let client = site.client().await;
    let mut peer = Peer::begin(client, ResyncFrom::Nothing, List::new(), &["be1"]);
    peer.until_live().await;
    assert_eq!(peer.list.len(), 100);
    // One comes, one leaves, one that was never there goes.
    site.edit(vec![
        activate(&user(1), "be1!p", ""),
        activate(&user(0), "be2!p", ""),
        delete(&user(2)),
    ])
    .await;
    peer.drain().await;
    assert_eq!(peer.list.len(), 100);
    assert!(peer.list.contains_key(&crate::site::name(&user(1))));
    let (place, list) = (peer.place(), peer.list.clone());
    drop(peer);
    // Over an outage: one that passes through another host, and one that leaves for good.
    site.edit(vec![
        activate(&user(3), "be2!p", ""),
        activate(&user(6), "be3!p", ""),
    ])
    .await;
    site.edit(vec![activate(&user(3), "be1!p", "")]).await;
    let mut peer = Peer::begin(site.client().await, place, list, &["be1"]);
    peer.until(|event| matches!(event, ResyncEvent::Log { .. }))
        .await;
    peer.until_live().await;
    assert_eq!(peer.list.len(), 99);
    let unknown = ResyncFrom::Place {
        epoch: [9; 16],
        sequence: 5,
    };
    let mut peer = Peer::begin(site.client().await, unknown, peer.list.clone(), &["be1"]);
    peer.until(|event| matches!(event, ResyncEvent::Full { .. }))
        .await;
    peer.until_live().await;
    assert_eq!(peer.list.len(), 99);
}

#[tokio::test]
async fn a_client_ahead_of_its_owner_makes_it_fork() {
    let site = Site::start().await;
    site.fill(50).await;
    let mut other = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    other.until_live().await;
    let old = site.store.current().epoch().0;
    let ahead = ResyncFrom::Place {
        epoch: old,
        sequence: 60,
    };
    let mut list = list_of(&site.store.current());
    list.insert(
        crate::site::name("user.lost"),
        crate::site::active("be1!p", ""),
    );
    let mut peer = Peer::begin(site.client().await, ahead, list, &[]);
    let digest = peer
        .until(|event| matches!(event, ResyncEvent::Digest { .. }))
        .await;
    let ResyncEvent::Digest { buckets, .. } = digest else {
        unreachable!()
    };
    let new = site.store.current().epoch().0;
    assert_ne!(new, old);
    assert_eq!((peer.epoch, peer.forks.as_slice()), (new, &[(old, 50)][..]));
    peer.compare(buckets).await;
    let from = ResyncFrom::Place {
        epoch: new,
        sequence: 50,
    };
    peer.resync.resync(from, &[]).unwrap();
    peer.until_live().await;
    assert_eq!(peer.list, list_of(&site.store.current()));
    // Who was there already is told in the stream.
    other
        .until(|event| matches!(event, ResyncEvent::Point { .. }))
        .await;
    assert_eq!((other.epoch, other.position), (new, Some(50)));
    // A place of the old epoch that both histories share is one to go on from.
    let shared = ResyncFrom::Place {
        epoch: old,
        sequence: 50,
    };
    let mut late = Peer::begin(site.client().await, shared, other.list.clone(), &[]);
    late.until(|event| matches!(event, ResyncEvent::Log { sequence: 50 }))
        .await;
    late.until_live().await;
}

#[tokio::test]
async fn silence_is_filled_with_points() {
    let site = Site::start_with(store::StoreConfig::default(), |config| {
        config.points_every = Duration::from_millis(20);
    })
    .await;
    site.fill(5).await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    peer.until_live().await;
    while peer.points < 5 {
        let event = peer.next().await.unwrap();
        assert!(
            matches!(event, ResyncEvent::Point { sequence: 5, .. }),
            "{event:?}"
        );
    }
}

/// What an UPDATE session has always sent, octet by octet.
#[tokio::test]
async fn a_stock_slave_sees_nothing_new() {
    let site = Site::start_with(store::StoreConfig::default(), |config| {
        config.points_every = Duration::from_millis(5);
    })
    .await;
    site.fill(3).await;
    let mut stock = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    let login = b"A AUTHENTICATE \"PLAIN\" \"AGZlAHNlY3JldA==\"\r\nU UPDATE\r\n";
    stock.write_all(login).await.unwrap();
    let mut expected = Vec::new();
    encode::ok(&mut expected, "A", "Authenticated");
    for (name, entry) in list_of(&site.store.current()) {
        encode::entry_line(&mut expected, "U", &name, &entry);
    }
    encode::ok(&mut expected, "U", "streaming starts");
    let mut heard = Vec::new();
    read_until(&mut stock, &mut heard, b"starts\"\r\n").await;
    site.edit(vec![delete(&user(1))]).await;
    encode::delete_line(&mut expected, "U", &crate::site::name(&user(1)));
    // A fork, too, is nobody's business here.
    site.store.new_epoch().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stock.write_all(b"N NOOP\r\n").await.unwrap();
    encode::ok(&mut expected, "N", "Noop done");
    read_until(&mut stock, &mut heard, b"Noop done\"\r\n").await;
    let text = String::from_utf8(heard).unwrap();
    let (banner, stream) = text.split_once("\"(master)\"\r\n").unwrap();
    assert_eq!(stream, String::from_utf8(expected).unwrap());
    assert!(
        banner.contains("* RESYNC \"1\"\r\n* OK MUPDATE "),
        "{banner}"
    );
}

async fn read_until(stream: &mut TcpStream, heard: &mut Vec<u8>, end: &[u8]) {
    while !heard.ends_with(end) {
        assert_ne!(stream.read_buf(heard).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_barrier_stands_behind_lines_and_point() {
    let site = Site::start().await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    peer.until_live().await;
    for number in 0..50 {
        site.edit(vec![reserve(&user(number), "be1!p")]).await;
        let asked = peer.resync.barrier().unwrap();
        peer.until(|event| *event == ResyncEvent::Line(Update::Reached(asked)))
            .await;
        let sequence = u64::try_from(number).unwrap() + 1;
        assert_eq!(peer.position, Some(sequence));
        assert_eq!(peer.list.len(), number + 1);
    }
}
