//! Cyrus's own master, as Debian packages it.

use std::time::Duration;

use client::{Client, Listed, Login, Options, Timeouts};
use mupdate_tests::master::{Master, Program};
use proto::{Edit, EditKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::common::{List, Running, Site, active, name, wait_until};
use crate::murder::{random_edits, traps};

async fn client(master: &Master) -> Client {
    let login = Login::password("mupd", "secret".into());
    let options = Options::new(login, Timeouts::each(Duration::from_mins(1)));
    Client::connect("127.0.0.1", master.port(), &options)
        .await
        .unwrap()
}

async fn list(client: &mut Client) -> List {
    let mut list = List::new();
    let mut listing = client.list(None);
    while let Some(listed) = listing.next().await.unwrap() {
        if let Listed::Mailbox { name, entry } = listed {
            list.insert(name, entry);
        }
    }
    list
}

/// Does what Cyrus survives: DEACTIVATE and DELETE of what is not there end its process.
async fn edit(client: &mut Client, known: &List, edit: &Edit) {
    let done = match &edit.kind {
        EditKind::Activate { location, acl } => client.activate(&edit.mailbox, location, acl).await,
        EditKind::Reserve { location } => client.reserve(&edit.mailbox, location).await,
        EditKind::Delete if known.contains_key(&edit.mailbox) => client.delete(&edit.mailbox).await,
        EditKind::Delete | EditKind::Deactivate { .. } => return,
    };
    // A NO is an answer like another.
    assert!(done.is_ok() || done.unwrap_err().is_refusal());
}

async fn drained(slave: &Running) {
    loop {
        wait_until("a live link", || {
            slave.slave.status().phase == slave::Phase::Live
        })
        .await;
        if slave.slave.barrier().await.is_ok() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_that_of_a_cyrus_master() {
    let mut master = Master::start(Program::Cyrus, &[]).unwrap();
    let mut talking = client(&master).await;
    let site = Site::new(master.port());
    let mut slave = site.start().await;
    let names = traps();
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..15 {
        match round % 5 {
            2 => {
                slave.stop().await;
                slave = site.start().await;
            }
            4 => {
                master.kill().unwrap();
                master.launch().unwrap();
                talking = client(&master).await;
            }
            _ => {}
        }
        let count = rng.random_range(1..30);
        for wish in random_edits(&mut rng, &names, count) {
            let known = list(&mut talking).await;
            edit(&mut talking, &known, &wish).await;
        }
        drained(&slave).await;
        slave.slave.confirm_deletes().await.unwrap();
        assert_eq!(slave.list(), list(&mut talking).await, "round {round}");
    }
    assert!(slave.slave.status().dumps > 1);

    // Streamed at the latest with the NOOP, though Cyrus waits five seconds by itself.
    let acl = active("be1!p").acl().unwrap().clone();
    let location = active("be1!p").location().clone();
    talking
        .activate(&name("user.last"), &location, &acl)
        .await
        .unwrap();
    slave.slave.barrier().await.unwrap();
    assert!(slave.has("user.last"));
    slave.stop().await;
    master.stop().unwrap();
}
