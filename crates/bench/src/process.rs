//! What the system tells of a server's process, and of this machine.

use std::time::Duration;

/// A look at a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Anonymous resident memory, in octets: what the program itself holds, without mapped files.
    pub anonymous_bytes: u64,
    /// Resident memory, in octets.
    pub resident_bytes: u64,
    /// Processor time so far.
    pub cpu: Duration,
}

/// Looks at a process; nothing if there is none of that number.
pub fn look(pid: u32) -> Option<Look> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Look {
        anonymous_bytes: kib(&status, "RssAnon:")?,
        resident_bytes: kib(&status, "VmRSS:")?,
        cpu: cpu(&stat)?,
    })
}

/// The load average, as the system writes it.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The kernel's name and release.
pub fn kernel() -> String {
    let uname = rustix::system::uname();
    let text = |octets: &std::ffi::CStr| octets.to_string_lossy().into_owned();
    format!("{} {}", text(uname.sysname()), text(uname.release()))
}

/// The processor's name.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map(|(_, name)| name.to_owned()).unwrap_or_default()
}

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second; the second field, in brackets, may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(Duration::from_millis((user + system) * MILLIS_EACH_TICK))
}

/// `USER_HZ` is 100 on every architecture of Linux that we know of.
const MILLIS_EACH_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        let look = look(std::process::id()).unwrap();
        assert!(look.anonymous_bytes > 0 && look.resident_bytes >= look.anonymous_bytes);
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "17 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
    }
}
