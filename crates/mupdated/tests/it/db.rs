//! `mupdatectl db` on the files that Cyrus wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cyrusdb/tests/vectors");

fn db(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mupdatectl"))
        .arg("db")
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

fn files(extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(VECTORS)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn copy(vector: &str, dir: &Path) -> String {
    let path = dir.join("copy.db");
    fs::copy(Path::new(VECTORS).join(vector), &path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn show_prints_the_listing_of_every_vector_and_leaves_it_alone() {
    let listings = files("txt");
    assert_eq!(listings.len(), 14);
    for listing in listings {
        let file = listing.with_extension("db");
        let before = fs::read(&file).unwrap();
        let output = db(&["show", file.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stdout == fs::read(&listing).unwrap(),
            "{}",
            listing.display()
        );
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn show_with_a_prefix_and_get() {
    let file = format!("{VECTORS}/10-murder-361.db");
    let output = db(&["show", &file, "--prefix", "Nuser\\x1falice"]);
    let lines: Vec<String> = said(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("Nuser\\x1falice")));
    let output = db(&["get", &file, "Nuser\\x1fbob"]);
    let value = "%(T erz P part2 S backend2.example.com M 1795300713 A %())\n";
    assert_eq!(said(&output), value);
    let output = db(&["get", &file, "Nuser\\x1fnobody"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_says_sound_unclean_or_where_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let file = copy("04-changes.db", dir.path());
    let output = db(&["check", &file]);
    assert!(
        output.status.success() && said(&output).contains("sound"),
        "{output:?}"
    );
    let output = db(&["check", &format!("{VECTORS}/07-dirty-killed.db")]);
    assert!(
        output.status.success() && said(&output).contains("unclean"),
        "{output:?}"
    );
    let mut content = fs::read(&file).unwrap();
    content[5000] ^= 1;
    fs::write(&file, content).unwrap();
    let output = db(&["check", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("damaged at offset 0x1"),
        "{output:?}"
    );
    let output = db(&["check", &format!("{VECTORS}/20-skiplist.db")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("cvt_cyrusdb"), "{output:?}");
}

#[test]
fn checkpoint_keeps_the_content_and_respects_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let file = copy("04-changes.db", dir.path());
    let before = fs::read(&file).unwrap();
    let later = (jiff::Zoned::now().hour() + 6) % 24;
    let closed = format!("{later:02}:00-{later:02}:59");
    let output = db(&["checkpoint", &file, "--window", &closed]);
    assert!(
        output.status.success() && said(&output).contains("nothing done"),
        "{output:?}"
    );
    assert_eq!(fs::read(&file).unwrap(), before);
    let output = db(&["checkpoint", &file, "--window", "00:00-24:00"]);
    assert!(
        output.status.success() && said(&output).contains("generation 2"),
        "{output:?}"
    );
    let after = fs::read(&file).unwrap();
    assert!(after.len() < before.len());
    let output = db(&["show", &file]);
    assert_eq!(
        output.stdout,
        fs::read(format!("{VECTORS}/04-changes.txt")).unwrap()
    );
    let output = db(&["checkpoint", &file]);
    assert!(said(&output).contains("already"), "{output:?}");
    assert_eq!(fs::read(&file).unwrap(), after);
    let output = db(&["checkpoint", &file, "--window", "late"]);
    assert_eq!(output.status.code(), Some(64));
}
