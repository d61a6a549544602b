//! Short sessions, as backends make them: one for every change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::background::Background;
use crate::error::Error;
use crate::names::{LOCATION, Mark, Scratch, push_activate_scratch, push_reserve_scratch};
use crate::number::rate;
use crate::result::{Figure, Unit};
use crate::rows::scratch;
use crate::run::Run;
use crate::stats::Latencies;
use crate::target::{Account, Target, Way};
use crate::worker::Worker;

/// Sessions by PLAIN, by SCRAM and by PLAIN under TLS; alone, and beside slaves that dump.
pub async fn bursts(run: &Run) -> Result<Vec<Figure>, Error> {
    let banner = run.target.banner().await?;
    let offers = |mechanism: &str| {
        banner
            .mechanisms
            .iter()
            .any(|one| one.eq_ignore_ascii_case(mechanism))
    };
    let scram = ["SCRAM-SHA-256", "SCRAM-SHA-1"]
        .into_iter()
        .find(|mechanism| offers(mechanism));
    let plain = offers("PLAIN").then_some("PLAIN");
    let tls = banner.offers("STARTTLS");
    let mut figures = Vec::new();
    for dumps in [false, true] {
        for (kind, mechanism, starttls) in [
            ("plain", plain, run.target.account.starttls),
            ("scram", scram, run.target.account.starttls),
            ("tls", tls.then(|| plain.or(scram).unwrap_or("PLAIN")), true),
        ] {
            let (key, label) = named(kind, mechanism, dumps);
            let Some(mechanism) = mechanism else {
                figures.push(Figure::absent(&key, &label, "not offered"));
                continue;
            };
            let account = Account {
                mechanism: Some(mechanism.to_owned()),
                starttls,
                ..run.target.account.clone()
            };
            figures.extend(burst_beside(run, account, dumps, &key, &label).await?);
        }
    }
    Ok(figures)
}

fn named(kind: &str, mechanism: Option<&str>, dumps: bool) -> (String, String) {
    let beside = if dumps { ", beside dumps" } else { "" };
    let how = match kind {
        "tls" => format!("TLS, {}", mechanism.unwrap_or("PLAIN")),
        "plain" => "PLAIN".to_owned(),
        _ => mechanism.unwrap_or("SCRAM").to_owned(),
    };
    let key = if dumps {
        format!("{kind}_beside_dumps")
    } else {
        kind.to_owned()
    };
    (key, format!("{how}{beside}"))
}

async fn burst_beside(
    run: &Run,
    account: Account,
    dumps: bool,
    key: &str,
    label: &str,
) -> Result<Vec<Figure>, Error> {
    let mut background = Background::new(run);
    if dumps {
        background.dumps(run, run.plan.slaves)?;
        background.warm(1, WARM_TIME).await;
    }
    let (latencies, took, begun) = burst(run, account).await?;
    let meanwhile = background.end().await?;
    scratch::remove(run, ROW, begun).await?;
    let at_once = run.plan.burst;
    let per_second = rate(latencies.samples(), took);
    let rate_label = format!("{label}: sessions, {at_once} at once");
    let mut figures = vec![Figure::one(
        &format!("{key}_per_s"),
        &rate_label,
        Unit::PerSecond,
        per_second,
    )];
    figures.extend(Figure::latency(key, label, &latencies));
    for mut figure in meanwhile {
        figure.key = format!("{key}_{}", figure.key);
        figures.push(figure);
    }
    Ok(figures)
}

/// Latencies, how long all took, and how many names they have made.
async fn burst(run: &Run, account: Account) -> Result<(Latencies, Duration, u64), Error> {
    let name = run.target.name.clone();
    let way = Way::of(&account).map_err(|cause| Error::LogIn {
        server: name,
        cause: Box::new(cause),
    })?;
    let (target, samples, at_once) = (run.target.clone(), run.plan.samples, run.plan.burst);
    let deadline = Instant::now() + run.plan.row_time / KINDS;
    let worker = Worker::start("log-ins", &run.cancel, move || async move {
        let (next, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        let began = Instant::now();
        for _ in 0..at_once {
            let (target, way, next) = (target.clone(), way.clone(), next.clone());
            tasks.spawn(async move {
                let numbers =
                    || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < samples);
                one_after_another(&target, &way, numbers, deadline).await
            });
        }
        let mut all = Latencies::new();
        while let Some(one) = tasks.join_next().await {
            all.add(&one.map_err(|_| Error::Thread { name: "log-ins" })??);
        }
        Ok((
            all,
            began.elapsed(),
            next.load(Ordering::Relaxed).min(samples),
        ))
    })?;
    worker.done().await
}

async fn one_after_another(
    target: &Target,
    way: &Way,
    mut numbers: impl FnMut() -> Option<u64>,
    deadline: Instant,
) -> Result<Latencies, Error> {
    let mut latencies = Latencies::new();
    while Instant::now() < deadline
        && let Some(number) = numbers()
    {
        let began = Instant::now();
        session(target, way, number).await?;
        latencies.record(began.elapsed());
    }
    Ok(latencies)
}

/// What a backend does for a new mailbox.
async fn session(target: &Target, way: &Way, number: u64) -> Result<(), Error> {
    let mut raw = target.connect_by(way).await?;
    let scratch = Scratch { row: ROW, number };
    let mut octets = Vec::new();
    push_reserve_scratch(&mut octets, "R", scratch);
    raw.command(&octets, "R", "RESERVE").await?;
    octets.clear();
    push_activate_scratch(&mut octets, "A", scratch, LOCATION, &Mark::new(number));
    raw.command(&octets, "A", "ACTIVATE").await?;
    match raw.command(b"Q LOGOUT\r\n", "Q", "LOGOUT").await {
        // RFC 3656 wants a BYE, and some just close.
        Err(Error::Refused { .. } | Error::Closed { .. }) => Ok(()),
        other => other,
    }
}

const ROW: &str = "login";
/// Ways, alone and beside dumps, that share the time of the row.
const KINDS: u32 = 6;
const WARM_TIME: Duration = Duration::from_secs(3);
