//! Values of options: switches, numbers, durations.

use std::time::Duration;

use thiserror::Error;

/// What is wrong with a value; the caller says whose.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Neither yes nor no.
    #[error("is neither yes nor no")]
    Switch,
    /// Not a number, or out of range.
    #[error("is not a whole number from {min} to {max}")]
    Number {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// Not a duration.
    #[error("is not a duration such as 3s, 5m, 1h or 1d")]
    Duration,
    /// Not a span of time.
    #[error("is not a span of time such as 02:00-05:00")]
    Window,
    /// Not one of a few words.
    #[error("is not one of {allowed}")]
    Word {
        /// The words.
        allowed: &'static str,
    },
}

/// `yes`, `on`, `true`, `1` and their opposites, told by how they begin as Cyrus does
/// (`config_parse_switch`): what follows on the line has never done harm there.
pub(crate) fn switch(value: &str) -> Result<bool, ValueError> {
    match value.to_ascii_lowercase().as_bytes() {
        [b'y' | b't' | b'1', ..] | [b'o', b'n', ..] => Ok(true),
        [b'n' | b'f' | b'0', ..] | [b'o', b'f', ..] => Ok(false),
        _ => Err(ValueError::Switch),
    }
}

/// A whole number within bounds.
pub(crate) fn number(value: &str, min: u64, max: u64) -> Result<u64, ValueError> {
    let number: u64 = value.parse().map_err(|_| ValueError::Number { min, max })?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(ValueError::Number { min, max })
    }
}

/// `90`, `90s`, `1h30m`: seconds unless a unit says otherwise (Cyrus 3.2 and later).
pub(crate) fn duration(value: &str) -> Result<Duration, ValueError> {
    let mut seconds: u64 = 0;
    let mut rest = value;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, tail) = rest.split_at(digits);
        let count: u64 = count.parse().map_err(|_| ValueError::Duration)?;
        let (unit, tail) = match tail.chars().next() {
            None => (1, ""),
            Some('s') => (1, tail.get(1..).unwrap_or_default()),
            Some('m') => (60, tail.get(1..).unwrap_or_default()),
            Some('h') => (60 * 60, tail.get(1..).unwrap_or_default()),
            Some('d') => (24 * 60 * 60, tail.get(1..).unwrap_or_default()),
            Some(_) => return Err(ValueError::Duration),
        };
        let part = count.checked_mul(unit).ok_or(ValueError::Duration)?;
        seconds = seconds.checked_add(part).ok_or(ValueError::Duration)?;
        rest = tail;
    }
    if value.is_empty() {
        Err(ValueError::Duration)
    } else {
        Ok(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_cyrus_writes_them() {
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("1d"), Ok(Duration::from_hours(24)));
        for wrong in [
            "",
            "s",
            "3x",
            "-1",
            "99999999999999999999",
            "300000000000000000d",
        ] {
            assert_eq!(duration(wrong), Err(ValueError::Duration), "{wrong}");
        }
    }

    #[test]
    fn switches_and_numbers() {
        assert_eq!((switch("Yes"), switch("0")), (Ok(true), Ok(false)));
        assert_eq!(switch("yes   # as ever"), Ok(true));
        assert_eq!((switch("on"), switch("off")), (Ok(true), Ok(false)));
        assert_eq!(switch("maybe"), Err(ValueError::Switch));
        assert_eq!(number("7", 1, 9), Ok(7));
        assert_eq!(
            number("10", 1, 9).unwrap_err().to_string(),
            "is not a whole number from 1 to 9"
        );
    }
}
