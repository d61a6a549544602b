//! Versions that are held on to are few, and not for long.

use std::time::Duration;

use client::{ResyncEvent, ResyncFrom};
use store::StoreConfig;

use crate::peer::{List, Peer};
use crate::site::{Site, batch, list_of};
use crate::streams::random_edit;
use rand::SeedableRng;
use rand::rngs::StdRng;

const UNKNOWN: ResyncFrom = ResyncFrom::Place {
    epoch: [7; 16],
    sequence: 7,
};

async fn answer(site: &Site) -> (Peer, ResyncEvent) {
    let mut peer = Peer::begin(site.client().await, UNKNOWN, List::new(), &[]);
    let event = peer
        .until(|event| !matches!(event, ResyncEvent::History { .. }))
        .await;
    (peer, event)
}

#[tokio::test]
async fn compares_are_bounded_in_number() {
    let site = Site::start().await;
    site.fill(4000).await;
    let mut comparing = Vec::new();
    for _ in 0..32 {
        let (peer, event) = answer(&site).await;
        assert!(matches!(event, ResyncEvent::Digest { .. }), "{event:?}");
        comparing.push(peer);
    }
    // One more gets everything, from no version in particular, and still only true points.
    let store = site.store.clone();
    let editor = tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..2000 {
            let edits = vec![random_edit(&mut rng, 4000)];
            store.edit(batch(edits)).await.unwrap();
        }
    });
    let (mut further, event) = answer(&site).await;
    assert!(matches!(event, ResyncEvent::Full { .. }), "{event:?}");
    further.until_live().await;
    editor.await.unwrap();
    further.drain().await;
    assert_eq!(further.list, list_of(&site.store.current()));
    // Whoever leaves makes room.
    drop(comparing);
    loop {
        let (_, event) = answer(&site).await;
        if matches!(event, ResyncEvent::Digest { .. }) {
            break;
        }
    }
}

#[tokio::test]
async fn compares_are_bounded_in_time() {
    let site = Site::start_with(StoreConfig::default(), |config| {
        config.compare_timeout = Duration::from_millis(100);
    })
    .await;
    site.fill(10).await;
    let (mut peer, event) = answer(&site).await;
    assert!(matches!(event, ResyncEvent::Digest { .. }), "{event:?}");
    let end = peer.next().await.unwrap_err();
    assert!(
        matches!(end, client::Error::Closed | client::Error::Io(_)),
        "{end:?}"
    );
}

/// The history behind a compare stays as long as it lasts, and up to the hard bound only.
#[tokio::test]
async fn a_compare_outlives_the_history_but_not_its_hard_bound() {
    let small = StoreConfig {
        history_changes_max: 20,
        ..StoreConfig::default()
    };
    for (changes, survives) in [(100, true), (1000, false)] {
        let site = Site::start_with(small.clone(), |_| {}).await;
        site.fill(30).await;
        let (mut peer, event) = answer(&site).await;
        let ResyncEvent::Digest {
            sequence, buckets, ..
        } = event
        else {
            panic!("{event:?}")
        };
        peer.compare(buckets).await;
        let mut rng = StdRng::seed_from_u64(4);
        for _ in 0..changes {
            site.edit(vec![random_edit(&mut rng, 30)]).await;
        }
        let from = ResyncFrom::Place {
            epoch: peer.epoch,
            sequence,
        };
        peer.resync.resync(from, &[]).unwrap();
        if survives {
            peer.until_live().await;
            assert_eq!(peer.list, list_of(&site.store.current()));
            continue;
        }
        let end = loop {
            match peer.next().await {
                Ok(ResyncEvent::Point { .. }) => panic!("a point without its history"),
                Ok(_) => {}
                Err(end) => break end,
            }
        };
        assert!(
            matches!(end, client::Error::Closed | client::Error::Io(_)),
            "{end:?}"
        );
    }
}
