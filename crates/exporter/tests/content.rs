//! What is in the file: local records, reverse ACLs, order, two names for one key.

#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use cyrusdb::mailboxes::KeyStyle;
use exporter::StyleSetting;
use proto::Edit;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use support::{Site, activate, delete, name, reserve};

/// The records of a unified server: its own mailboxes in every state, and what goes with them.
const LOCAL: [(&[u8], &[u8]); 8] = [
    (
        b"Nuser\x1fhome",
        b"%(T e I 4f2c P default V 1 M 1 A %(home lrs))",
    ),
    (
        b"I4f2c",
        b"%(N user\x1fhome T e P default M 1 A %(home lrs))",
    ),
    (b"Jx1", b"4f2c"),
    (
        b"Nuser\x1fmoving",
        b"%(T erm S b1.test P default M 1 A %(moving lrs))",
    ),
    (
        b"NDELETED\x1fuser\x1fgone\x1f5F3C1A2B",
        b"%(T ed I 77 P default M 1 A %(gone lrs))",
    ),
    (b"Nuser\x1fbetween", b"%(T ei M 1 A %())"),
    (
        b"Nuser\x1funique",
        b"%(T er I abc S b1.test P p M 1 A %(unique lrs))",
    ),
    (b"Nuser\x1fown", b"%(T er S here.test P p M 1 A %(own lrs))"),
];

#[tokio::test(flavor = "multi_thread")]
async fn local_records_of_a_unified_server_are_kept_octet_by_octet() {
    let mut site = Site::new();
    site.config.own_server = Some(b"here.test".to_vec());
    site.config.misfit = exporter::Misfit::MoveAside;
    let lines: Vec<u8> = LOCAL
        .iter()
        .flat_map(|(key, value)| [key, b"\t".as_slice(), value, b"\n"].concat())
        .collect();
    let lines = String::from_utf8(lines).unwrap();
    let file = &site.config.mailboxes_db;
    site.make_empty();
    site.cyrus.dbtool(file, &["set"], &lines).unwrap();
    let stale = "Nuser\x1fremote\t%(T er P p S b1.test M 1 A %())\n";
    site.cyrus.dbtool(file, &["set"], stale).unwrap();

    site.edit(vec![
        activate("user.home", "b1.test!p", "x\tl\t"),
        activate("user.own", "here.test!p", "own\tlrs\t"),
        activate("user.elsewhere", "b2.test!p", "x\tl\t"),
        activate("user.made", "here.test!p", "made\tl\t"),
    ])
    .await;
    let exporter = site.started().await;
    // In the comparison, in the live stream, and in a comparison again.
    let mut mailboxes: Vec<Edit> = ["home", "moving", "unique", "own"]
        .iter()
        .flat_map(|user| {
            let name = format!("user.{user}");
            [
                reserve(&name, "b9.test!p"),
                activate(&name, "b9.test!p", ""),
                delete(&name),
            ]
        })
        .collect();
    for gone in ["user.between", "DELETED.user.gone.5F3C1A2B"] {
        mailboxes.push(reserve(gone, "b9.test!p"));
        mailboxes.push(delete(gone));
        mailboxes.push(activate(gone, "here.test!p", ""));
    }
    mailboxes.push(activate("user.elsewhere", "b3.test!p", "x\tl\t"));
    site.export(&exporter, mailboxes).await;
    exporter.shutdown().await;
    std::fs::remove_file(&site.config.state_file).unwrap();
    site.started().await.shutdown().await;

    let mut found = site.content();
    let elsewhere = found.remove(b"Nuser\x1felsewhere".as_slice()).unwrap();
    assert!(elsewhere.starts_with(b"%(T er P p S b3.test "));
    let wanted: BTreeMap<Vec<u8>, Vec<u8>> = LOCAL
        .iter()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(found, wanted);
    site.cyrus.assert_consistent(file);
}

/// What an XFER leaves behind on the host that the mailbox has left: who looks for it there must find where it is.
#[tokio::test(flavor = "multi_thread")]
async fn tombstones_give_way_to_mailboxes_elsewhere() {
    let mut site = Site::new();
    site.config.own_server = Some(b"here.test".to_vec());
    let file = site.config.mailboxes_db.clone();
    let gone = [
        ("user.one", "ed I 11"),
        ("user.two", "ei I 12"),
        ("user.three", "ed I 13"),
        ("user.four", "ed I 14"),
    ];
    let lines = gone.map(|(name, kind)| {
        let key = name.replace('.', "\x1f");
        format!("N{key}\t%(T {kind} P default V 1 M 1)\n")
    });
    site.make_empty();
    let index = "I11\t%(N user\x1fone T ed M 1)\n";
    let lines = format!("{index}{}", lines.concat());
    site.cyrus.dbtool(&file, &["set"], &lines).unwrap();
    let elsewhere = |name: &str| activate(name, "b1.test!p", "x\tl\t");
    site.edit(vec![elsewhere("user.one"), elsewhere("user.two")])
        .await;
    let exporter = site.started().await;
    let places = |site: &Site| -> Vec<String> {
        let content = site.content();
        let value = |(name, _): &(&str, &str)| {
            let key = format!("N{}", name.replace('.', "\x1f")).into_bytes();
            let value = String::from_utf8_lossy(content.get(&key).unwrap()).into_owned();
            value.split(" M ").next().unwrap().to_owned()
        };
        assert!(content.contains_key(b"I11".as_slice()));
        gone.iter().map(value).collect()
    };
    let remote = "%(T er P p S b1.test";
    let (three, four) = ("%(T ed I 13 P default V 1", "%(T ed I 14 P default V 1");
    assert_eq!(places(&site), [remote, remote, three, four]);
    let live = vec![elsewhere("user.three"), reserve("user.four", "b1.test!p")];
    site.export(&exporter, live).await;
    assert_eq!(places(&site), [remote, remote, remote, four]);
    exporter.shutdown().await;
    site.cyrus.assert_consistent(&file);
}

/// The index keys for a list of users' mailboxes with an ACL of the owner and two others.
fn index(users: &[&str]) -> BTreeSet<Vec<u8>> {
    let keys = users.iter().flat_map(|user| {
        ["eve", "anyone"].map(|id| format!("AU\x1e{id}\x1euser\x1f{user}").into_bytes())
    });
    keys.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn reverse_acls_are_kept_where_cyrus_keeps_them() {
    let site = Site::with("reverseacls: yes\n");
    let acl = |user: &str| format!("{user}\tlrs\teve\tl\tanyone\tlr\tcyrus\tlr\tbob\tp\t");
    let users = ["one", "two", "three"];
    let all = |acl: &dyn Fn(&str) -> String| -> Vec<Edit> {
        let edit = |user: &&str| activate(&format!("user.{user}"), "b1.test!p", &acl(user));
        users.iter().map(edit).collect()
    };
    site.edit(all(&acl)).await;
    let exporter = site.started().await;
    let keys = |start: &[u8]| -> BTreeSet<Vec<u8>> {
        let content = site.content();
        content
            .into_keys()
            .filter(|key| key.starts_with(start))
            .collect()
    };
    assert!(keys(b"A").is_empty());
    // Cyrus makes marker and index; from then on it is ours to keep.
    site.cyrus.run("ctl_cyrusdb", &["-r"], "").unwrap();
    site.becomes_equal().await;
    assert_eq!(keys(b"AS\x1e").len(), 1);
    assert_eq!(keys(b"AU\x1e"), index(&users));
    site.export(
        &exporter,
        vec![
            delete("user.two"),
            activate("user.four", "b1.test!p", &acl("four")),
        ],
    )
    .await;
    assert_eq!(keys(b"AU\x1e"), index(&["one", "three", "four"]));
    site.export(
        &exporter,
        vec![activate("user.one", "b2.test!p", "one\tlrs\tbob\tp\t")],
    )
    .await;
    assert_eq!(keys(b"AU\x1e"), index(&["three", "four"]));
    site.export(&exporter, vec![reserve("user.three", "b2.test!p")])
        .await;
    assert_eq!(keys(b"AU\x1e"), index(&["four"]));
    site.assert_equal();
    // Switched off: the marker goes, and we write no more.
    site.cyrus.configure("reverseacls: yes", "reverseacls: no");
    site.cyrus.run("ctl_cyrusdb", &["-r"], "").unwrap();
    site.becomes_equal().await;
    let before = keys(b"AU\x1e");
    site.export(
        &exporter,
        vec![activate("user.five", "b1.test!p", &acl("five"))],
    )
    .await;
    assert_eq!(keys(b"A"), before);
    exporter.shutdown().await;
}

/// Names with octets around the separators, in random comings and goings, with and without an
/// exporter running: position never matters, so nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_is_lost_in_any_order() {
    let mut names: Vec<String> = Vec::new();
    for octet in (0x20..=0x2f_u8)
        .chain(*b"^A0z~")
        .filter(|&octet| octet != b'.')
    {
        let octet = char::from(octet);
        for around in [
            "user.a#",
            "user.a#b",
            "user.a.b#c",
            "user.a#.b",
            "d.org!user.a#",
        ] {
            names.push(around.replace('#', &octet.to_string()));
        }
        names.push(format!("DELETED.user.a{octet}.5F3C1A2B"));
    }
    names.extend(
        [
            "user.a",
            "user.a.b",
            "user.a.b.c",
            "user.ab",
            "a",
            "N",
            "I",
            "d.org!a",
        ]
        .map(str::to_owned),
    );
    names.retain(|text| proto::MailboxName::try_from(text.as_bytes()).is_ok());
    let site = Site::new();
    let rng = &mut StdRng::seed_from_u64(7);
    for round in 0..25 {
        let before = some(rng, &names);
        site.edit(before).await;
        if round % 3 == 0 && site.config.state_file.exists() {
            std::fs::remove_file(&site.config.state_file).unwrap();
        }
        let exporter = site.started().await;
        assert_eq!(site.difference(), None, "round {round}");
        site.export(&exporter, some(rng, &names)).await;
        assert_eq!(site.difference(), None, "round {round}");
        exporter.shutdown().await;
    }
    site.assert_equal();
    let listed = site.cyrus.listed();
    for (name, _) in site.store.current().iter() {
        let text = String::from_utf8(name.to_vec()).unwrap();
        let quoted = format!("\"{}\"", text.replace('"', "\\\""));
        assert!(listed.contains(&quoted), "{text}: {listed}");
    }
}

fn some(rng: &mut impl Rng, names: &[String]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for mailbox in names {
        match rng.random_range(0..4) {
            0 => edits.push(delete(mailbox)),
            1 => edits.push(activate(mailbox, "b1.test!p", "anyone\tlrs\t")),
            2 if rng.random_ratio(1, 3) => edits.push(reserve(mailbox, "b2.test!p")),
            _ => {}
        }
    }
    edits
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_names_for_one_key_the_first_stays() {
    let mut site = Site::new();
    site.config.default_domain = Some(b"example.org".to_vec());
    let exporter = site.started().await;
    let at = |key: &[u8]| {
        let value = site.content().remove(key)?;
        let text = String::from_utf8(value).unwrap();
        Some(
            text.split(' ')
                .skip_while(|word| *word != "S")
                .nth(1)
                .unwrap()
                .to_owned(),
        )
    };
    let one = |mailbox: &str, server: &str| vec![activate(mailbox, &format!("{server}!p"), "")];
    let (domain, deleted) = (
        b"Nuser\x1fx".as_slice(),
        b"NDELETED\x1fuser\x1fx\x1f5F".as_slice(),
    );
    site.export(&exporter, one("example.org!user.x", "first"))
        .await;
    site.export(&exporter, one("user.x", "second")).await;
    site.export(&exporter, one("DELETED.user.x.5f", "first"))
        .await;
    site.export(&exporter, one("DELETED.user.x.005F", "second"))
        .await;
    site.export(&exporter, one("DELETED.user.x.5F", "third"))
        .await;
    let both = |wanted: &str| {
        assert_eq!(
            (at(domain), at(deleted)),
            (Some(wanted.into()), Some(wanted.into()))
        );
    };
    both("first");
    // The first also stays when it changes, over a restart, and in a comparison.
    site.export(&exporter, one("user.x", "second")).await;
    both("first");
    exporter.shutdown().await;
    std::fs::remove_file(&site.config.state_file).unwrap();
    let exporter = site.started().await;
    both("first");
    // When it goes, the next takes its place; the last to go takes the record along.
    site.export(
        &exporter,
        vec![delete("example.org!user.x"), delete("DELETED.user.x.5f")],
    )
    .await;
    both("second");
    site.export(&exporter, vec![delete("DELETED.user.x.5F")])
        .await;
    both("second");
    site.export(
        &exporter,
        vec![delete("user.x"), delete("DELETED.user.x.005F")],
    )
    .await;
    assert_eq!((at(domain), at(deleted)), (None, None));
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_files_are_kept_in_their_own_style() {
    let mut site = Site::new();
    site.config.style = StyleSetting::Fixed(KeyStyle::Plain);
    site.edit(vec![
        activate("user.joe^x", "b1.test!p", "joe\tlrs\t"),
        reserve("Nobel", "b1.test!p"),
    ])
    .await;
    let exporter = site.started().await;
    site.export(
        &exporter,
        vec![delete("Nobel"), activate("d.org!user.y", "b1.test", "")],
    )
    .await;
    let content = site.content();
    let keys: Vec<&[u8]> = content.keys().map(Vec::as_slice).collect();
    assert_eq!(keys, [b"d.org!user.y".as_slice(), b"user.joe^x"]);
    assert!(content[b"user.joe^x".as_slice()].starts_with(b"%(A %(joe lrs) P p S b1.test T r M "));
    assert!(site.store.current().get(&name("Nobel")).is_none());
    exporter.shutdown().await;
}
