//! The octets of a dump from memory over loopback: what a dump costs at least.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use memchr::memmem::Finder;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::Stream;

use crate::background::{DUMP, DUMP_END};
use crate::error::Error;
use crate::names::push_line;
use crate::number::count;
use crate::raw::Raw;
use crate::run::Plan;
use crate::worker::Worker;

/// Octets of a dump of so many mailboxes.
pub fn dump_bytes(mailboxes: u64) -> u64 {
    // All lines are like the first ten but for digits, of which there are as many.
    let mut lines = Vec::new();
    for number in 0..10 {
        push_line(&mut lines, "U01", number);
    }
    count(lines.len()) * mailboxes / 10
}

/// Seconds until the last of `readers` has them, in each round. They read as the rows of dumps do.
pub async fn measure(plan: &Plan, readers: usize) -> Result<Vec<f64>, Error> {
    let octets: Arc<[u8]> = dump(plan.mailboxes).into();
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds.max(1) {
        rounds.push(round(octets.clone(), readers).await?);
    }
    Ok(rounds)
}

fn dump(mailboxes: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    for number in 0..mailboxes {
        push_line(&mut octets, "U01", number);
    }
    octets.extend_from_slice(b"U01 OK \"done\"\r\n");
    octets
}

async fn round(octets: Arc<[u8]>, readers: usize) -> Result<f64, Error> {
    let address = serve(octets, readers)?;
    let cancel = CancellationToken::new();
    let worker = Worker::start("readers", &cancel, move || async move {
        let mut connections = Vec::new();
        for _ in 0..readers {
            let tcp = TcpStream::connect(address)
                .await
                .map_err(Error::system("connect to a sender"))?;
            connections.push(Raw::new(Stream::from_tcp(tcp), b"", "memory".into(), None));
        }
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for mut raw in connections {
            tasks.spawn(async move {
                raw.send(DUMP, "a dump from memory").await?;
                raw.seek(&Finder::new(DUMP_END), "a dump from memory").await
            });
        }
        while let Some(one) = tasks.join_next().await {
            one.map_err(|_| Error::Thread { name: "readers" })??;
        }
        Ok(began.elapsed().as_secs_f64())
    })?;
    worker.done().await
}

/// Accepts so many, each of which is sent the octets from a thread of its own when it asks.
fn serve(octets: Arc<[u8]>, readers: usize) -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::system("listen for readers"))?;
    let address = listener
        .local_addr()
        .map_err(Error::system("listen for readers"))?;
    let accept = move || {
        for mut tcp in listener.incoming().take(readers).flatten() {
            let octets = octets.clone();
            // A reader that has gone is missed by itself.
            thread::spawn(move || {
                let mut question = [0; DUMP.len()];
                tcp.read_exact(&mut question)
                    .and_then(|()| tcp.write_all(&octets))
            });
        }
    };
    thread::Builder::new()
        .name("senders".into())
        .spawn(accept)
        .map_err(Error::system("start a thread"))?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_reader_has_all_of_it() {
        for readers in [1, 5] {
            let seconds = round(dump(100_000).into(), readers).await.unwrap();
            assert!(seconds > 0.0);
        }
    }

    #[test]
    fn the_size_of_a_dump_is_known_before() {
        for mailboxes in [10, 1000] {
            let end = "U01 OK \"done\"\r\n".len();
            assert_eq!(dump_bytes(mailboxes), count(dump(mailboxes).len() - end));
        }
    }
}
