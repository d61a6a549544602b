//! What tells a store from a copy of it (`docs/store-format.md`, "Token").

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::file::{FileSystem, Identity, Open, TEMPORARY, read_full};
use crate::ids::Token;

/// Name of the file.
pub(crate) const FILE_NAME: &str = "token";

/// Longest file that is read, in octets.
const FILE_BYTES_MAX: usize = 4096;

/// Whether the directory is the one that a store was last used in; if not, why.
pub(crate) fn check(fs: &dyn FileSystem, dir: &Path, token: Token) -> Result<(), String> {
    let path = dir.join(FILE_NAME);
    let content = match read(fs, &path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err("its token is missing".to_owned());
        }
        Err(error) => return Err(format!("its token can't be read: {error}")),
    };
    let here = fs.identity(&path);
    let here = here.map_err(|error| format!("its token can't be examined: {error}"))?;
    let (number, there) = parse(&content).ok_or("its token is damaged")?;
    if number != token {
        return Err("its token is that of another store, or of another time".to_owned());
    }
    if there.machine != here.machine {
        return Err(format!("it was last used on machine {}", there.machine));
    }
    // Devices are numbered anew when a machine starts.
    let same_device = there.device == here.device || there.boot != here.boot;
    let same_file = (there.inode, there.born) == (here.inode, here.born);
    if !same_file || !same_device {
        return Err("its token is a copy".to_owned());
    }
    Ok(())
}

/// Makes a directory the one that a store is used in.
pub(crate) fn write(fs: &dyn FileSystem, dir: &Path, token: Token) -> io::Result<()> {
    let path = dir.join(FILE_NAME);
    let temporary = path.with_added_extension(TEMPORARY);
    let mut file = fs.open(&temporary, Open::Create)?;
    let content = print(token, &fs.identity(&temporary)?);
    file.write_at(content.as_bytes(), 0)?;
    file.sync()?;
    fs.rename(&temporary, &path)?;
    fs.sync_dir(dir)
}

fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path, Open::Read)?;
    let mut content = vec![0; FILE_BYTES_MAX];
    let filled = read_full(&*file, &mut content, 0)?;
    content.truncate(filled);
    Ok(content)
}

fn print(Token(number): Token, identity: &Identity) -> String {
    let Identity {
        device,
        inode,
        born,
        machine,
        boot,
    } = identity;
    format!(
        "mupdate-token 1\nnumber {number:032x}\nmachine {machine}\nboot {boot}\ndevice {device}\ninode {inode}\nborn {born}\n"
    )
}

/// Only what [`print`] could have printed is a token.
fn parse(content: &[u8]) -> Option<(Token, Identity)> {
    let text = std::str::from_utf8(content).ok()?;
    let mut lines = text.lines();
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    field("mupdate-token")?;
    let number = u128::from_str_radix(field("number")?, 16).ok()?;
    let token = Token(number.try_into().ok()?);
    let identity = Identity {
        machine: field("machine")?.to_owned(),
        boot: field("boot")?.to_owned(),
        device: field("device")?.parse().ok()?,
        inode: field("inode")?.parse().ok()?,
        born: field("born")?.parse().ok()?,
    };
    (print(token, &identity) == text).then_some((token, identity))
}
