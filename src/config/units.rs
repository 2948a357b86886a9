//! Sizes and times as people write them: a whole number and its unit, `"64 MiB"`, `"30s"`. Pure.
//!
//! A bare number is refused, 0 included: whoever wrote `max-ttl = 60` meant seconds, or minutes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A size in octets. `kB`, `MB`, `GB` count in thousands, `KiB`, `MiB`, `GiB` in 1,024s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time, written in `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text, UnitError::NoSizeUnit)?;
        let (_, factor) = SIZES
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(UnitError::UnknownSizeUnit)?;
        number.checked_mul(*factor).map(Self).ok_or(UnitError::TooLarge)
    }
}

/// The largest unit of 1,024s that keeps the number whole.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary =
            |(name, factor): &&(&str, u64)| name.ends_with("iB") && self.0 >= *factor && self.0.is_multiple_of(*factor);
        match SIZES.iter().rev().find(binary) {
            Some((name, factor)) => write!(f, "{} {name}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text, UnitError::NoTimeUnit)?;
        let (_, factor) = TIMES
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(UnitError::UnknownTimeUnit)?;
        number
            .checked_mul(*factor)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or(UnitError::TooLarge)
    }
}

/// The largest unit that keeps the number whole.
impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match TIMES
            .iter()
            .rev()
            .find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor))
        {
            Some((name, factor)) => write!(f, "{}{name}", ms / factor),
            None => f.write_str("0s"),
        }
    }
}

/// Why a text is not a size or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// No whole number in front.
    NoNumber,
    /// A size without its unit.
    NoSizeUnit,
    /// A time without its unit.
    NoTimeUnit,
    /// A unit that is not a size.
    UnknownSizeUnit,
    /// A unit that is not a time.
    UnknownTimeUnit,
    /// More than 64 bits hold.
    TooLarge,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNumber => {
                "expected one whole number and its unit, such as \"64 MiB\" for a size or \"30s\" for a time"
            }
            Self::NoSizeUnit => "a size needs its unit: write for example \"64 MiB\"",
            Self::NoTimeUnit => "a time needs its unit: write for example \"30s\", \"5m\", \"1h\" or \"1d\"",
            Self::UnknownSizeUnit => "unknown unit of size: expected B, kB, KiB, MB, MiB, GB or GiB",
            Self::UnknownTimeUnit => "unknown unit of time: expected ms, s, m, h or d",
            Self::TooLarge => "too large a number",
        })
    }
}

impl std::error::Error for UnitError {}

/// Splits `"64 MiB"`; the blank may be left out.
fn split(text: &str, no_unit: UnitError) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let number = digits.parse().map_err(|_| UnitError::TooLarge)?;
    match unit.trim_start() {
        "" => Err(no_unit),
        // "1.5 GiB", "1h30m": one whole number and one unit say the same.
        unit if unit.contains(|c: char| !c.is_ascii_alphabetic()) => Err(UnitError::NoNumber),
        unit => Ok((number, unit)),
    }
}

/// Units of size, small to large.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Units of time in milliseconds, small to large.
const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, octets, shown) in [
            ("64 MiB", 64 << 20, "64 MiB"),
            ("64MiB", 64 << 20, "64 MiB"),
            ("64MB", 64_000_000, "62500 KiB"),
            (" 1 GiB ", 1 << 30, "1 GiB"),
            ("1000 B", 1000, "1000 B"),
            ("0 B", 0, "0 B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (octets, shown), "{text}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn times() {
        for (text, ms, shown) in [
            ("0s", 0, "0s"),
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("5m", 300_000, "5m"),
            ("1 h", 3_600_000, "1h"),
            ("24h", 86_400_000, "1d"),
            ("90s", 90_000, "90s"),
        ] {
            let time: TimeSpan = text.parse().unwrap();
            assert_eq!(
                (time.0, time.to_string().as_str()),
                (Duration::from_millis(ms), shown),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        for (text, reason) in [
            ("64", UnitError::NoSizeUnit),
            ("0", UnitError::NoSizeUnit),
            ("64 mib", UnitError::UnknownSizeUnit),
            ("64 s", UnitError::UnknownSizeUnit),
            ("", UnitError::NoNumber),
            ("MiB", UnitError::NoNumber),
            ("-1 MiB", UnitError::NoNumber),
            ("1.5 GiB", UnitError::NoNumber),
            ("99999999999999999999 B", UnitError::TooLarge),
            ("18446744073709551615 GiB", UnitError::TooLarge),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(reason), "{text}");
        }
        for (text, reason) in [
            ("60", UnitError::NoTimeUnit),
            ("1h30m", UnitError::NoNumber),
            ("1 w", UnitError::UnknownTimeUnit),
            ("1 min", UnitError::UnknownTimeUnit),
        ] {
            assert_eq!(text.parse::<TimeSpan>(), Err(reason), "{text}");
        }
    }
}
