//! All records of a list, made by one thread and taken by another.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use cyrusdb::mailboxes::Record;
use cyrusdb::twoskip::Order;
use store::{Listed, Version};

use crate::holders::Holders;
use crate::{ExportError, ExporterConfig};

/// Records handed over at once.
const BATCH: usize = 512;
/// Batches under way.
const DEPTH: usize = 8;

/// Key and value.
type Pair = (Vec<u8>, Vec<u8>);

/// Has `take` go through the records of a list, in the order of the file; they are made meanwhile.
pub(super) fn send<T>(
    config: &ExporterConfig,
    holders: &mut Holders,
    version: &Version,
    modified: u64,
    take: impl FnOnce(&mut dyn Iterator<Item = Pair>) -> Result<T, ExportError>,
) -> Result<T, ExportError> {
    thread::scope(|scope| {
        let (out, batches) = sync_channel(DEPTH);
        let make = move || make(config, holders, version, modified, &out);
        let maker = thread::Builder::new().name("export-records".into());
        let maker = maker.spawn_scoped(scope, make);
        maker.map_err(|source| ExportError::Io {
            what: "start a thread for",
            path: config.mailboxes_db.clone(),
            source,
        })?;
        take(&mut Batches::of(batches))
    })
}

fn make(
    config: &ExporterConfig,
    holders: &mut Holders,
    version: &Version,
    modified: u64,
    out: &SyncSender<Vec<Pair>>,
) {
    let style = holders.naming().style;
    let in_order = holders.are_names() && config.order == Order::Bytes;
    let mut entries = wanted(config, holders, version);
    let mut sorted;
    let entries: &mut dyn Iterator<Item = (Vec<u8>, Listed<'_>)> = if in_order {
        &mut entries
    } else {
        let mut all: Vec<_> = entries.collect();
        all.sort_unstable_by(|(left, _), (right, _)| config.order.compare(left, right));
        sorted = all.into_iter();
        &mut sorted
    };
    let mut records =
        entries.map(|(key, listed)| (key, Record::encode(style, listed.entry, modified)));
    loop {
        let batch: Vec<Pair> = records.by_ref().take(BATCH).collect();
        // Whoever takes them has failed if they are taken no longer.
        if batch.is_empty() || out.send(batch).is_err() {
            return;
        }
    }
}

/// What has a record, with its key.
fn wanted<'a>(
    config: &'a ExporterConfig,
    holders: &'a mut Holders,
    version: &'a Version,
) -> impl Iterator<Item = (Vec<u8>, Listed<'a>)> {
    let own = config.own_server.as_deref();
    let elsewhere = move |listed: &Listed<'_>| own != Some(listed.entry.location().server());
    let entries = version.walk().filter(elsewhere);
    entries.filter_map(|listed| {
        let name = listed.mailbox.to_name();
        let (key, holder) = holders.holder(&name, version);
        (holder == name).then_some((key, listed))
    })
}

/// The records of all batches.
struct Batches {
    more: Receiver<Vec<Pair>>,
    now: std::vec::IntoIter<Pair>,
}

impl Batches {
    fn of(more: Receiver<Vec<Pair>>) -> Self {
        let now = Vec::new().into_iter();
        Self { more, now }
    }
}

impl Iterator for Batches {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        loop {
            if let Some(pair) = self.now.next() {
                return Some(pair);
            }
            self.now = self.more.recv().ok()?.into_iter();
        }
    }
}
