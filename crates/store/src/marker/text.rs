//! The marker's text.

use crate::marker::Marker;
use crate::{Epoch, Root, Sequence};

const HEAD: &str = "mupdate-state 1";
const CRC: &str = "crc32 ";

pub(super) fn print(marker: &Marker) -> String {
    let Marker {
        epoch,
        sequence,
        count,
        root,
        recovery,
    } = marker;
    let recovery = if *recovery { "yes" } else { "no" };
    let text = format!(
        "{HEAD}\nepoch {epoch}\nsequence {sequence}\ncount {count}\nroot {root}\nrecovery {recovery}\n"
    );
    let crc = crc32fast::hash(text.as_bytes());
    format!("{text}{CRC}{crc:08x}\n")
}

/// Only what [`print`] could have printed is a marker.
pub(super) fn parse(octets: &[u8]) -> Option<Marker> {
    let text = std::str::from_utf8(octets).ok()?;
    let mut lines = text.lines();
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    field("mupdate-state")?;
    let marker = Marker {
        epoch: Epoch(
            u128::from_str_radix(field("epoch")?, 16)
                .ok()?
                .to_be_bytes(),
        ),
        sequence: Sequence(field("sequence")?.parse().ok()?),
        count: field("count")?.parse().ok()?,
        root: Root(u128::from_str_radix(field("root")?, 16).ok()?),
        recovery: field("recovery")? == "yes",
    };
    (print(&marker) == text).then_some(marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_octet_is_noticed() {
        let marker = Marker {
            epoch: Epoch([7; 16]),
            sequence: Sequence(42),
            count: 17,
            root: Root(u128::MAX - 1),
            recovery: true,
        };
        let text = print(&marker);
        assert_eq!(parse(text.as_bytes()), Some(marker));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone().into_bytes();
                damaged[at] ^= 1 << bit;
                assert_eq!(parse(&damaged), None, "octet {at}, bit {bit}");
            }
            assert_eq!(parse(&text.as_bytes()[..at]), None);
        }
    }
}
