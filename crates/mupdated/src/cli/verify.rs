//! Whether servers have the same list.
//!
//! A server's list is named by what it adds up to at a sequence of a history (`docs/resync.md`). Servers that work are at a
//! sequence for a moment only, so all are followed until every one of them has told a point of the same sequence.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use client::{Options, ResyncEvent};
use proto::resync::{ResyncFrom, WireSum};
use store::Epoch;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::remote::{Connection, connect, print};

/// Points remembered of one server.
const POINTS_MAX: usize = 100_000;
/// Points told and not yet looked at; a server that tells more waits.
const TOLD_MAX: usize = 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The servers, as HOST:PORT.
    #[arg(required = true, num_args = 2.., value_name = "HOST:PORT")]
    nodes: Vec<String>,
    /// Seconds to wait until all have told what their lists add up to at the same sequence.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// A sequence of a history.
type Place = (Epoch, u64);

/// What a server has told.
#[derive(Debug)]
enum Told {
    Point(Place, WireSum),
    Unable(anyhow::Error),
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Node {
    points: BTreeMap<Place, WireSum>,
    unable: Option<anyhow::Error>,
}

pub(super) async fn run(connection: &Connection, args: &Args) -> anyhow::Result<()> {
    let options = connection.options()?;
    let mut known: Vec<Node> = args.nodes.iter().map(|_| Node::default()).collect();
    let found = timeout(
        Duration::from_secs(args.wait),
        until_common(&args.nodes, &options, &mut known),
    );
    let Ok(Some(place)) = found.await else {
        return Err(incomparable(&args.nodes, &known));
    };
    report(&args.nodes, &known, place)
}

/// Follows all until there is a place of which each has told; `None` when one of them can't be followed.
async fn until_common(nodes: &[String], options: &Options, known: &mut [Node]) -> Option<Place> {
    let (sender, mut told) = mpsc::channel(TOLD_MAX);
    let mut followers = JoinSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let (node, options, sender) = (node.clone(), options.clone(), sender.clone());
        followers.spawn(async move {
            if let Err(cause) = follow(&node, &options, index, &sender).await {
                // Nobody listens any more once a place was found.
                drop(sender.send((index, Told::Unable(cause))).await);
            }
        });
    }
    drop(sender);
    while let Some((index, what)) = told.recv().await {
        let node = known.get_mut(index)?;
        match what {
            Told::Point(place, sum) => {
                node.points.insert(place, sum);
                if node.points.len() > POINTS_MAX {
                    node.points.pop_first();
                }
                if known.iter().all(|node| node.points.contains_key(&place)) {
                    return Some(place);
                }
            }
            Told::Unable(cause) => {
                node.unable = Some(cause);
                return None;
            }
        }
    }
    None
}

/// Tells every point of a server. A history that nobody has makes it hold its list for a compare and tell where it is;
/// going on from there costs nothing but what changes.
async fn follow(
    node: &str,
    options: &Options,
    index: usize,
    told: &mpsc::Sender<(usize, Told)>,
) -> anyhow::Result<()> {
    let client = connect(node, options).await?;
    if !client.banner().offers_resync() {
        bail!("{node} does not offer RESYNC, so nobody knows what its list adds up to");
    }
    let unknown = ResyncFrom::Place {
        epoch: Epoch::random().0,
        sequence: 0,
    };
    let mut resync = client.resync(unknown, &[]);
    let mut epoch = None;
    loop {
        match resync.next().await.with_context(|| node.to_owned())? {
            ResyncEvent::History { epoch: its, .. } => epoch = Some(Epoch(its)),
            ResyncEvent::Digest { sequence, .. } => {
                let Epoch(epoch) = epoch.context("no history told")?;
                resync.resync(ResyncFrom::Place { epoch, sequence }, &[])?;
            }
            ResyncEvent::Point { sequence, sum } => {
                let epoch = epoch.context("no history told")?;
                if told
                    .send((index, Told::Point((epoch, sequence), sum)))
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

fn report(nodes: &[String], known: &[Node], place: Place) -> anyhow::Result<()> {
    let (epoch, sequence) = place;
    print(&format!("history {epoch}, sequence {sequence}"))?;
    let sums: Vec<WireSum> = known
        .iter()
        .filter_map(|node| node.points.get(&place).copied())
        .collect();
    let width = nodes.iter().map(String::len).max().unwrap_or_default();
    for (node, sum) in nodes.iter().zip(&sums) {
        let WireSum { count, root } = sum;
        print(&format!(
            "{node:width$}  {count:>10} mailboxes  {root:032x}"
        ))?;
    }
    let first = sums.first();
    let others: Vec<&str> = nodes
        .iter()
        .zip(&sums)
        .filter(|(_, sum)| Some(*sum) != first)
        .map(|(node, _)| node.as_str())
        .collect();
    if others.is_empty() {
        print("the lists are the same")?;
        return Ok(());
    }
    bail!(
        "another list than that of {}: {}; 'mupdatectl diff' shows where",
        nodes.first().map(String::as_str).unwrap_or_default(),
        others.join(", ")
    )
}

/// Why no common place was found. Once a server can't be followed, nobody waits for the others, so what they have told
/// until then is no reason.
fn incomparable(nodes: &[String], known: &[Node]) -> anyhow::Error {
    let unable = known.iter().filter_map(|node| node.unable.as_ref());
    let mut why: Vec<String> = unable.map(|cause| format!("{cause:#}")).collect();
    if why.is_empty() {
        let told = nodes.iter().zip(known);
        why = told.map(|(node, known)| standing(node, known)).collect();
    }
    anyhow!("can't be compared: {}", why.join("; "))
}

/// Where a server was last.
fn standing(node: &str, known: &Node) -> String {
    match known.points.last_key_value() {
        None => format!("{node} has told of no verified state of its list"),
        Some(((epoch, sequence), _)) => {
            format!("{node} is at sequence {sequence} of history {epoch}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(points: &[(u8, u64, u128)]) -> Node {
        let point = |&(epoch, sequence, root): &(u8, u64, u128)| {
            ((Epoch([epoch; 16]), sequence), WireSum { count: 1, root })
        };
        Node {
            points: points.iter().map(point).collect(),
            unable: None,
        }
    }

    #[test]
    fn those_that_differ_are_named() {
        let nodes = ["a:1".to_owned(), "b:1".to_owned(), "c:1".to_owned()];
        let known = [node(&[(1, 7, 5)]), node(&[(1, 7, 5)]), node(&[(1, 7, 6)])];
        let said = report(&nodes, &known, (Epoch([1; 16]), 7)).unwrap_err();
        assert!(
            said.to_string()
                .starts_with("another list than that of a:1: c:1;")
        );
        report(&nodes[..2], &known[..2], (Epoch([1; 16]), 7)).unwrap();
    }

    #[test]
    fn what_can_not_be_compared_says_why() {
        let nodes = ["a:1".to_owned(), "b:1".to_owned(), "c:1".to_owned()];
        let mut known = [node(&[(1, 7, 5)]), node(&[]), node(&[(2, 7, 5)])];
        let said = incomparable(&nodes, &known).to_string();
        assert!(said.contains("a:1 is at sequence 7"), "{said}");
        assert!(said.contains("b:1 has told of no"), "{said}");
        assert!(said.contains("c:1 is at sequence 7"), "{said}");
        known[2].unable = Some(anyhow!("c:1 does not offer RESYNC"));
        let said = incomparable(&nodes, &known).to_string();
        assert_eq!(said, "can't be compared: c:1 does not offer RESYNC");
    }
}
