//! The whole list, and the list of a server.

use std::time::{Duration, Instant};

use memchr::memmem::{self, Finder};
use tokio::task::JoinSet;

use crate::background::{DUMP, DUMP_END};
use crate::error::Error;
use crate::names::SERVER_PREFIX;
use crate::number::{count, figure};
use crate::result::{Figure, Unit};
use crate::run::Run;
use crate::worker::Worker;

/// UPDATE by one slave, and by several at once.
pub async fn dump(run: &Run) -> Result<Vec<Figure>, Error> {
    let octets = check(run).await?;
    let known = run.limits.known();
    let mut figures = vec![Figure::one(
        "dump_bytes",
        "octets of a dump",
        Unit::Bytes,
        figure(octets),
    )];
    for (slaves, key, label, limit) in [
        (
            1,
            "dump_1",
            "a dump, one slave".to_owned(),
            known.one_reader_s,
        ),
        (
            run.plan.slaves,
            "dump_k",
            format!("{} dumps at once, the last", run.plan.slaves),
            known.readers_s,
        ),
    ] {
        let question = Question {
            octets: DUMP.to_vec(),
            end: DUMP_END,
            doing: "UPDATE",
        };
        let (seconds, cpu) = rounds(run, &question, slaves).await?;
        figures.extend(
            Figure::rounds(key, &label, Unit::Seconds, seconds).map(|found| found.beside(limit)),
        );
        let (key, label) = (format!("{key}_cpu"), "… processor time of the server, each");
        figures.extend(Figure::rounds(&key, label, Unit::Seconds, cpu));
    }
    Ok(figures)
}

/// LIST of the mailboxes of a server: here, of all.
pub async fn list(run: &Run) -> Result<Vec<Figure>, Error> {
    let prefix = SERVER_PREFIX;
    let octets = format!("L01 LIST {{{}+}}\r\n{prefix}\r\n", prefix.len()).into_bytes();
    let question = Question {
        octets,
        end: b"\nL01 OK ",
        doing: "LIST",
    };
    let (seconds, cpu) = rounds(run, &question, 1).await?;
    let limit = run.limits.known().one_reader_s;
    let list = Figure::rounds("list", "LIST with a server prefix", Unit::Seconds, seconds);
    let cpu = Figure::rounds(
        "list_cpu",
        "… processor time of the server, each",
        Unit::Seconds,
        cpu,
    );
    Ok(list
        .map(|found| found.beside(limit))
        .into_iter()
        .chain(cpu)
        .collect())
}

/// A question with a long answer.
#[derive(Clone)]
struct Question {
    octets: Vec<u8>,
    end: &'static [u8],
    doing: &'static str,
}

/// Seconds until the last of so many has the answer, and processor time for each, in rounds.
async fn rounds(
    run: &Run,
    question: &Question,
    slaves: usize,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
    loop {
        let before = run.look();
        let took = all_at_once(run, question, slaves).await?;
        seconds.push(took.as_secs_f64());
        if let Some((before, after)) = before.zip(run.look()) {
            let each =
                after.cpu.saturating_sub(before.cpu).as_secs_f64() / figure(count(slaves.max(1)));
            cpu.push(each);
        }
        if seconds.len() >= run.plan.rounds || !run.has_time_for(took) {
            return Ok((seconds, cpu));
        }
    }
}

async fn all_at_once(run: &Run, question: &Question, slaves: usize) -> Result<Duration, Error> {
    let (target, question) = (run.target.clone(), question.clone());
    let worker = Worker::start("slaves", &run.cancel, move || async move {
        let mut connections = Vec::new();
        for _ in 0..slaves {
            connections.push(target.connect().await?);
        }
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for mut raw in connections {
            let question = question.clone();
            tasks.spawn(async move {
                raw.send(&question.octets, question.doing).await?;
                raw.seek(&Finder::new(question.end), question.doing).await
            });
        }
        while let Some(one) = tasks.join_next().await {
            one.map_err(|_| Error::Thread { name: "slaves" })??;
        }
        Ok(began.elapsed())
    })?;
    worker.done().await
}

/// A first dump, in which the mailboxes are counted; its octets.
async fn check(run: &Run) -> Result<u64, Error> {
    let mut raw = run.target.connect().await?;
    let before = raw.octets();
    raw.send(DUMP, "UPDATE").await?;
    let (end, line) = (Finder::new(DUMP_END), Finder::new(b"\nU01 MAILBOX "));
    let mut found = 0;
    let is_complete = |input: &[u8]| memmem::rfind(input, end.needle()).is_some();
    while !is_complete(raw.input()) {
        raw.fill("UPDATE").await?;
        // Counted up to the last line begun, so that none is counted twice or cut.
        let input = raw.input();
        let Some(last) = memchr::memrchr(b'\n', input) else {
            continue;
        };
        found += count(
            line.find_iter(input.get(..last).unwrap_or_default())
                .count(),
        );
        if !is_complete(input) {
            bytes::Buf::advance(input, last);
        }
    }
    let expected = run.plan.mailboxes;
    if found < expected {
        return Err(Error::WrongList {
            server: run.target.name.clone(),
            found,
            expected,
        });
    }
    Ok(raw.octets() - before)
}
