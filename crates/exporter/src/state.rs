//! The state file: how far the export has come, and in which file (`docs/exporter.md`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cyrusdb::file::FileId;
use cyrusdb::twoskip::Identity;
use store::{Epoch, Sequence};
use thiserror::Error;

const FIRST_LINE: &str = "mupdate-export 1";
/// A state file is far shorter.
const BYTES_MAX: usize = 4096;

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The store's history,
    pub epoch: Epoch,
    /// and the change in it up to which all is in the file,
    pub sequence: Sequence,
    /// when the file was in this state.
    pub identity: Identity,
    /// When this was so, in Unix seconds: what others write into the file later is later.
    pub exported: u64,
    /// Checksum of the settings that decide what is in the file.
    pub settings: u32,
}

/// Why a state file is of no use; then everything is compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidState {
    /// It can't be read.
    #[error("can't read it: {0}")]
    Io(#[from] io::Error),
    /// Its checksum is wrong, or it has another form.
    #[error("it is damaged or has another form")]
    Form,
}

impl State {
    /// Reads a state file; `None` if there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, InvalidState> {
        let content = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if content.len() > BYTES_MAX {
            return Err(InvalidState::Form);
        }
        let text = String::from_utf8(content).map_err(|_| InvalidState::Form)?;
        Self::parse(&text).map(Some).ok_or(InvalidState::Form)
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        lines.next().filter(|&first| first == FIRST_LINE)?;
        let mut field = |name: &str| {
            let (found, value) = lines.next()?.split_once(' ')?;
            (found == name).then(|| value.to_owned())
        };
        let epoch = u128::from_str_radix(&field("epoch")?, 16).ok()?;
        let mut number = |name: &str| field(name)?.parse::<u64>().ok();
        let state = Self {
            epoch: Epoch(epoch.to_be_bytes()),
            sequence: Sequence(number("sequence")?),
            identity: Identity {
                file: FileId {
                    device: number("device")?,
                    inode: number("inode")?,
                },
                generation: number("generation")?,
                committed: number("committed")?,
            },
            exported: number("exported")?,
            settings: u32::try_from(number("settings")?).ok()?,
        };
        Some(state)
    }

    fn to_text(self) -> String {
        let Identity {
            file,
            generation,
            committed,
        } = self.identity;
        let body = format!(
            "{FIRST_LINE}\nepoch {}\nsequence {}\ndevice {}\ninode {}\ngeneration {generation}\n\
             committed {committed}\nexported {}\nsettings {}\n",
            self.epoch, self.sequence, file.device, file.inode, self.exported, self.settings
        );
        let sum = crc32fast::hash(body.as_bytes());
        format!("{body}crc {sum:08x}\n")
    }

    /// Replaces the state file: after a crash the old or the new one is there, whole.
    pub(crate) fn save(self, path: &Path) -> io::Result<()> {
        let temporary = path.with_added_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(self.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_seen() {
        let state = State {
            epoch: Epoch([0xab; 16]),
            sequence: Sequence(77),
            identity: Identity {
                file: FileId {
                    device: 1,
                    inode: 2,
                },
                generation: 3,
                committed: 4096,
            },
            exported: 1_795_300_713,
            settings: 0xffff_fffe,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert_eq!(State::load(&path).unwrap(), None);
        state.save(&path).unwrap();
        assert_eq!(State::load(&path).unwrap(), Some(state));
        let text = fs::read_to_string(&path).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let loaded = State::load(&path);
            // Of a hexadecimal checksum the case does not matter; no other change goes unseen.
            assert!(loaded.is_err(), "octet {at} of {text}: {loaded:?}");
            fs::write(&path, &text[..at]).unwrap();
            assert!(State::load(&path).is_err(), "cut to {at}");
        }
    }
}
