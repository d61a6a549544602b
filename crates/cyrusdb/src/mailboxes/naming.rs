//! Keys of mailboxes, in the two styles that there have been.

use std::borrow::Cow;
use std::ops::Range;

use proto::{InvalidMailboxName, MailboxName};

use crate::dlist;

const DOMAIN_SEPARATOR: u8 = 0x1d;
const HIERARCHY_SEPARATOR: u8 = 0x1f;
const DELETED_PREFIX: &[u8] = b"DELETED";

/// How mailbox names are written in keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStyle {
    /// Up to 3.4: the name as it is on the wire.
    Plain,
    /// From 3.6 on: `N` and the name with separators of their own.
    ByName,
}

/// How keys are made on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The style of the file.
    pub style: KeyStyle,
    /// Option `defaultdomain`: left out of keys by name.
    pub default_domain: Option<Vec<u8>>,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMeaning {
    /// The entry of this mailbox.
    Mailbox(MailboxName),
    /// The entry of a mailbox whose name we could not pass on.
    Unusable(InvalidMailboxName),
    /// Something else: reverse ACLs, unique ids, queues.
    Other,
}

impl Naming {
    /// A style without a default domain.
    pub fn new(style: KeyStyle) -> Self {
        Self {
            style,
            default_domain: None,
        }
    }

    /// The key of a mailbox.
    pub fn key(&self, name: &MailboxName) -> Vec<u8> {
        match self.style {
            KeyStyle::Plain => name.to_vec(),
            KeyStyle::ByName => [b"N", &*self.database_name(name)].concat(),
        }
    }

    /// Whether the key of a mailbox is just the octets of its name, so that no other has it but one
    /// whose key is not.
    pub fn is_own_key(&self, name: &MailboxName) -> bool {
        match self.style {
            KeyStyle::Plain => true,
            KeyStyle::ByName => *self.database_name(name) == *name.key(),
        }
    }

    /// Keys ([`MailboxName::key`]), in a half-open range, of names that all have their own: those of
    /// users without a domain, which are most.
    pub fn own_keys(&self) -> Range<&'static [u8]> {
        b"user\x1f"..b"user\x20"
    }

    /// The name as Cyrus since 3.6 has it in keys.
    pub(super) fn database_name<'a>(&self, name: &'a MailboxName) -> Cow<'a, [u8]> {
        let mut key = name.key();
        if let Some(domain) = &self.default_domain
            && let Some(rest) = key.strip_prefix(domain.as_slice())
            && let Some(rest) = rest.strip_prefix(&[DOMAIN_SEPARATOR])
        {
            key = rest;
        }
        with_canonical_time(key)
    }

    /// What a key stands for.
    pub fn meaning(&self, key: &[u8]) -> KeyMeaning {
        let name = match (self.style, key) {
            (KeyStyle::Plain, [b'$', rest @ ..])
                if rest.starts_with(b"RACL") || rest.starts_with(b"RUNQ") =>
            {
                return KeyMeaning::Other;
            }
            (KeyStyle::Plain, name) => MailboxName::try_from(name),
            (KeyStyle::ByName, [b'N', name @ ..]) => MailboxName::from_key(name),
            (KeyStyle::ByName, _) => return KeyMeaning::Other,
        };
        name.map_or_else(KeyMeaning::Unusable, KeyMeaning::Mailbox)
    }
}

/// Cyrus reads the time at the end of a `DELETED` name as a number and writes it in its own way.
fn with_canonical_time(key: &[u8]) -> Cow<'_, [u8]> {
    let at = key.iter().position(|&octet| octet == DOMAIN_SEPARATOR);
    let name = key.get(at.map_or(0, |at| at + 1)..).unwrap_or_default();
    let Some(time) = name.strip_prefix(DELETED_PREFIX).and_then(deletion_time) else {
        return Cow::Borrowed(key);
    };
    let zeros = time.iter().take_while(|&&digit| digit == b'0').count();
    let kept = key.len() - time.len();
    let mut canonical = key.get(..kept).unwrap_or_default().to_vec();
    canonical.extend(time.iter().skip(zeros).map(u8::to_ascii_uppercase));
    Cow::Owned(canonical)
}

/// The last of at least two components behind the first.
fn deletion_time(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(&[HIERARCHY_SEPARATOR])?;
    let mut parts = rest.rsplitn(2, |&octet| octet == HIERARCHY_SEPARATOR);
    parts.next().filter(|_| parts.next().is_some())
}

/// Tells the style of a file by what it holds; feed it keys and values until it knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StyleGuess(Option<KeyStyle>);

impl StyleGuess {
    /// Takes one more record into account.
    pub fn see(&mut self, key: &[u8], value: &[u8]) {
        if self.0.is_none() {
            self.0 = style_of(key, value);
        }
    }

    /// The style, if anything so far tells; an empty file does not.
    pub fn style(self) -> Option<KeyStyle> {
        self.0
    }
}

/// Plain keys hold no control octets, and values of their time no kind of mailbox.
fn style_of(key: &[u8], value: &[u8]) -> Option<KeyStyle> {
    if key.iter().any(|octet| matches!(octet, 0x1d..=0x1f)) {
        return Some(KeyStyle::ByName);
    }
    match key.first()? {
        b'N' => {
            let Ok(pairs) = dlist::parse(value) else {
                return Some(KeyStyle::Plain);
            };
            let kind = pairs.iter().find(|(name, _)| name == b"T");
            let kind = kind.and_then(|(_, kind)| kind.text()).unwrap_or_default();
            let by_name = kind
                .first()
                .is_some_and(|&letter| b"abcefjnps".contains(&letter));
            Some(if by_name {
                KeyStyle::ByName
            } else {
                KeyStyle::Plain
            })
        }
        b'I' | b'J' => {
            // By unique id since 3.6, with the name inside; else a shared folder.
            let named = |(name, _): &(Vec<u8>, _)| name == b"N";
            let pairs = dlist::parse(value).unwrap_or_default();
            Some(if pairs.iter().any(named) {
                KeyStyle::ByName
            } else {
                KeyStyle::Plain
            })
        }
        _ => Some(KeyStyle::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::try_from(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_by_name_are_cyruss_own() {
        let mut naming = Naming::new(KeyStyle::ByName);
        let key = |naming: &Naming, text: &str| naming.key(&name(text));
        assert_eq!(key(&naming, "user.bob.sub^dot"), b"Nuser\x1fbob\x1fsub.dot");
        assert_eq!(
            key(&naming, "example.org!user.x"),
            b"Nexample.org\x1duser\x1fx"
        );
        let deleted = b"NDELETED\x1fuser\x1fa\x1f5F3C1A2B";
        assert_eq!(key(&naming, "DELETED.user.a.5F3C1A2B"), deleted);
        assert_eq!(key(&naming, "DELETED.user.a.005f3c1a2b"), deleted);
        naming.default_domain = Some(b"example.org".to_vec());
        assert_eq!(key(&naming, "example.org!user.x"), b"Nuser\x1fx");
        assert_eq!(
            key(&naming, "example.orgs!user.x"),
            b"Nexample.orgs\x1duser\x1fx"
        );
        assert_eq!(
            naming.meaning(b"Nuser\x1fbob\x1fsub.dot"),
            KeyMeaning::Mailbox(name("user.bob.sub^dot"))
        );
        assert_eq!(naming.meaning(b"AS\x1e"), KeyMeaning::Other);
        assert_eq!(naming.meaning(b"Iabcdef"), KeyMeaning::Other);
        assert!(matches!(
            naming.meaning(b"Nuser\x1f"),
            KeyMeaning::Unusable(_)
        ));
    }

    #[test]
    fn plain_keys_are_names() {
        let naming = Naming::new(KeyStyle::Plain);
        assert_eq!(naming.key(&name("d!user.x^y")), b"d!user.x^y");
        assert_eq!(naming.meaning(b"Nobel"), KeyMeaning::Mailbox(name("Nobel")));
        assert_eq!(naming.meaning(b"$RACL$U$joe$user.x"), KeyMeaning::Other);
    }

    #[test]
    fn style_is_told_by_what_a_file_holds() {
        let style = |key: &[u8], value: &[u8]| style_of(key, value);
        assert_eq!(style(b"AS\x1e", b""), Some(KeyStyle::ByName));
        assert_eq!(style(b"user.joe", b"1 b!p x\t"), Some(KeyStyle::Plain));
        assert_eq!(style(b"Nuser\x1fjoe", b""), Some(KeyStyle::ByName));
        assert_eq!(
            style(b"Nshared", b"%(T er S b A %())"),
            Some(KeyStyle::ByName)
        );
        assert_eq!(style(b"News", b"%(A %() S b T r)"), Some(KeyStyle::Plain));
        assert_eq!(style(b"$RACL", b""), Some(KeyStyle::Plain));
        assert_eq!(style(b"Ikj2d8", b"%(N x T e)"), Some(KeyStyle::ByName));
        assert_eq!(StyleGuess::default().style(), None);
    }
}
