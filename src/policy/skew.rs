//! Whether the time can be trusted: windows, grants and expiry are decided by it.
//!
//! It reads no clock. It remembers the latest instant that it was shown and refuses one that lies further back than a
//! clock is ever slewed, since a clock that is set back would bring what has ended into force again. It remembers for
//! one run of the process: after a clock was wrong in the future, correcting it takes a restart.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use super::fault::Fault;
use crate::{domain::Timestamp, error::Result};

/// How far a clock may go back: what time synchronisation corrects at once.
pub const MOST_BACK: Duration = Duration::from_secs(5);

/// 2020-01-01T00:00:00Z, before there was any hub.
const EARLIEST: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);
/// 2100-01-01T00:00:00Z.
const LATEST: Timestamp = Timestamp::from_micros(4_102_444_800_000_000);

/// Watches one clock.
#[derive(Debug)]
pub struct ClockGuard {
    latest: AtomicI64,
}

impl Default for ClockGuard {
    fn default() -> Self {
        Self { latest: AtomicI64::new(i64::MIN) }
    }
}

impl ClockGuard {
    /// The instant, if it can be the time. Otherwise `DECISION_FAILED` with the fault `clock_skew`, and an alert.
    pub fn check(&self, at: Timestamp) -> Result<Timestamp> {
        if at < EARLIEST || at >= LATEST {
            return Err(Fault::ClockSkew.raise(format_args!("the clock shows {at}")));
        }
        let latest = Timestamp::from_micros(self.latest.fetch_max(at.micros(), Ordering::Relaxed));
        if latest.since(at) > MOST_BACK {
            return Err(Fault::ClockSkew.raise(format_args!("the clock shows {at} after {latest}")));
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_that_cannot_be_is_refused_and_not_remembered() {
        let guard = ClockGuard::default();
        for (wrong, right) in [
            ("2019-12-31T23:59:59.999999Z", "2020-01-01T00:00:00Z"),
            ("2100-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("1970-01-01T00:00:00Z", "2099-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Fault::of(&guard.check(at(wrong)).unwrap_err()), Some(Fault::ClockSkew));
            assert!(guard.check(at(right)).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_clock_may_go_back_a_little_and_no_further_however_slowly_it_does() {
        let guard = ClockGuard::default();
        guard.check(at("2026-05-01T12:00:10Z")).unwrap();
        guard.check(at("2026-05-01T12:00:05Z")).unwrap();
        for later in ["2026-05-01T12:00:04.999999Z", "2026-05-01T12:00:01Z", "2025-01-01"] {
            assert_eq!(Fault::of(&guard.check(at(later)).unwrap_err()), Some(Fault::ClockSkew), "{later}");
        }
        guard.check(at("2026-05-01T12:00:10.000001Z")).unwrap();
    }
}
