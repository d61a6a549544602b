//! Values of mailboxes.

use proto::{Acl, AclRef, Entry, EntryRef, InvalidAcl, InvalidLocation, Location, ReservedBy};
use thiserror::Error;

use super::naming::KeyStyle;
use crate::dlist::{self, InvalidDlist, Value, write_text};

/// Flags of the text form of 2.3 and 2.4, as bits, and as letters since.
const TEXT_FLAGS: [(u32, u8); 4] = [(1, b'r'), (2, b'z'), (8, b'm'), (16, b'd')];

/// The value of one mailbox, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Letters of kind and flags.
    kind: Vec<u8>,
    server: Option<Vec<u8>>,
    partition: Option<Vec<u8>>,
    /// Identifier TAB rights TAB …
    acl: Vec<u8>,
    modified: Option<u64>,
    unique_id: bool,
}

/// Why a value can't be read as a mailbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// Neither form.
    #[error("not a mailbox's value: {0}")]
    Form(#[from] InvalidDlist),
    /// The server and partition are no location.
    #[error(transparent)]
    Location(#[from] InvalidLocation),
    /// The ACL can't be passed on.
    #[error(transparent)]
    Acl(#[from] InvalidAcl),
}

/// Why a record belongs to the host itself and is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Local {
    /// No flag `r`: a mailbox that lives here.
    NotRemote,
    /// Flag `m`: being moved away by this host.
    Moving,
    /// Flag `d`: the tombstone of a mailbox that lived here.
    Deleted,
    /// Flag `i`: between others, without a mailbox.
    Intermediate,
    /// A unique id, which only mailboxes that live here have.
    UniqueId,
    /// The server is this host.
    OwnServer,
    /// Not readable, so not ours.
    Unreadable,
}

impl Local {
    /// Whether the record is of no living mailbox, so that it gives way to a mailbox elsewhere: what an XFER leaves
    /// behind is a tombstone, and whoever looks for the mailbox here has to be told where it went.
    pub fn yields(self) -> bool {
        matches!(self, Self::Deleted | Self::Intermediate)
    }
}

impl Record {
    /// Reads a value of any series.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidRecord> {
        if value.first().is_some_and(u8::is_ascii_digit) {
            return Ok(Self::parse_text(value)?);
        }
        let mut record = Self {
            kind: Vec::new(),
            server: None,
            partition: None,
            acl: Vec::new(),
            modified: None,
            unique_id: false,
        };
        for (name, value) in dlist::parse(value)? {
            match (name.as_slice(), value) {
                (b"T", Value::Text(kind)) => record.kind = kind,
                (b"S", Value::Text(server)) => record.server = Some(server),
                (b"P", Value::Text(partition)) => record.partition = Some(partition),
                (b"M", Value::Text(time)) => record.modified = number(&time),
                (b"I", Value::Text(id)) => record.unique_id = !id.is_empty(),
                (b"A", Value::Pairs(pairs)) => record.acl = acl_text(&pairs),
                _ => {}
            }
        }
        Ok(record)
    }

    /// `FLAGS LOCATION ACL`, up to 2.4.
    fn parse_text(value: &[u8]) -> Result<Self, InvalidDlist> {
        let mut fields = value.splitn(3, |&octet| octet == b' ');
        let flags = fields.next().and_then(number);
        let flags = flags.and_then(|flags| u32::try_from(flags).ok());
        let flags = flags.ok_or(InvalidDlist {
            at: 0,
            what: "no flags",
        })?;
        let location = fields.next().unwrap_or_default();
        let letters = TEXT_FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
        let kind: Vec<u8> = letters.map(|&(_, letter)| letter).collect();
        let mut halves = location
            .splitn(2, |&octet| octet == b'!')
            .map(<[u8]>::to_vec);
        let (server, partition) = if kind.contains(&b'r') {
            (halves.next(), halves.next())
        } else {
            (None, Some(location.to_vec()))
        };
        Ok(Self {
            kind,
            server,
            partition,
            acl: fields.next().unwrap_or_default().to_vec(),
            modified: None,
            unique_id: false,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.kind.contains(&flag)
    }

    /// Whether it is a reservation.
    pub fn is_reserved(&self) -> bool {
        self.has(b'z')
    }

    /// When it was written, in Unix seconds; not known of 2.3 and 2.4.
    pub fn modified(&self) -> Option<u64> {
        self.modified
    }

    /// `identifier TAB rights TAB …`
    pub fn acl(&self) -> &[u8] {
        &self.acl
    }

    /// Why the record belongs to the host, whose own name is `own_server`; `None` if it was written
    /// by a slave.
    pub fn local(&self, own_server: Option<&[u8]>) -> Option<Local> {
        if self.has(b'm') {
            Some(Local::Moving)
        } else if self.has(b'd') {
            Some(Local::Deleted)
        } else if self.has(b'i') {
            Some(Local::Intermediate)
        } else if !self.has(b'r') {
            Some(Local::NotRemote)
        } else if self.unique_id {
            Some(Local::UniqueId)
        } else if own_server.is_some() && self.server.as_deref() == own_server {
            Some(Local::OwnServer)
        } else {
            None
        }
    }

    /// What the record says about the mailbox. A reservation does not tell which command made it.
    pub fn entry(&self) -> Result<Entry, InvalidRecord> {
        let mut text = self.server.clone().unwrap_or_default();
        if let Some(partition) = &self.partition {
            text.push(b'!');
            text.extend_from_slice(partition);
        }
        let location = Location::try_from(text.as_slice())?;
        if self.is_reserved() {
            return Ok(Entry::Reserved {
                location,
                by: ReservedBy::Reserve,
            });
        }
        let acl = Acl::try_from(self.acl.as_slice())?;
        Ok(Entry::Active { location, acl })
    }

    /// Whether the record says what `entry` does, leaving aside the time and how a reservation came
    /// about.
    pub fn says<'a>(&self, entry: impl Into<EntryRef<'a>>) -> bool {
        let entry = entry.into();
        self.entry().is_ok_and(|own| {
            let own = own.lend();
            own.location() == entry.location() && own.acl() == entry.acl()
        })
    }

    /// The value for an entry, written now (`modified`, Unix seconds).
    pub fn encode<'a>(style: KeyStyle, entry: impl Into<EntryRef<'a>>, modified: u64) -> Vec<u8> {
        let entry = entry.into();
        let acl_len = entry.acl().map_or(0, |acl| acl.as_bytes().len());
        let mut value = Vec::with_capacity(VALUE_BYTES + 2 * acl_len);
        value.extend_from_slice(b"%(");
        let reserved = matches!(entry, EntryRef::Reserved { .. });
        match style {
            KeyStyle::ByName => {
                value.extend_from_slice(if reserved { b"T erz " } else { b"T er " });
                write_place(entry, &mut value);
                write_time(modified, &mut value);
                value.push(b' ');
                write_acl(entry, &mut value);
            }
            KeyStyle::Plain => {
                write_acl(entry, &mut value);
                value.push(b' ');
                write_place(entry, &mut value);
                value.extend_from_slice(if reserved { b"T rz " } else { b"T r " });
                write_time(modified, &mut value);
            }
        }
        value.push(b')');
        value
    }
}

/// Octets of a value without its ACL, mostly.
const VALUE_BYTES: usize = 64;

fn write_acl(entry: EntryRef<'_>, value: &mut Vec<u8>) {
    value.extend_from_slice(b"A %(");
    for (number, (id, rights)) in (0..).zip(entry.acl().into_iter().flat_map(AclRef::entries)) {
        if number > 0 {
            value.push(b' ');
        }
        write_text(id, value);
        value.push(b' ');
        write_text(rights, value);
    }
    value.push(b')');
}

/// Partition and server, and a space behind each.
fn write_place(entry: EntryRef<'_>, value: &mut Vec<u8>) {
    if let Some(partition) = entry.location().partition() {
        value.extend_from_slice(b"P ");
        write_text(partition, value);
        value.push(b' ');
    }
    value.extend_from_slice(b"S ");
    write_text(entry.location().server(), value);
    value.push(b' ');
}

fn write_time(modified: u64, value: &mut Vec<u8>) {
    value.extend_from_slice(b"M ");
    value.extend_from_slice(modified.to_string().as_bytes());
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn acl_text(pairs: &dlist::Pairs) -> Vec<u8> {
    let mut acl = Vec::new();
    for (id, rights) in pairs {
        acl.extend_from_slice(id);
        acl.push(b'\t');
        acl.extend_from_slice(rights.text().unwrap_or_default());
        acl.push(b'\t');
    }
    acl
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(location: &str, acl: &str) -> Entry {
        Entry::Active {
            location: Location::try_from(location.as_bytes()).unwrap(),
            acl: Acl::try_from(acl.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn any_octets_in_an_acl_come_back() {
        let odd: &[&[u8]] = &[
            b"a(\tl(\tb\tr\t",
            b"\xa7(\t\xff(\tx\t)\t",
            b"%(\t{3+}\tNIL\tNIL\t",
            b"\"\t\\\t\r\n\t\t",
        ];
        for acl in odd {
            let location = Location::try_from(b"h!p".as_slice()).unwrap();
            let acl = Acl::try_from(*acl).unwrap();
            let entry = Entry::Active { location, acl };
            for style in [KeyStyle::Plain, KeyStyle::ByName] {
                let value = Record::encode(style, &entry, 1);
                assert!(
                    Record::parse(&value).unwrap().says(&entry),
                    "{}",
                    value.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn entries_are_written_as_cyrus_writes_them() {
        let entry = active("b1.test!default", "joe\tlrs\t");
        assert_eq!(
            Record::encode(KeyStyle::ByName, &entry, 1_795_300_713),
            b"%(T er P default S b1.test M 1795300713 A %(joe lrs))"
        );
        assert_eq!(
            Record::encode(KeyStyle::Plain, &entry, 1_795_301_095),
            b"%(A %(joe lrs) P default S b1.test T r M 1795301095)"
        );
        let reserved = Entry::Reserved {
            location: Location::try_from(b"b1.test".as_slice()).unwrap(),
            by: ReservedBy::Deactivate,
        };
        let value = Record::encode(KeyStyle::ByName, &reserved, 5);
        assert_eq!(value, b"%(T erz S b1.test M 5 A %())");
        let record = Record::parse(&value).unwrap();
        assert!(record.says(&reserved) && record.is_reserved());
        assert_eq!((record.modified(), record.local(None)), (Some(5), None));
    }

    #[test]
    fn what_is_written_says_the_same_when_read() {
        for location in ["b", "b!", "b!p", "b!with space"] {
            for acl in ["", "a\tl\t", "we\"ird x\tlrs\tp(1)%\t\t\u{e4}\tl\t"] {
                let entry = active(location, acl);
                for style in [KeyStyle::Plain, KeyStyle::ByName] {
                    let record = Record::parse(&Record::encode(style, &entry, 1)).unwrap();
                    assert_eq!(record.entry().unwrap(), entry);
                    assert!(!record.says(&active("other!p", acl)));
                }
            }
        }
    }

    #[test]
    fn text_form_of_2_4_is_read() {
        let record = Record::parse(b"1 b1.test!default joe\tlrs\t").unwrap();
        assert!(record.says(&active("b1.test!default", "joe\tlrs\t")));
        let record = Record::parse(b"3 b1.test!default ").unwrap();
        assert!(record.is_reserved());
        let local = Record::parse(b"0 default joe\tlrs\t").unwrap();
        assert_eq!(local.local(None), Some(Local::NotRemote));
    }

    #[test]
    fn records_of_the_host_itself_are_told() {
        let local = |value: &str| {
            let record = Record::parse(value.as_bytes()).unwrap();
            record.local(Some(b"here.test"))
        };
        assert_eq!(local("%(T e P p M 1 A %())"), Some(Local::NotRemote));
        assert_eq!(local("%(T erm P p S b M 1 A %())"), Some(Local::Moving));
        assert_eq!(local("%(T em P p S b M 1 A %())"), Some(Local::Moving));
        assert_eq!(local("%(T erd S b M 1 A %())"), Some(Local::Deleted));
        assert_eq!(local("%(T ed I 4c1x M 1)"), Some(Local::Deleted));
        assert_eq!(local("%(T eri S b M 1 A %())"), Some(Local::Intermediate));
        assert_eq!(local("%(T ei I 4c1x M 1)"), Some(Local::Intermediate));
        assert_eq!(local("%(T er I 4c1x S b M 1 A %())"), Some(Local::UniqueId));
        assert_eq!(
            local("%(T er S here.test M 1 A %())"),
            Some(Local::OwnServer)
        );
        assert_eq!(local("%(T er I NIL J NIL S b M 1 A %())"), None);
    }
}
