//! A server whose list is a stage of another's history.

use std::sync::Arc;

use client::{ResyncEvent, ResyncFrom};
use proto::Edit;
use store::{Epoch, Following, Place, Sequence, Sum};

use crate::peer::{List, Peer};
use crate::site::{Site, batch, delete, list_of, name, origin, reserve, user};

const OWNER: [u8; 16] = [0xAA; 16];

fn following(sequence: u64, expected: Option<Sum>) -> Following {
    Following {
        place: Place {
            epoch: Epoch(OWNER),
            sequence: Sequence(sequence),
        },
        forks: Arc::from([]),
        continues: true,
        expected,
    }
}

async fn follow(site: &Site, edits: Vec<Edit>, sequence: u64, expected: Option<Sum>) {
    let reached = Some(following(sequence, expected));
    let followed = site.store.follow(batch(edits), reached).await.unwrap();
    assert_eq!(followed.unwrap().exact, expected.is_some());
}

/// Says that the list is now exactly that of `sequence`.
async fn confirm(site: &Site, sequence: u64) {
    let sum = site.store.current().sum();
    follow(site, Vec::new(), sequence, Some(sum)).await;
}

fn at(sequence: u64) -> ResyncFrom {
    ResyncFrom::Place {
        epoch: OWNER,
        sequence,
    }
}

#[tokio::test]
async fn places_are_the_owners_and_points_only_where_it_said_so() {
    let site = Site::start().await;
    let edits = (0..20).map(|n| reserve(&user(n), "be1!p")).collect();
    follow(&site, edits, 1000, None).await;
    confirm(&site, 1000).await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    peer.until_live().await;
    assert_eq!((peer.epoch, peer.position), (OWNER, Some(1000)));
    // A chunk that ends nowhere exact is a position, and a point once the owner has said so.
    follow(&site, vec![reserve("user.x", "be1!p")], 1005, None).await;
    let event = peer
        .until(|event| !matches!(event, ResyncEvent::Line(_)))
        .await;
    assert_eq!(event, ResyncEvent::Position { sequence: 1005 });
    let points = peer.points;
    confirm(&site, 1007).await;
    let event = peer.next().await.unwrap();
    assert!(
        matches!(event, ResyncEvent::Point { sequence: 1007, .. }),
        "{event:?}"
    );
    assert_eq!(peer.points, points + 1);
    drop(peer);
    let mut late = Peer::begin(
        site.client().await,
        at(1005),
        list_of(&site.store.current()),
        &[],
    );
    late.until(|event| *event == ResyncEvent::Log { sequence: 1005 })
        .await;
    late.until_live().await;
    assert_eq!(late.position, Some(1007));
}

#[tokio::test]
async fn a_relay_that_is_behind_says_so() {
    let site = Site::start().await;
    follow(&site, vec![reserve(&user(1), "be1!p")], 1000, None).await;
    confirm(&site, 1000).await;
    let epoch = site.store.current().epoch();
    let mut peer = Peer::begin(site.client().await, at(1001), List::new(), &[]);
    let event = peer
        .until(|event| !matches!(event, ResyncEvent::History { .. }))
        .await;
    assert_eq!(event, ResyncEvent::Behind { sequence: 1000 });
    assert_eq!(site.sessions.resyncs().behind, 1);
    assert_eq!(site.store.current().epoch(), epoch);
    assert!(site.store.current().lineage().forks().is_empty());
}

#[tokio::test]
async fn held_entries_are_gone_for_resync_and_there_for_update() {
    let site = Site::start().await;
    let edits = (0..20).map(|n| reserve(&user(n), "be1!p")).collect();
    follow(&site, edits, 1000, None).await;
    confirm(&site, 1000).await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    peer.until_live().await;
    site.store
        .hold(origin(), &[name(&user(3)), name(&user(4))])
        .await
        .unwrap();
    confirm(&site, 1001).await;
    peer.drain().await;
    assert_eq!((peer.list.len(), peer.position), (18, Some(1001)));
    let mut fresh = Peer::begin(
        site.client().await,
        ResyncFrom::Nothing,
        List::new(),
        &["be1"],
    );
    fresh.until_live().await;
    assert_eq!(fresh.list.len(), 18);
    let mut digest = Peer::begin(
        site.client().await,
        ResyncFrom::Place {
            epoch: [1; 16],
            sequence: 1,
        },
        List::new(),
        &[],
    );
    digest
        .until(|event| matches!(event, ResyncEvent::Digest { .. }))
        .await;
    assert_eq!(digest.compare(16).await, 18);
    let mut stock = site.client().await.update(&[]);
    let mut told = 0;
    while stock.next().await.unwrap() != client::Update::DumpComplete {
        told += 1;
    }
    assert_eq!(told, 20);
    // A line about a held name ends that.
    follow(
        &site,
        vec![delete(&user(3)), reserve(&user(4), "be2!p")],
        1002,
        None,
    )
    .await;
    confirm(&site, 1002).await;
    fresh.drain().await;
    assert_eq!(fresh.list.len(), 18);
}

#[tokio::test]
async fn another_key_ends_the_stream() {
    let site = Site::start().await;
    follow(&site, vec![reserve(&user(1), "be1!p")], 1000, None).await;
    confirm(&site, 1000).await;
    let mut peer = Peer::begin(site.client().await, ResyncFrom::Nothing, List::new(), &[]);
    peer.until_live().await;
    site.store.adopt([5; 32]).await.unwrap();
    confirm(&site, 1001).await;
    let end = loop {
        match peer.next().await {
            Ok(ResyncEvent::Point { .. }) => panic!("a point under another key"),
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(
        matches!(end, client::Error::Closed | client::Error::Io(_)),
        "{end:?}"
    );
}
