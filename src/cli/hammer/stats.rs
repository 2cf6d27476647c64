//! Latencies and rates, rounded to what can be believed.

use std::time::Duration;

use serde_json::{Value as Json, json};

/// How long things took, in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies(Vec<u64>);

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Least, median, 99th percentile and most, in milliseconds.
    pub(super) fn summary(&self) -> Json {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            milliseconds(sorted.get(place).copied().unwrap_or_default())
        };
        json!({"min": at(0), "median": at(50), "p99": at(99), "max": at(100)})
    }
}

/// Microseconds as milliseconds.
fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

/// How many in a second.
pub(super) fn rounded(count: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// How many times the one is the other, to a tenth.
pub(super) fn times(one: u64, other: u64) -> f64 {
    let tenths = u128::from(one) * 10 / u128::from(other.max(1));
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut took = Latencies::default();
        (1..=200).rev().for_each(|n| took.add(Duration::from_millis(n)));
        assert_eq!(took.summary(), json!({"min": 1.0, "median": 101.0, "p99": 199.0, "max": 200.0}));
        assert_eq!(Latencies::default().summary()["p99"], 0.0);
    }

    #[test]
    fn rates_and_ratios() {
        assert_eq!(rounded(500, Duration::from_millis(250)), 2_000);
        assert_eq!((times(45, 10), times(7, 0)), (4.5, 7.0));
    }
}
