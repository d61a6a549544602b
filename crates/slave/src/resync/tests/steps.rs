//! What a stream has said and what has still to be done about it, step by step.

use super::*;

fn line(text: &str, entry: Option<Entry>) -> (MailboxName, Option<Entry>) {
    (name(text), entry)
}

fn on(server: &str) -> Entry {
    Entry::Active {
        location: Location::try_from(format!("{server}!p").as_bytes()).unwrap(),
        acl: Acl::try_from(b"anyone\tlrs\t".as_slice()).unwrap(),
    }
}

/// A course behind LOG, over a list with some mailboxes.
async fn course(guarded: bool, mailboxes: &[&str]) -> (Course, Arc<Version>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let edits = mailboxes.iter().map(|text| {
        let Entry::Active { location, acl } = on("be1") else {
            unreachable!()
        };
        let kind = EditKind::Activate { location, acl };
        let mailbox = name(text);
        Edit { mailbox, kind }
    });
    let origin = origin("test");
    store
        .edit(Batch {
            origin,
            edits: edits.collect(),
        })
        .await
        .unwrap();
    let mut course = Course::new(guarded);
    course.history(Epoch([7; 16]), Vec::new());
    course.log().unwrap();
    (course, store.current(), dir)
}

#[tokio::test]
async fn what_a_resync_deletes_waits_for_the_point_and_so_does_the_place() {
    let (mut course, version, _dir) = course(false, &["a", "b", "c"]).await;
    for (name, entry) in [line("a", None), line("b", None), line("d", Some(on("be2")))] {
        course.line(&version, name, entry).unwrap();
    }
    course.position(Sequence(5)).unwrap();
    let parts = course.take();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].wishes, [line("d", Some(on("be2")))]);
    assert!(parts[0].deletions.is_empty() && parts[0].reached.is_none());

    // A later line ends the waiting.
    course.line(&version, name("a"), Some(on("be3"))).unwrap();
    course.point(Sequence(6), Sum::default()).unwrap();
    course.line(&version, name("c"), None).unwrap();
    let parts = course.take();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].wishes, [line("a", Some(on("be3")))]);
    assert_eq!(parts[0].deletions, HashSet::from([name("b")]));
    let reached = parts[0].reached.as_ref().unwrap();
    assert!(reached.place.sequence == Sequence(6) && reached.continues);
    assert_eq!(parts[1].wishes, [line("c", None)]);
    assert!(parts[1].reached.is_none());
}

#[tokio::test]
async fn a_line_behind_a_point_that_is_not_carried_out_yet_counts() {
    let (mut course, version, _dir) = course(false, &["a", "b"]).await;
    course.line(&version, name("a"), None).unwrap();
    course.point(Sequence(6), Sum::default()).unwrap();
    course.line(&version, name("a"), Some(on("be2"))).unwrap();
    course.point(Sequence(7), Sum::default()).unwrap();
    let parts = course.take();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].wishes, [line("a", Some(on("be2")))]);
    assert!(parts[0].deletions.is_empty());
    assert_eq!(
        parts[0].reached.as_ref().unwrap().place.sequence,
        Sequence(7)
    );
}

#[tokio::test]
async fn behind_one_that_follows_another_deletions_always_wait_for_a_point() {
    let (mut course, version, _dir) = course(true, &["a", "b"]).await;
    course.point(Sequence(1), Sum::default()).unwrap();
    course.take();
    course.line(&version, name("a"), None).unwrap();
    course.position(Sequence(2)).unwrap();
    assert!(course.take().is_empty() && course.defers());
    course.hurry();
    let parts = course.take();
    assert_eq!(parts[0].deletions, HashSet::from([name("a")]));
    assert_eq!(
        parts[0].reached.as_ref().unwrap().place.sequence,
        Sequence(2)
    );
    assert!(!course.defers());
}

#[tokio::test]
async fn what_comes_at_the_wrong_time_is_refused() {
    let mut course = Course::new(false);
    assert!(course.log().is_err(), "no history");
    assert!(course.position(Sequence(1)).is_err());
    assert!(course.point(Sequence(1), Sum::default()).is_err());
    course.history(Epoch([7; 16]), Vec::new());
    assert!(course.point(Sequence(1), Sum::default()).is_err());
    course.compare().unwrap();
    assert!(course.position(Sequence(1)).is_err());
    course.log().unwrap();
    assert!(course.log().is_err() && course.compare().is_err());
}
