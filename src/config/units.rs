//! Durations (`30s`, `15m`, `30d`) and sizes (`4MiB`) as text: how the configuration and the CLI write them.
//!
//! Both forms are a whole number and one unit, so that a value has one obvious reading. They are written with
//! the largest unit that divides them, and reading what was written gives the same value.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serializer};

/// Units of a duration and their milliseconds, smallest first.
const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of a size and their bytes, smallest first.
const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads a duration such as `250ms`, `30s`, `15m`, `24h` or `30d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &DURATION_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{}` is not a duration such as `30s`, `15m`, `24h` or `30d`", text.escape_debug()))
}

/// Writes a duration as [`parse_duration`] reads it; what is below a millisecond is dropped.
pub fn format_duration(duration: Duration) -> String {
    format(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Reads a size in bytes such as `512KiB`, `4MiB` or `2GiB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    parse(text, &SIZE_UNITS)
        .ok_or_else(|| format!("`{}` is not a size such as `64KiB`, `4MiB` or `2GiB`", text.escape_debug()))
}

/// Writes a size in bytes as [`parse_bytes`] reads it.
pub fn format_bytes(bytes: u64) -> String {
    format(bytes, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(*factor);
    let (name, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{name}", value / factor)
}

/// For `#[serde(with = "duration")]` on a [`Duration`].
pub(super) mod duration {
    use super::{Deserialize, Deserializer, Duration, Serializer, format_duration, parse_duration};

    pub(in crate::config) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_duration(*value))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// For `#[serde(with = "bytes")]` on a `u64` or `usize` that counts bytes.
pub(super) mod bytes {
    use super::{Deserialize, Deserializer, Serializer, fmt, format_bytes, parse_bytes};

    pub(in crate::config) fn serialize<N, S>(value: &N, to: S) -> Result<S::Ok, S::Error>
    where
        N: Copy + TryInto<u64>,
        N::Error: fmt::Display,
        S: Serializer,
    {
        let bytes = (*value).try_into().map_err(serde::ser::Error::custom)?;
        to.serialize_str(&format_bytes(bytes))
    }

    pub(in crate::config) fn deserialize<'de, N, D>(from: D) -> Result<N, D::Error>
    where
        N: TryFrom<u64>,
        N::Error: fmt::Display,
        D: Deserializer<'de>,
    {
        let bytes = parse_bytes(&String::deserialize(from)?).map_err(serde::de::Error::custom)?;
        N::try_from(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_back_as_written() {
        for text in ["0ms", "250ms", "30s", "90s", "15m", "30d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["0B", "1000B", "64KiB", "4MiB", "2GiB", "3TiB"] {
            assert_eq!(format_bytes(parse_bytes(text).unwrap()), text);
        }
        assert_eq!(parse_duration("15m").unwrap(), Duration::from_mins(15));
        assert_eq!(parse_bytes("4MiB").unwrap(), 4 * 1024 * 1024);
    }

    #[test]
    fn anything_but_a_whole_number_and_one_unit_is_refused() {
        for text in ["", "30", "s", "1.5h", "-3s", "1h30m", "30 s", "30S", "99999999999999999999d", "9999999999999999d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "4", "4MB", "4mib", "-1KiB", "99999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
