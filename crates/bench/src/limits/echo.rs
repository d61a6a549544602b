//! A TCP echo on loopback: what a question and its answer cost at least.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use transport::Stream;

use crate::error::Error;
use crate::names::push_about;
use crate::number::rate;
use crate::pipeline::{self, Script};
use crate::probe::in_turn;
use crate::raw::Raw;
use crate::run::Plan;
use crate::stats::Latencies;
use crate::worker::Worker;

/// Round trips one after another, and answers a second in each round of a pipelined echo over the plan's connections.
pub async fn measure(plan: &Plan) -> Result<(Latencies, Vec<f64>), Error> {
    let address = serve()?;
    let (samples, deadline) = (plan.samples, Instant::now() + TIME_MAX);
    let cancel = CancellationToken::new();
    let _ended = cancel.clone().drop_guard();
    let probe = Worker::start("echo", &cancel, move || async move {
        let mut raw = connect(address).await?;
        in_turn(samples, deadline, async |_| {
            raw.command(b"A OK\r\n", "A", "echo").await
        })
        .await
    })?;
    let latencies = probe.done().await?;
    let mut rates = Vec::new();
    for _ in 0..plan.rounds.max(1) {
        rates.push(pipelined(plan, address, &cancel).await?);
    }
    Ok((latencies, rates))
}

/// What comes back is what was sent: lines as long as a FIND, each of them an OK.
async fn pipelined(
    plan: &Plan,
    address: SocketAddr,
    cancel: &CancellationToken,
) -> Result<f64, Error> {
    let (connections, window) = (plan.connections, plan.window);
    let each = COMMANDS / connections.max(1);
    let script = Arc::new(Script::of(0..each, |out, number| {
        let mut line = Vec::new();
        push_about(&mut line, "A", "OK", number);
        line.retain(|octet| !b"\r\n".contains(octet));
        out.extend_from_slice(&line);
        out.extend_from_slice(b"\r\n");
    }));
    let worker = Worker::start("echo", cancel, move || async move {
        let mut tasks = tokio::task::JoinSet::new();
        let began = Instant::now();
        for _ in 0..connections {
            let script = script.clone();
            tasks.spawn(async move {
                let mut raw = connect(address).await?;
                pipeline::run(&mut raw, &script, "A", window, began + TIME_MAX, "echo").await
            });
        }
        let mut done = 0;
        while let Some(one) = tasks.join_next().await {
            done += one.map_err(|_| Error::Thread { name: "echo" })??;
        }
        Ok(rate(done, began.elapsed()))
    })?;
    worker.done().await
}

async fn connect(address: SocketAddr) -> Result<Raw, Error> {
    let tcp = TcpStream::connect(address)
        .await
        .map_err(Error::system("connect to the echo"))?;
    Ok(Raw::new(Stream::from_tcp(tcp), b"", "echo".into(), None))
}

/// A thread for each connection, until that ends; the listener stays until the process does.
fn serve() -> Result<SocketAddr, Error> {
    let listener =
        TcpListener::bind("127.0.0.1:0").map_err(Error::system("listen for the echo"))?;
    let address = listener
        .local_addr()
        .map_err(Error::system("listen for the echo"))?;
    let accept = move || {
        for tcp in listener.incoming().flatten() {
            thread::spawn(move || echo(tcp));
        }
    };
    thread::Builder::new()
        .name("echo".into())
        .spawn(accept)
        .map_err(Error::system("start a thread"))?;
    Ok(address)
}

fn echo(mut tcp: std::net::TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    while let Ok(read) = tcp.read(&mut buffer) {
        let octets = buffer.get(..read).unwrap_or_default();
        if octets.is_empty() || tcp.write_all(octets).is_err() {
            return;
        }
    }
}

const TIME_MAX: Duration = Duration::from_secs(20);
const COMMANDS: u64 = 400_000;
const BUFFER_BYTES: usize = 64 * 1024;
