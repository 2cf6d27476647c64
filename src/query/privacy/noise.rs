//! Noise from the discrete Laplace distribution, exactly: Canonne, Kamath and Steinke's sampler on rationals.
//!
//! A floating-point sampler leaks through the low bits of its results (Mironov 2012). The sampler is `prio`'s, since it
//! takes any generator; whoever needs noise gets it through [`Noise`], so that tests can seed it or leave it out.

use std::fmt;

use prio::dp::{Rational, distributions::DiscreteLaplace};
use rand::{SeedableRng as _, distr::Distribution as _};
use rand_chacha::ChaCha20Rng;

use crate::query::failure::failed;

/// The scale of a discrete Laplace distribution, sensitivity over loss, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::query) struct Scale {
    pub(super) numerator: u128,
    pub(super) denominator: u128,
}

/// Draws noise for one answer.
pub(in crate::query) trait Noise: Send {
    /// A draw with probability proportional to `exp(-|x| / scale)` over all integers.
    fn laplace(&mut self, scale: Scale) -> crate::error::Result<i128>;
}

/// Where the noise of an answer comes from.
pub(in crate::query) trait NoiseSource: Send + Sync + fmt::Debug {
    /// Noise for one answer, independent of that of any other.
    fn start(&self) -> crate::error::Result<Box<dyn Noise>>;
}

/// The source of every real answer: `ChaCha20` under a fresh seed from the operating system, per answer.
#[derive(Debug)]
pub(in crate::query) struct SystemNoise;

impl NoiseSource for SystemNoise {
    fn start(&self) -> crate::error::Result<Box<dyn Noise>> {
        let mut seed = [0; 32];
        // Without randomness there is no answer; what was charged stays charged.
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| failed("no randomness"))?;
        Ok(Box::new(Sampler(ChaCha20Rng::from_seed(seed))))
    }
}

/// The sampler over a generator.
pub(super) struct Sampler(pub(super) ChaCha20Rng);

impl Noise for Sampler {
    fn laplace(&mut self, scale: Scale) -> crate::error::Result<i128> {
        let scale = Rational::from_unsigned(scale.numerator, scale.denominator).map_err(|_| failed("noise scale"))?;
        let distribution = DiscreteLaplace::new(scale).map_err(|_| failed("noise scale"))?;
        i128::try_from(distribution.sample(&mut self.0)).map_err(|_| failed("noise out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 50_000;

    /// The upper bound of a chi-square statistic at a level of 1e-9 (Wilson and Hilferty).
    fn bound(freedom: f64) -> f64 {
        let z = 5.998;
        let each = 2.0 / (9.0 * freedom);
        freedom * (1.0 - each + z * each.sqrt()).powi(3)
    }

    #[test]
    fn draws_fit_the_exact_distribution() {
        for (seed, numerator, denominator) in [(1, 3_u128, 1_u128), (2, 7, 2), (3, 1, 3)] {
            let mut sampler = Sampler(ChaCha20Rng::seed_from_u64(seed));
            let reach = 12_i32;
            let mut found = vec![0_u32; usize::try_from(2 * reach + 1).unwrap()];
            for _ in 0..DRAWS {
                let draw = sampler.laplace(Scale { numerator, denominator }).unwrap();
                let draw = draw.clamp(-i128::from(reach), i128::from(reach));
                found[usize::try_from(draw + i128::from(reach)).unwrap()] += 1;
            }
            let scale = f64::from(u32::try_from(numerator).unwrap()) / f64::from(u32::try_from(denominator).unwrap());
            let q = (-1.0 / scale).exp();
            let mass = |x: i32| match x.abs() {
                // Both ends hold their tails.
                x if x == reach => q.powi(x) / (1.0 + q),
                x => (1.0 - q) / (1.0 + q) * q.powi(x),
            };
            let draws = f64::from(u32::try_from(DRAWS).unwrap());
            let (mut statistic, mut cells) = (0.0, 0.0);
            for (cell, count) in (-reach..=reach).zip(&found) {
                let expected = mass(cell) * draws;
                if expected >= 5.0 {
                    statistic += (f64::from(*count) - expected).powi(2) / expected;
                    cells += 1.0;
                }
            }
            assert!(statistic < bound(cells - 1.0), "scale {scale}: {statistic} over {cells} cells");
        }
    }

    #[test]
    fn every_answer_has_noise_of_its_own() {
        let scale = Scale { numerator: 1_000_000, denominator: 1 };
        let draw = || SystemNoise.start().unwrap().laplace(scale).unwrap();
        assert_ne!([draw(), draw(), draw()], [draw(), draw(), draw()]);
    }
}
