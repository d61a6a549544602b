//! Compares: whatever differs, the list ends as the server's.

use client::{ResyncEvent, ResyncFrom};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::peer::{List, Peer};
use crate::site::{Site, active, batch, list_of, name};
use crate::streams::random_edit;

const OWN_EPOCH: [u8; 16] = [0xEE; 16];

fn unknown_place() -> ResyncFrom {
    ResyncFrom::Place {
        epoch: OWN_EPOCH,
        sequence: 3,
    }
}

/// The list with about `count` differences.
fn altered(list: &List, rng: &mut StdRng, count: usize) -> List {
    let mut altered = list.clone();
    let names: Vec<_> = list.keys().cloned().collect();
    for _ in 0..count {
        let known = (!names.is_empty()).then(|| &names[rng.random_range(0..names.len())]);
        match (rng.random_range(0..3), known) {
            (0, Some(known)) => drop(altered.remove(known)),
            (1, Some(known)) => drop(altered.insert(known.clone(), active("other!p", "x\tlrs\t"))),
            _ => {
                let extra = format!(
                    "user.{:04}.extra{}",
                    rng.random_range(0..3000),
                    rng.random::<u16>()
                );
                altered.insert(name(&extra), active("be1!p", ""));
            }
        }
    }
    altered
}

/// Returns how many entries were told.
async fn compare(site: &Site, list: List, fold_to: Option<u32>, editing: bool) -> usize {
    let mut peer = Peer::begin(site.client().await, unknown_place(), list, &[]);
    let digest = peer
        .until(|event| matches!(event, ResyncEvent::Digest { .. }))
        .await;
    let ResyncEvent::Digest {
        sequence,
        buckets,
        sum,
    } = digest
    else {
        unreachable!()
    };
    assert_eq!(u64::from(sum.count), site.store.current().count());
    let store = site.store.clone();
    let editor = tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..if editing { 300 } else { 0 } {
            let edit = random_edit(&mut rng, 500);
            store.edit(batch(vec![edit])).await.unwrap();
        }
    });
    let told = peer.compare(fold_to.unwrap_or(buckets)).await;
    let from = ResyncFrom::Place {
        epoch: peer.epoch,
        sequence,
    };
    peer.resync.resync(from, &[]).unwrap();
    peer.until(|event| *event == ResyncEvent::Log { sequence })
        .await;
    peer.until_live().await;
    editor.await.unwrap();
    peer.drain().await;
    assert_eq!(peer.list, list_of(&site.store.current()));
    told
}

#[tokio::test]
async fn random_differences_are_found() {
    for (size, seed) in [(0, 1), (1, 2), (40, 3), (3000, 4), (3000, 5)] {
        let site = Site::start().await;
        site.fill(size).await;
        let mut rng = StdRng::seed_from_u64(seed);
        for count in [0, 1, 30, 2000] {
            let list = altered(&list_of(&site.store.current()), &mut rng, count);
            let told = compare(&site, list, None, false).await;
            assert!(told <= count, "{told} of {count}");
        }
        assert_eq!(site.sessions.resyncs().digest, 4);
    }
}

#[tokio::test]
async fn changes_during_a_compare_are_not_lost() {
    let site = Site::start().await;
    site.fill(2000).await;
    let mut rng = StdRng::seed_from_u64(6);
    for _ in 0..4 {
        let list = altered(&list_of(&site.store.current()), &mut rng, 100);
        compare(&site, list, None, true).await;
    }
}

#[tokio::test]
async fn fewer_buckets_find_the_same() {
    let site = Site::start().await;
    site.fill(3000).await;
    let mut rng = StdRng::seed_from_u64(8);
    for buckets in [16, 64] {
        let list = altered(&list_of(&site.store.current()), &mut rng, 20);
        compare(&site, list, Some(buckets), false).await;
    }
    compare(&site, List::new(), Some(16), false).await;
}

/// A user with more folders than one command can name.
#[tokio::test]
async fn a_crowded_bucket_is_told_whole() {
    let site = Site::start().await;
    let folders: Vec<_> = (0..62_000).map(|n| format!("user.big.f{n}")).collect();
    for some in folders.chunks(5000) {
        let edits = some.iter().map(|name| crate::site::reserve(name, "be1!p"));
        site.edit(edits.collect()).await;
    }
    let mut peer = Peer::begin(site.client().await, unknown_place(), List::new(), &[]);
    let digest = peer
        .until(|event| matches!(event, ResyncEvent::Digest { .. }))
        .await;
    let ResyncEvent::Digest { buckets, .. } = digest else {
        unreachable!()
    };
    let groups = peer.resync.groups(buckets).await.unwrap();
    let crowded = groups.iter().position(|sum| sum.count == 62_000).unwrap();
    let group = u32::try_from(crowded).unwrap();
    let sums = peer.resync.buckets(buckets, &[group]).await.unwrap();
    let within = sums[0].iter().position(|sum| sum.count == 62_000).unwrap();
    let named = client::Named {
        bucket: group * 16 + u32::try_from(within).unwrap(),
        hashes: vec![[1; 16]; 70_000],
    };
    let bucket = named.bucket;
    let mut entries = peer.resync.entries(buckets, vec![named]);
    let mut told = 0;
    while entries.next().await.unwrap().is_some() {
        told += 1;
    }
    assert_eq!(told, 62_000);
    let answer = entries.into_answer();
    assert_eq!((answer.whole, answer.unknown.len()), (vec![bucket], 0));
}

#[tokio::test]
async fn what_is_not_there_cannot_be_asked_for() {
    let site = Site::start().await;
    site.fill(10).await;
    for wrong in 0..3 {
        let mut peer = Peer::begin(site.client().await, unknown_place(), List::new(), &[]);
        peer.until(|event| matches!(event, ResyncEvent::Digest { buckets: 16, .. }))
            .await;
        let refused = match wrong {
            0 => peer.resync.groups(32).await.map(|_| ()),
            1 => peer.resync.buckets(16, &[1]).await.map(|_| ()),
            _ => {
                let named = client::Named {
                    bucket: 16,
                    hashes: Vec::new(),
                };
                peer.resync
                    .entries(16, vec![named])
                    .next()
                    .await
                    .map(|_| ())
            }
        };
        assert!(refused.unwrap_err().is_refusal());
        // The compare goes on.
        assert_eq!(peer.resync.groups(16).await.unwrap().len(), 1);
    }
}
