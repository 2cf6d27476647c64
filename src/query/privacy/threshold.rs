//! From how many noisy subjects on a group may appear that the policy does not list.
//!
//! That a group exists at all tells that somebody is in it. A subject who alone is in a group counts one there, so the
//! group of nobody else appears with probability `P[1 + Z >= t]`, which the policy's delta must cover for all of the
//! groups that one subject can be in: `1 - (1 - P[Z >= t - 1])^groups`. Thresholds without the one understate it
//! (`OpenDP` issue 2922).

/// The smallest threshold `t` at which `groups` groups of one subject appear with probability `delta` at most, where
/// the noise on the number of subjects is discrete Laplace of `scale`; none if there is none below `i64::MAX`.
///
/// Computed once per plan from the policy alone, in doubles, and rounded up.
pub(super) fn threshold(groups: u64, scale: f64, delta: f64) -> Option<i64> {
    if !(delta > 0.0 && scale > 0.0 && scale.is_finite()) {
        return None;
    }
    // The whole is at most the sum of its parts, and computing it so is exact where delta is small.
    #[expect(clippy::cast_precision_loss, reason = "a number of groups is far below 2^52")]
    let each = delta.min(0.5) / groups.max(1) as f64;
    // P[Z >= x] = exp(-x / s) / (1 + exp(-1 / s)) for x >= 1; solved for x, with a margin for rounding.
    let least = -scale * (each * (1.0 + (-1.0 / scale).exp())).ln();
    let least = (least * (1.0 + 1e-12)).ceil().max(1.0) + 1.0;
    #[expect(clippy::cast_possible_truncation, reason = "compared with the range first")]
    (least < 9.0e18).then_some(least as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the groups of one subject alone, the probability that any appears.
    fn exceeded(groups: i32, scale: f64, threshold: i64) -> f64 {
        let beyond = f64::from(i32::try_from(threshold - 1).unwrap());
        let tail = (-beyond / scale).exp() / (1.0 + (-1.0 / scale).exp());
        1.0 - (1.0 - tail).powi(groups)
    }

    #[test]
    fn a_known_case_has_its_known_threshold() {
        assert_eq!(threshold(3, 3.0, 1e-6), Some(45));
    }

    #[test]
    fn the_threshold_is_the_smallest_that_delta_covers() {
        for groups in [1, 2, 3, 10, 50] {
            for scale in [0.3, 1.0, 3.0, 17.5, 400.0] {
                for delta in [1e-3, 1e-6, 1e-9] {
                    let it = threshold(groups, scale, delta).unwrap();
                    let groups = i32::try_from(groups).unwrap();
                    assert!(exceeded(groups, scale, it) <= delta, "{groups} {scale} {delta}: {it}");
                    // One less, and by more than the union bound's slack, would not do.
                    assert!(it <= 2 || exceeded(groups, scale, it - 2) > delta, "{groups} {scale} {delta}: {it}");
                }
            }
        }
    }

    #[test]
    fn no_delta_has_no_threshold() {
        assert_eq!(threshold(1, 1.0, 0.0), None);
        assert_eq!(threshold(1, f64::INFINITY, 1e-6), None);
    }
}
