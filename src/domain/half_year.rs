//! Half-years: the periods by which the audit log is kept, mirrored and pruned.

use std::{fmt, str::FromStr};

use super::Timestamp;
use crate::error::Error;

/// A half of a calendar year in UTC, ordered in time. Written `2026h1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HalfYear {
    year: i16,
    half: u8,
}

impl HalfYear {
    /// The half-year of an instant; none for one that no calendar has.
    pub fn of(at: Timestamp) -> Option<Self> {
        let instant = jiff::Timestamp::from_microsecond(at.micros()).ok()?;
        let date = jiff::tz::TimeZone::UTC.to_datetime(instant);
        Some(Self { year: date.year(), half: if date.month() < 7 { 1 } else { 2 } })
    }
}

impl fmt::Display for HalfYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}h{}", self.year, self.half)
    }
}

impl FromStr for HalfYear {
    type Err = Error;

    /// Accepts the one form that is written.
    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (year, half) = text.split_once('h')?;
            let read = Self { year: year.parse().ok()?, half: half.parse().ok()? };
            (matches!(read.half, 1 | 2) && read.to_string() == text).then_some(read)
        };
        read().ok_or_else(|| Error::invalid("half-year", format!("`{}` is not one", text.escape_debug())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_fall_into_half_years_in_order() {
        let of = |text: &str| HalfYear::of(text.parse().unwrap()).unwrap();
        let names: Vec<_> = ["2026-01-01", "2026-06-30T23:59:59.999999Z", "2026-07-01", "2027-01-01T00:00:00+01:00"]
            .map(|text| of(text).to_string())
            .into();
        assert_eq!(names, ["2026h1", "2026h1", "2026h2", "2026h2"]);
        assert!(of("2026-12-31") < of("2027-01-01") && of("2026-06-30") < of("2026-07-01"));
        assert_eq!(HalfYear::of(Timestamp::from_micros(i64::MAX)), None);
    }

    #[test]
    fn only_the_one_form_is_read() {
        assert_eq!("2026h2".parse::<HalfYear>().unwrap().to_string(), "2026h2");
        for bad in ["", "2026", "2026h0", "2026h3", "2026H1", "26h1", "+2026h1", "2026h01", "2026h1 "] {
            assert!(bad.parse::<HalfYear>().is_err(), "{bad}");
        }
    }
}
