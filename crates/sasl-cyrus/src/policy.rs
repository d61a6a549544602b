//! Who of those that libsasl2 knows may log in.

use std::sync::{Mutex, PoisonError};

/// Who may log in: Cyrus's rules for `mupdate`.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// `admins`: the only ones who succeed, by authentication identity.
    pub admins: Vec<String>,
    /// `loginrealms`: realms that an identity `user@realm` may be of.
    pub login_realms: Vec<String>,
    /// `virtdomains` is on: a part after `@` is a domain, and is free unless `loginrealms` has a word.
    pub virtual_domains: bool,
}

impl Admission {
    fn judge(&self, identity: &str) -> bool {
        let is_free = self.virtual_domains && self.login_realms.is_empty();
        let is_of_realm = |realm: &str| {
            self.login_realms
                .iter()
                .any(|listed| listed.eq_ignore_ascii_case(realm))
        };
        let has_good_realm = match identity.split_once('@') {
            Some((_, realm)) => is_free || is_of_realm(realm),
            None => true,
        };
        has_good_realm && self.admins.iter().any(|admin| admin == identity)
    }
}

/// What libsasl2 asked for one exchange, and what it was told.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    last: Mutex<Option<Verdict>>,
}

/// An identity that has been proved.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) identity: String,
    pub(crate) is_admitted: bool,
}

impl Verdicts {
    /// Judges the identity that a mechanism has proved; whether it may log in.
    pub(crate) fn judge(&self, admission: &Admission, identity: &str) -> bool {
        let is_admitted = admission.judge(identity);
        let verdict = Verdict {
            identity: identity.to_owned(),
            is_admitted,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        is_admitted
    }

    pub(crate) fn last(&self) -> Option<Verdict> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admins_of_listed_realms() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let admission = |realms: &[&str], virtual_domains| Admission {
            admins: words(&["ann", "bob@example.com", "mupdate/host"]),
            login_realms: words(realms),
            virtual_domains,
        };
        let plain = admission(&[], false);
        assert!(plain.judge("ann") && plain.judge("mupdate/host"));
        assert!(!plain.judge("ann@example.com") && !plain.judge("Ann") && !plain.judge(""));
        assert!(!plain.judge("bob@example.com"), "cross-realm");
        assert!(admission(&["example.org", "EXAMPLE.com"], false).judge("bob@example.com"));
        assert!(admission(&[], true).judge("bob@example.com"));
        assert!(!admission(&["example.org"], true).judge("bob@example.com"));
    }
}
