//! Times on the clock of several ways to one answer, taken in turn forwards and backwards, and what is made of them.

use std::time::Duration;

/// Times of each way, in the order in which the ways are named.
pub(crate) struct Times(Vec<Vec<f64>>);

impl Times {
    /// Without times, for so many ways.
    pub(crate) fn new(ways: usize) -> Self {
        Self(vec![Vec::new(); ways])
    }

    /// The order of the ways in a round: A B, B A, A B and so on, so that what changes slowly falls on all of them.
    pub(crate) fn order(&self, round: usize) -> Vec<usize> {
        let forwards = 0..self.0.len();
        if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
    }

    /// One more time of a way.
    pub(crate) fn add(&mut self, way: usize, took: Duration) {
        self.0[way].push(took.as_secs_f64() * 1_000.0);
    }

    /// The median of a way in milliseconds; not a number if it has none.
    pub(crate) fn median(&self, way: usize) -> f64 {
        self.percentile(way, 50)
    }

    /// The smallest time that `percent` of all do not exceed, in milliseconds.
    pub(crate) fn percentile(&self, way: usize, percent: usize) -> f64 {
        let mut sorted = self.0[way].clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }

    /// The median of a way over that of another.
    pub(crate) fn ratio(&self, way: usize, over: usize) -> f64 {
        self.median(way) / self.median(over)
    }
}

/// The geometric mean.
pub(crate) fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = ratios.into_iter().map(f64::ln).collect();
    #[expect(clippy::cast_precision_loss, reason = "as many as there are queries")]
    let count = logs.len() as f64;
    (logs.iter().sum::<f64>() / count).exp()
}
