//! A time of the day in which something may be done.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use jiff::Zoned;

const MINUTES_PER_DAY: u16 = 24 * 60;

/// From one minute of the day up to another, perhaps over midnight; local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    from: u16,
    to: u16,
}

impl Window {
    /// Whether now is inside.
    pub(super) fn is_open(self) -> bool {
        let now = Zoned::now();
        let minute = |number: i8| u16::try_from(number).unwrap_or(0);
        self.contains(minute(now.hour()) * 60 + minute(now.minute()))
    }

    fn contains(self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Window {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (from, to) = text.split_once('-').context("no '-' between two times")?;
        let (from, to) = (minute_of_day(from)?, minute_of_day(to)?);
        if from == to {
            bail!("the two times are the same");
        }
        Ok(Self { from, to })
    }
}

fn minute_of_day(text: &str) -> anyhow::Result<u16> {
    let (hours, minutes) = text.split_once(':').context("a time is HH:MM")?;
    let (hours, minutes): (u16, u16) = (hours.parse()?, minutes.parse()?);
    ensure!(minutes < 60, "there is no minute {minutes}");
    let minute = hours.saturating_mul(60).saturating_add(minutes);
    ensure!(minute <= MINUTES_PER_DAY, "there is no such time as {text}");
    Ok(minute)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        text.parse().unwrap()
    }

    #[test]
    fn windows_may_go_over_midnight() {
        let night = window("02:00-05:00");
        assert_eq!(night.to_string(), "02:00-05:00");
        assert!(night.contains(120) && night.contains(299));
        assert!(!night.contains(119) && !night.contains(300));
        let late = window("23:30-0:15");
        assert!(late.contains(23 * 60 + 30) && late.contains(0) && late.contains(14));
        assert!(!late.contains(15) && !late.contains(23 * 60 + 29));
        assert!(window("0:00-24:00").contains(1439));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "2-5",
            "02:00",
            "02:00-02:00",
            "02:60-03:00",
            "25:00-26:00",
            "a:b-c:d",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
