//! Differential privacy: aggregates whose every figure carries calibrated noise, so that one individual more or less
//! changes the probability of any answer by a bounded factor, whatever else the caller knows or asks.
//!
//! A query over such a dataset has exactly one aggregate over its rows. `rewrite` replaces it: the rows are first
//! tallied per subject and group (`quantise` clamps a measure and puts it on a grid of integers), then `release` keeps
//! a bounded share of each subject, adds the shares up, adds noise (`noise`), leaves out groups that could give away
//! that somebody is in them (`threshold`), and sorts. `mechanism` fixes all of this when the query is planned, from
//! the text and the policy alone: sensitivities, noise and loss never depend on data. From the tallies to the release
//! everything is an integer; floating point enters after the noise only.
//!
//! This module knows no ledger: it says what a plan costs, and the engine runs it against evidence of the charge.

mod mechanism;
mod noise;
mod quantise;
mod release;
mod rewrite;
mod threshold;
mod totals;

#[cfg(test)]
mod events;

pub(super) use self::{
    mechanism::Declared,
    noise::{NoiseSource, SystemNoise},
    quantise::Quantise,
    release::{PrivateAggregate, PrivateAggregateExec},
    rewrite::privatise,
};

#[cfg(test)]
pub(super) use self::noise::{Noise, Scale};

use super::{dataset::arrow_type, failure::reject};
use crate::{
    domain::{Bounds, Column, DatasetId, Delta, Epsilon},
    error::Error,
};

/// What a plan costs its dataset; decided by the text and the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyLoss {
    /// Whose individuals.
    pub dataset: DatasetId,
    /// The loss.
    pub epsilon: Epsilon,
    /// The probability with which it may be exceeded; zero if only groups that everybody knows are released.
    pub delta: Delta,
}

/// Whether a measure can be counted exactly between these bounds.
pub(super) fn bounds_fit(bounds: Bounds, column: &Column) -> bool {
    quantise::Quantiser::new(&arrow_type(column.data_type), bounds).is_some()
}

/// The refusal of what differential privacy does not allow.
fn not_private(detail: impl std::fmt::Display) -> Error {
    reject("privacy", format_args!("a dataset of this query answers with differential privacy: {detail}"))
}
