//! Times of day.

use std::str::FromStr;

use jiff::Zoned;
use thiserror::Error;

/// A span of local time, each day: `02:00-05:00`, also past midnight. The end is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minutes since midnight.
    from: u16,
    to: u16,
}

/// Not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{text}' is no time window, expected one like 02:00-05:00")]
pub struct InvalidWindow {
    /// What stands there.
    pub text: String,
}

impl Window {
    /// Whether a minute of the day is inside.
    pub fn contains(self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// Whether it is that time now.
    pub(crate) fn is_now(self) -> bool {
        let now = Zoned::now();
        let minute = i32::from(now.hour()) * 60 + i32::from(now.minute());
        self.contains(u16::try_from(minute).unwrap_or_default())
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let window = || {
            let (from, to) = text.trim().split_once('-')?;
            Some(Self {
                from: minute(from)?,
                to: minute(to)?,
            })
        };
        window()
            .filter(|window| window.from != window.to)
            .ok_or_else(|| InvalidWindow { text: text.into() })
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 24 && minutes < 60 && hours * 60 + minutes <= 1440).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_pass_midnight() {
        let night: Window = "22:30-05:00".parse().unwrap();
        assert!(night.contains(23 * 60) && night.contains(0) && night.contains(299));
        assert!(!night.contains(300) && !night.contains(12 * 60));
        let early: Window = " 02:00 - 05:00 ".parse().unwrap();
        assert!(early.contains(120) && !early.contains(119) && !early.contains(300));
        for bad in [
            "",
            "2-5",
            "02:00-02:00",
            "25:00-26:00",
            "02:60-03:00",
            "a:b-c:d",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }
}
