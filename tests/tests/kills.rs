//! kill -9 under write load: what was answered with OK is there afterwards, and nothing that nobody wrote; with export
//! before OK also in `mailboxes.db`, as Cyrus's own program finds it before ours is started again.

use std::collections::BTreeMap;
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mupdate_tests::frontend::Database;
use mupdate_tests::listing::{Known, Listing};
use mupdate_tests::master::{Master, Program};
use mupdate_tests::wire::Wire;

/// What one mailbox may be after a crash: the last acknowledged state first, then what was asked for since, each with
/// the number of its edit.
type Model = BTreeMap<String, Vec<(u64, Option<Known>)>>;

const KILLS: u32 = 200;
/// With a look at `mailboxes.db` after each.
const EXPORTING_KILLS: u32 = 60;
const WRITERS: u32 = 4;
const NAMES_PER_WRITER: u32 = 40;
/// Edits of one writer without an answer.
const WINDOW: usize = 16;

#[test]
fn every_acknowledged_edit_survives() -> Result<()> {
    let master = Master::make(Program::Ours, &[])?;
    edit_and_kill(master, KILLS, |_, _| Ok(()))
}

#[test]
fn with_export_before_ok_each_is_in_mailboxes_db() -> Result<()> {
    let master = Master::make(Program::Ours, &[("mupdate_export", "before-ok")])?;
    master.node().prepare()?;
    edit_and_kill(master, EXPORTING_KILLS, |master, model| {
        let found = Database(master.node()).listing()?;
        settle(&mut model.clone(), &found).context("mailboxes.db")
    })
}

/// `look` sees what each kill has left.
fn edit_and_kill(
    mut master: Master,
    kills: u32,
    look: impl Fn(&Master, &Model) -> Result<()>,
) -> Result<()> {
    let (mut model, mut total) = (Model::new(), Edits::default());
    let mut history: Option<(History, Edits)> = None;
    for round in 0..=kills {
        master
            .launch()
            .with_context(|| format!("start after {round} kills"))?;
        let checked = check(&master, &mut model, history.as_ref());
        let now =
            checked.with_context(|| format!("after {round} kills; log:\n{}", master.log_tail()))?;
        if round == kills {
            break;
        }
        let (after, edits) = write_until_killed(&mut master, round, &model)?;
        model = after;
        look(&master, &model)
            .with_context(|| format!("at kill {round}; log:\n{}", master.log_tail()))?;
        total = total.plus(edits);
        history = Some((now, edits));
    }
    master.stop()?;
    // Without edits in most rounds this test would say nothing.
    ensure!(
        total.acknowledged > u64::from(kills) * 10,
        "only {} edits were acknowledged",
        total.acknowledged
    );
    Ok(())
}

/// Where a master's history is.
struct History {
    epoch: String,
    sequence: u64,
}

/// How much was edited.
#[derive(Clone, Copy, Default)]
struct Edits {
    sent: u64,
    acknowledged: u64,
    /// Of these, such as count in the history whatever was there before.
    activated: u64,
}

impl Edits {
    fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            acknowledged: self.acknowledged + other.acknowledged,
            activated: self.activated + other.activated,
        }
    }
}

/// The list is one that the edits can have led to, and the history goes on where it was.
fn check(
    master: &Master,
    model: &mut Model,
    earlier: Option<&(History, Edits)>,
) -> Result<History> {
    let shown = master.logged_in()?.listing("LIST")?;
    settle(model, &shown)?;
    ensure!(
        master.status("recovery")? == "null",
        "the master is in recovery"
    );
    ensure!(
        master.status("mailboxes")? == shown.0.len().to_string(),
        "not the number of mailboxes in LIST"
    );
    let now = History {
        epoch: master.status("epoch")?,
        sequence: master.status("sequence")?.parse()?,
    };
    if let Some((then, edits)) = earlier {
        ensure!(now.epoch == then.epoch, "another history");
        let grown = now
            .sequence
            .checked_sub(then.sequence)
            .context("the sequence went back")?;
        let possible = edits.activated..=edits.sent;
        ensure!(
            possible.contains(&grown),
            "the sequence grew by {grown}, not by {possible:?}"
        );
    }
    Ok(now)
}

/// Every mailbox must be in one of its possible states; which one it is, is what counts from here on.
fn settle(model: &mut Model, shown: &Listing) -> Result<()> {
    for (name, states) in &mut *model {
        let now = shown.0.get(name).cloned();
        let possible = states.iter().any(|(_, state)| *state == now);
        ensure!(possible, "{name} is {now:?}, which is none of {states:?}");
        *states = vec![(0, now)];
    }
    for name in shown.0.keys() {
        ensure!(model.contains_key(name), "{name} was never written");
    }
    Ok(())
}

fn write_until_killed(master: &mut Master, round: u32, model: &Model) -> Result<(Model, Edits)> {
    let wires = (0..WRITERS)
        .map(|_| master.logged_in())
        .collect::<Result<Vec<_>>>()?;
    scope(|scope| {
        let writers: Vec<_> = wires
            .into_iter()
            .zip(0..)
            .map(|(wire, writer)| {
                let prefix = format!("user.w{writer}.");
                let own = |(name, states): (&String, &Vec<_>)| (name.clone(), states.clone());
                let own = model
                    .iter()
                    .filter(|(name, _)| name.starts_with(&prefix))
                    .map(own)
                    .collect();
                scope.spawn(move || write(wire, &prefix, round, own))
            })
            .collect();
        sleep(Duration::from_millis(rand::random_range(5..80)));
        master.kill()?;
        let (mut after, mut total) = (Model::new(), Edits::default());
        for writer in writers {
            let Ok(written) = writer.join() else {
                bail!("a writer panicked")
            };
            let (own, edits) = written?;
            after.extend(own);
            total = total.plus(edits);
        }
        Ok((after, total))
    })
}

/// Writes until the connection ends.
fn write(mut wire: Wire, prefix: &str, round: u32, mut model: Model) -> Result<(Model, Edits)> {
    let mut waiting = std::collections::VecDeque::new();
    let mut edits = Edits::default();
    for number in 1_u64.. {
        let name = format!("{prefix}{}", rand::random_range(0..NAMES_PER_WRITER));
        let (command, state) = edit(&name, round, number);
        let states = model.entry(name.clone()).or_insert_with(|| vec![(0, None)]);
        let activates = state.is_some();
        states.push((number, state));
        edits.sent += 1;
        if wire
            .send(format!("E{number} {command}\r\n").as_bytes())
            .is_err()
        {
            return Ok((model, edits));
        }
        waiting.push_back((number, name, activates));
        if waiting.len() < WINDOW {
            continue;
        }
        // A connection that is cut in the middle of an answer acknowledges nothing.
        let Ok(Some(answer)) = wire.response() else {
            return Ok((model, edits));
        };
        let Some((number, name, activates)) = waiting.pop_front() else {
            continue;
        };
        ensure!(
            answer.ends(&format!("E{number}")) && answer.word == "OK",
            "answered {answer:?}"
        );
        edits.acknowledged += 1;
        edits.activated += u64::from(activates);
        let states = model.get_mut(&name).context("an edit that was not noted")?;
        // What was asked for before this edit is over; what came after it may have happened as well.
        let at = states
            .iter()
            .position(|(other, _)| *other == number)
            .context("a state that was not noted")?;
        states.drain(..at);
    }
    Ok((model, edits))
}

/// An edit that leaves a state which no other edit leaves, or none.
fn edit(name: &str, round: u32, number: u64) -> (String, Option<Known>) {
    if rand::random_ratio(1, 8) {
        return (format!("DELETE \"{name}\""), None);
    }
    let location = format!("be{round}!p{number}");
    // In the order in which Cyrus's program tells them.
    let acl = format!("n{number}\tl\towner\tlrs\t");
    (
        format!("ACTIVATE \"{name}\" \"{location}\" \"{acl}\""),
        Some(Known::Active(location, acl)),
    )
}
