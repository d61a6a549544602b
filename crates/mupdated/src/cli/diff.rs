//! The mailboxes in which the lists of two servers differ.
//!
//! Servers that offer RESYNC under one digest key are compared by digests, so that hardly more than what differs is moved;
//! any others by their whole lists.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Context as _, bail};
use client::{Client, Listed, Options, Resync, ResyncEvent, Update};
use proto::resync::{BUCKETS_PER_GROUP, DigestKey, Named, ResyncFrom, WireSum};
use proto::{Entry, MailboxName};
use store::{Digester, Epoch};

use super::remote::{Connection, complain, connect, line, print};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One server, as HOST:PORT; its entries are shown behind '-'.
    #[arg(value_name = "HOST:PORT")]
    one: String,
    /// The other; its entries are shown behind '+'.
    #[arg(value_name = "HOST:PORT")]
    other: String,
}

type Entries = BTreeMap<MailboxName, Entry>;

/// A server that holds its list for a compare.
struct Compared {
    resync: Resync,
    key: DigestKey,
    buckets: u32,
    sum: WireSum,
    place: String,
}

pub(super) async fn run(connection: &Connection, args: &Args) -> anyhow::Result<()> {
    let options = connection.options()?;
    let (one, other) = (&args.one, &args.other);
    let compared = match (hold(one, &options).await?, hold(other, &options).await?) {
        (Some(a), Some(b)) if a.key == b.key => {
            complain(&format!("{one} at {}, {other} at {}", a.place, b.place))?;
            by_digests(a, b).await?
        }
        _ => {
            complain(&"no common digests: whole lists are compared")?;
            let one = listed(connect(one, &options).await?).await?;
            (one, listed(connect(other, &options).await?).await?)
        }
    };
    match show(&compared.0, &compared.1)? {
        0 => complain(&"the lists are the same").map_err(Into::into),
        count => bail!("{count} mailboxes differ between {one} and {other}"),
    }
}

/// Makes a server hold its list; `None`: it does not offer that.
async fn hold(node: &str, options: &Options) -> anyhow::Result<Option<Compared>> {
    let client = connect(node, options).await?;
    if !client.banner().offers_resync() {
        return Ok(None);
    }
    let unknown = ResyncFrom::Place {
        epoch: Epoch::random().0,
        sequence: 0,
    };
    let mut resync = client.resync(unknown, &[]);
    let mut history = None;
    loop {
        match resync.next().await.with_context(|| node.to_owned())? {
            ResyncEvent::History { epoch, key, .. } => history = Some((Epoch(epoch), key)),
            ResyncEvent::Digest {
                sequence,
                buckets,
                sum,
            } => {
                let (epoch, key) = history.context("no history told")?;
                return Ok(Some(Compared {
                    resync,
                    key,
                    buckets,
                    sum,
                    place: format!("sequence {sequence} of history {epoch}"),
                }));
            }
            // It holds too many lists already.
            ResyncEvent::Full { .. } => return Ok(None),
            _ => {}
        }
    }
}

/// What each has that the other has not, or has otherwise.
async fn by_digests(mut a: Compared, mut b: Compared) -> anyhow::Result<(Entries, Entries)> {
    if a.sum == b.sum {
        return Ok((Entries::new(), Entries::new()));
    }
    let buckets = a.buckets.min(b.buckets);
    let wanted = differing(&mut a.resync, &mut b.resync, buckets).await?;
    let whole = |&bucket: &u32| Named {
        bucket,
        hashes: Vec::new(),
    };
    let (mut ours, _) = told(&mut a.resync, buckets, wanted.iter().map(whole).collect()).await?;

    let mut digester = Digester::with_key(a.key.0);
    let mut named: BTreeMap<u32, Vec<_>> =
        wanted.iter().map(|&bucket| (bucket, Vec::new())).collect();
    let mut hashes = BTreeMap::new();
    for (name, entry) in &ours {
        let hash = digester.entry(name, entry).0.to_be_bytes();
        let bucket = digester.bucket(name, buckets);
        named.entry(bucket).or_default().push(hash);
        hashes.insert(name.clone(), (bucket, hash));
    }
    let named = named
        .into_iter()
        .map(|(bucket, hashes)| Named { bucket, hashes })
        .collect();
    let (theirs, answer) = told(&mut b.resync, buckets, named).await?;
    let unknown: HashSet<_> = answer.unknown.into_iter().collect();
    let whole: HashSet<u32> = answer.whole.into_iter().collect();
    ours.retain(|name, entry| match hashes.get(name) {
        Some((bucket, _)) if whole.contains(bucket) => theirs.get(name) != Some(entry),
        Some((_, hash)) => unknown.contains(hash),
        None => true,
    });
    Ok((ours, theirs))
}

/// Numbers of the buckets that differ.
async fn differing(a: &mut Resync, b: &mut Resync, buckets: u32) -> anyhow::Result<Vec<u32>> {
    let pairs = a
        .groups(buckets)
        .await?
        .into_iter()
        .zip(b.groups(buckets).await?);
    let groups: Vec<u32> = (0..)
        .zip(pairs)
        .filter(|(_, (a, b))| a != b)
        .map(|(group, _)| group)
        .collect();
    let (ours, theirs) = (
        a.buckets(buckets, &groups).await?,
        b.buckets(buckets, &groups).await?,
    );
    let mut wanted = Vec::new();
    for (group, (ours, theirs)) in groups.iter().zip(ours.iter().zip(&theirs)) {
        for (bucket, (a, b)) in (group * BUCKETS_PER_GROUP..).zip(ours.iter().zip(theirs)) {
            if a != b {
                wanted.push(bucket);
            }
        }
    }
    Ok(wanted)
}

/// What a server has in some buckets beside what is named.
async fn told(
    resync: &mut Resync,
    buckets: u32,
    named: Vec<Named>,
) -> anyhow::Result<(Entries, client::EntriesAnswer)> {
    let mut told = Entries::new();
    let mut entries = resync.entries(buckets, named);
    while let Some(update) = entries.next().await? {
        match update {
            Update::Mailbox { name, entry } => {
                told.insert(name, entry);
            }
            Update::Unusable(unusable) => complain(&unusable)?,
            _ => {}
        }
    }
    Ok((told, entries.into_answer()))
}

/// A whole list.
async fn listed(mut client: Client) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    let mut listing = client.list(None);
    while let Some(listed) = listing.next().await? {
        match listed {
            Listed::Mailbox { name, entry } => {
                entries.insert(name, entry);
            }
            Listed::Unusable(unusable) => complain(&unusable)?,
        }
    }
    Ok(entries)
}

/// Prints what differs, in key order, and counts it.
fn show(one: &Entries, other: &Entries) -> anyhow::Result<usize> {
    let names: BTreeSet<&MailboxName> = one.keys().chain(other.keys()).collect();
    let mut count = 0;
    for name in names {
        let (one, other) = (one.get(name), other.get(name));
        if one == other {
            continue;
        }
        count += 1;
        if let Some(entry) = one {
            print(&format!("- {}", line(name, entry)))?;
        }
        if let Some(entry) = other {
            print(&format!("+ {}", line(name, entry)))?;
        }
    }
    Ok(count)
}
