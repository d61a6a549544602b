//! What goes bad after it was written is found.

use std::path::{Path, PathBuf};

use store::sim::SimDisk;
use store::{ScrubFinding, Scrubbed, Stepped};

use crate::common::{activate, batch, dir, group, open};

fn filled() -> (SimDisk, Stepped) {
    let disk = SimDisk::new();
    let mut stepped = open(&disk).unwrap();
    for i in 0..20 {
        let edits = (0..4).map(|j| activate(&format!("user.u{i}.f{j}"), "be1!p"));
        group(&mut stepped, &[batch(edits.collect())])
            .remove(0)
            .unwrap();
        if i % 8 == 7 {
            stepped.snapshotter.step().unwrap();
        }
    }
    (disk, stepped)
}

fn pass(stepped: &mut Stepped) -> Vec<ScrubFinding> {
    while stepped.scrubber.step() != Scrubbed::Done {}
    stepped.store.scrub_report().findings
}

fn files(disk: &SimDisk, kind: &str) -> Vec<PathBuf> {
    let mut files = disk.files();
    files.retain(|path| path.starts_with(dir()) && path.to_str().unwrap().contains(kind));
    files
}

fn flip(disk: &SimDisk, path: &Path, at: usize) {
    let mut content = disk.content(path);
    content[at] ^= 4;
    disk.put(path, content);
}

#[test]
fn a_sound_store_has_no_finding_and_all_of_it_is_read() {
    let (disk, mut stepped) = filled();
    assert_eq!(pass(&mut stepped), []);
    let report = stepped.store.scrub_report();
    let all = files(&disk, "log.")
        .into_iter()
        .chain(files(&disk, "snapshot."));
    let octets: usize = all.map(|path| disk.content(&path).len()).sum();
    assert_eq!(
        (report.passes, report.bytes),
        (1, u64::try_from(octets).unwrap())
    );
    // What is written meanwhile belongs to the next pass.
    stepped.scrubber.step();
    let more = [batch(vec![activate("user.more", "be1!p")])];
    group(&mut stepped, &more).remove(0).unwrap();
    assert_eq!(pass(&mut stepped), []);
    assert_eq!(stepped.store.scrub_report().passes, 2);
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let (disk, mut stepped) = filled();
    let whole: Vec<(PathBuf, Vec<u8>)> = files(&disk, "log.")
        .into_iter()
        .chain(files(&disk, "snapshot."))
        .map(|path| (path.clone(), disk.content(&path)))
        .collect();
    assert!(whole.len() > 5);
    let mut known = 0;
    // No more findings are remembered than a hundred.
    let octets: usize = whole.iter().map(|(_, content)| content.len()).sum();
    let step = octets / 80;
    for (path, content) in &whole {
        for at in (0..content.len()).step_by(step) {
            flip(&disk, path, at);
            let findings = pass(&mut stepped);
            let named = findings.iter().any(|finding| match finding {
                ScrubFinding::Damaged {
                    path: named,
                    offset,
                    ..
                } => named == path && *offset <= u64::try_from(at).unwrap(),
                _ => false,
            });
            assert!(named, "{} at {at}: {findings:?}", path.display());
            assert!(findings.len() <= 100);
            known = known.max(findings.len());
            disk.put(path, content.clone());
        }
    }
    assert!(known > 10);
    let passes = stepped.store.scrub_report().passes;
    pass(&mut stepped);
    let report = stepped.store.scrub_report();
    assert_eq!((report.passes, report.findings.len()), (passes + 1, known));
}

#[test]
fn a_file_that_can_not_be_read_is_named_and_one_that_is_gone_is_not() {
    let (disk, mut stepped) = filled();
    disk.fail_call(disk.calls() + 2, std::io::ErrorKind::Other);
    let findings = pass(&mut stepped);
    let first = files(&disk, "snapshot.").remove(0);
    assert!(
        matches!(&findings[..], [ScrubFinding::Unreadable { path, .. }] if *path == first),
        "{findings:?}"
    );
    stepped.scrubber.step();
    for path in files(&disk, "snapshot.") {
        store::FileSystem::remove(&disk, &path).unwrap();
    }
    assert_eq!(pass(&mut stepped).len(), 1);
}
