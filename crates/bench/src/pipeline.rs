//! Commands that go on without waiting for each answer, up to so many in flight.

use std::time::Instant;

use crate::error::Error;
use crate::number::{count, length};
use crate::raw::Raw;

/// Commands, ready to be sent.
#[derive(Debug, Default, Clone)]
pub struct Script {
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl Script {
    /// A command for each number, which `push` appends.
    pub fn of(
        numbers: impl IntoIterator<Item = u64>,
        mut push: impl FnMut(&mut Vec<u8>, u64),
    ) -> Self {
        let mut script = Self::default();
        for number in numbers {
            push(&mut script.octets, number);
            script.ends.push(script.octets.len());
        }
        script
    }

    /// How many commands.
    pub fn len(&self) -> u64 {
        count(self.ends.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The octets of commands `from` up to `to`.
    pub fn slice(&self, from: u64, to: u64) -> &[u8] {
        let end = |commands: u64| match length(commands).checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(self.octets.len()),
            None => 0,
        };
        self.octets.get(end(from)..end(to)).unwrap_or_default()
    }
}

/// Runs a script to its end or until `deadline`, with up to `window` commands in flight; all of them have the tag `tag`.
/// Returns how many were answered with OK.
pub async fn run(
    raw: &mut Raw,
    script: &Script,
    tag: &str,
    window: u64,
    deadline: Instant,
    doing: &'static str,
) -> Result<u64, Error> {
    let (mut sent, mut done, mut last) = (0, 0, script.len());
    while done < last {
        let upto = last.min(done + window);
        if upto > sent {
            raw.send(script.slice(sent, upto), doing).await?;
            sent = upto;
        }
        done += raw.answers(tag, last - done, doing)?;
        if done == last {
            break;
        }
        raw.fill(doing).await?;
        done += raw.answers(tag, last - done, doing)?;
        if Instant::now() >= deadline {
            last = sent;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use transport::Stream;

    #[test]
    fn slices_are_whole_commands() {
        let script = Script::of(8..12, |out, number| {
            out.extend_from_slice(format!("A {number}\n").as_bytes());
        });
        assert_eq!(script.len(), 4);
        assert_eq!(script.slice(0, 2), b"A 8\nA 9\n");
        assert_eq!(script.slice(2, 4), b"A 10\nA 11\n");
        assert_eq!(script.slice(4, 4), b"");
        assert!(Script::default().is_empty());
    }

    /// A server that says OK to each line; ends with the connection. Returns the most lines that it had at once.
    async fn serve(listener: TcpListener) -> usize {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tcp = BufReader::new(tcp);
        let (mut line, mut most) = (String::new(), 0);
        while tcp.read_line(&mut line).await.unwrap() > 0 {
            most = most.max(1 + memchr::memchr_iter(b'\n', tcp.buffer()).count());
            line.clear();
            tcp.get_mut().write_all(b"A OK \"done\"\r\n").await.unwrap();
        }
        most
    }

    async fn ran(commands: u64, window: u64, deadline: Instant) -> (u64, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let server = tokio::spawn(serve(listener));
        let mut raw = Raw::new(Stream::from_tcp(tcp), b"", "test".into(), None);
        let script = Script::of(0..commands, |out, _| out.extend_from_slice(b"A NOOP\n"));
        let done = run(&mut raw, &script, "A", window, deadline, "NOOP")
            .await
            .unwrap();
        drop(raw);
        (done, server.await.unwrap())
    }

    #[tokio::test]
    async fn all_is_answered_within_the_window() {
        let (done, most) = ran(1000, 7, Instant::now() + Duration::from_mins(1)).await;
        assert_eq!(done, 1000);
        assert!(most <= 7, "{most} in flight");
    }

    #[tokio::test]
    async fn what_was_sent_before_the_deadline_is_waited_for() {
        let (done, _) = ran(1000, 10, Instant::now()).await;
        assert!((10..30).contains(&done), "{done}");
    }
}
