//! Mailboxes for benches: ten to a user, who has them on one backend; in the order of keys or far from it.

use bench::names::FOLDERS;
use proto::{Acl, Edit, EditKind, Entry, Location, MailboxName};

/// Name of mailbox `number`.
pub(crate) fn name(number: usize) -> MailboxName {
    let folder = FOLDERS[number % FOLDERS.len()];
    MailboxName::try_from(format!("user.u{:07}{folder}", number / FOLDERS.len()).as_bytes())
        .unwrap()
}

/// Its entry; `lap` makes entries differ.
pub(crate) fn entry(number: usize, lap: usize) -> Entry {
    let (user, rights) = (
        number / FOLDERS.len(),
        ["lrswipkxtecda", "lrswipkxtecd"][lap % 2],
    );
    let location = format!("backend{}.test!default", user % 16);
    let acl = format!("u{user:07}\t{rights}\t");
    Entry::Active {
        location: Location::try_from(location.as_bytes()).unwrap(),
        acl: Acl::try_from(acl.as_bytes()).unwrap(),
    }
}

/// An edit that makes it so.
pub(crate) fn edit(number: usize, lap: usize) -> Edit {
    let Entry::Active { location, acl } = entry(number, lap) else {
        unreachable!("entries are active")
    };
    Edit {
        mailbox: name(number),
        kind: EditKind::Activate { location, acl },
    }
}

/// Number `i` of an order in which neighbours are far apart.
pub(crate) fn scatter(i: usize, all: usize) -> usize {
    i * 2_654_435_761 % all
}
