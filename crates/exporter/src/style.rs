//! Which style of keys to write where the file does not tell.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::KeyStyle;

/// Where distributions put Cyrus's programs.
const PLACES: [&str; 4] = [
    "/usr/lib/cyrus/bin",
    "/usr/lib/cyrus-imapd",
    "/usr/cyrus/bin",
    "/usr/sbin",
];
/// How long `cyr_info version` may take.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The style of the Cyrus that is installed here, if one is found: by name from 3.6 on.
pub(crate) fn installed() -> Option<KeyStyle> {
    let program = PLACES.map(|place| Path::new(place).join("cyr_info"));
    let program = program.iter().find(|path| path.is_file())?;
    let mut child = Command::new(program)
        .arg("version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let started = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if started.elapsed() > TIME_MAX {
            child.kill().ok()?;
            child.wait().ok()?;
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().ok()?;
    of_version(&String::from_utf8_lossy(&output.stdout))
}

/// `cyrus-imapd 3.6.1-…`, `3.0.18`, with or without more around it.
fn of_version(text: &str) -> Option<KeyStyle> {
    let numbers = text
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
    let version = (parts.next()??, parts.next()??);
    Some(if version >= (3, 6) {
        KeyStyle::ByName
    } else {
        KeyStyle::Plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_changed_with_3_6() {
        let style = |text| of_version(text);
        assert_eq!(style("Cyrus 3.6.1-4+deb12u3\n"), Some(KeyStyle::ByName));
        assert_eq!(style("cyrus-imapd 3.12.3"), Some(KeyStyle::ByName));
        assert_eq!(style("3.4.4"), Some(KeyStyle::Plain));
        assert_eq!(style("version: v2.5.17-x"), Some(KeyStyle::Plain));
        assert_eq!(style("no version"), None);
    }
}
