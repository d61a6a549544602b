//! Loads of the whole list.

use std::time::Instant;

use crate::background::scatter;
use crate::crew::{self, Commands, Done};
use crate::error::Error;
use crate::names::{Lap, push_about, push_activate};
use crate::number::{figure, rate};
use crate::process::Look;
use crate::result::{Figure, Unit};
use crate::rows::clean::{clean, far_away};
use crate::rows::memory;
use crate::run::Run;

/// In name order, and what the server's memory grows by.
pub async fn in_order(run: &Run) -> Result<Vec<Figure>, Error> {
    clean(run).await?;
    let before = run.look();
    let mut first = None;
    let after_round = |look| {
        first.get_or_insert(look);
    };
    let mut figures = rounds(
        run,
        "load",
        "in name order",
        |number, _| number,
        after_round,
    )
    .await?;
    figures.extend(memory::grown(run, before, first));
    Ok(figures)
}

/// In no order.
pub async fn in_no_order(run: &Run) -> Result<Vec<Figure>, Error> {
    clean(run).await?;
    rounds(run, "load_random", "in no order", scatter, |_| {}).await
}

/// Loads silently what is not there.
pub async fn ensure(run: &Run) -> Result<(), Error> {
    let mut raw = run.target.connect().await?;
    let last = run.plan.mailboxes.saturating_sub(1);
    let mut there = true;
    for number in [0, last / 2, last] {
        let mut octets = Vec::new();
        push_about(&mut octets, "F", "FIND", number);
        let before = raw.octets();
        raw.command(&octets, "F", "FIND").await?;
        there &= raw.octets() - before > FOUND_BYTES_MIN;
    }
    if !there {
        clean(run).await?;
        load(run, |number, _| number).await?;
    }
    run.set_loaded(true);
    Ok(())
}

async fn rounds(
    run: &Run,
    key: &str,
    what: &str,
    order: impl Fn(u64, u64) -> u64 + Copy,
    mut after_round: impl FnMut(Look),
) -> Result<Vec<Figure>, Error> {
    let (mut rates, mut cpu, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let before = run.look();
        let done = load(run, order).await?;
        rates.push(rate(done.commands, done.took));
        if let Some((before, after)) = before.zip(run.look()) {
            cpu.push((after.cpu.saturating_sub(before.cpu)).as_secs_f64());
            after_round(after);
        }
        // The first round's list costs as much to remove as to load.
        if rates.len() >= run.plan.rounds || !run.has_time_for(done.took * 3) {
            break;
        }
        let began = Instant::now();
        let removed = clean(run).await?;
        removals.push(rate(removed, began.elapsed()));
    }
    run.set_loaded(true);
    let label = format!(
        "ACTIVATE {what}, {} connections, {} in flight on each",
        run.plan.connections, run.plan.window
    );
    let mut figures = Vec::new();
    let limit = run.limits.known().group_edits_per_s;
    figures.extend(
        Figure::rounds(key, &label, Unit::PerSecond, rates).map(|figure| figure.beside(limit)),
    );
    figures.extend(Figure::rounds(
        "cpu",
        "processor time of the server",
        Unit::Seconds,
        cpu,
    ));
    figures.extend(Figure::rounds(
        "delete",
        "LIST, then DELETE of all",
        Unit::PerSecond,
        removals,
    ));
    figures.push(Figure::one(
        "mailboxes",
        "mailboxes",
        Unit::Count,
        figure(run.plan.mailboxes),
    ));
    Ok(figures)
}

async fn load(run: &Run, order: impl Fn(u64, u64) -> u64 + Copy) -> Result<Done, Error> {
    let all = run.plan.mailboxes;
    let push = |out: &mut Vec<u8>, number| push_activate(out, "A", number, Lap::First);
    let numbers = (0..all).map(move |number| order(number, all));
    crew::send(
        run,
        Commands::deal(run, ("A", "ACTIVATE"), &numbers, push),
        far_away(),
    )
    .await
}

/// Longer than the answer to a FIND of nothing, shorter than one with a mailbox.
const FOUND_BYTES_MIN: u64 = 60;
