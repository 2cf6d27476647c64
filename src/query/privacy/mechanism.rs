//! What is released and with how much noise: fixed when a query is planned, from its text and the policy.
//!
//! One individual more or less changes at most `max_groups` groups. In each it changes the number of subjects by one, a
//! count by at most `max_rows`, and a sum by at most the largest share that the bounds and `max_rows` allow; the L1
//! sensitivity of a figure over all groups is `max_groups` times that. The loss is split evenly over the figures.

use std::collections::BTreeSet;

use arrow::{
    array::Array as _,
    datatypes::{DataType, SchemaRef},
};
use datafusion::common::ScalarValue;

use super::{PrivacyLoss, noise::Scale, not_private, quantise::Quantiser, threshold::threshold};
use crate::{
    domain::{Column, DatasetId, Delta, Privacy},
    error::Result,
    query::{failure::failed, predicate::literal},
};

/// Most groups that a policy may list for one query, all combinations of its dimensions together.
const MAX_LISTED: usize = 10_000;
/// Largest share of one subject in a sum, on its grid.
const MAX_SHARE: i128 = 1 << 62;

/// What a policy declares of a dataset, as the planner needs it.
#[derive(Debug)]
pub(in crate::query) struct Declared {
    pub(super) dataset: DatasetId,
    pub(super) privacy: Privacy,
    pub(super) columns: Vec<Column>,
    /// Columns whose values are masked: what the policy lists of them is not what a query sees.
    pub(super) masked: BTreeSet<String>,
    /// Least number of subjects in a group, on top; applied to the noisy number.
    pub(super) k: Option<u32>,
    /// Chooses which groups of a subject count, the same ones each time and none that data could favour.
    pub(super) key: [u8; 32],
}

impl Declared {
    pub(in crate::query) const fn new(
        dataset: DatasetId,
        privacy: Privacy,
        columns: Vec<Column>,
        masked: BTreeSet<String>,
        k: Option<u32>,
        key: [u8; 32],
    ) -> Self {
        Self { dataset, privacy, columns, masked, k, key }
    }

    /// The quantiser of a measure; none if it has no bounds.
    pub(super) fn quantiser(&self, measure: &str, data_type: &DataType) -> Result<Option<Quantiser>> {
        let Some(bounds) = self.privacy.bounds.get(measure) else { return Ok(None) };
        let quantiser = Quantiser::new(data_type, *bounds).ok_or_else(|| failed("bounds do not fit the measure"))?;
        Ok(Some(quantiser))
    }

    /// The values that the policy lists of a column, as the column's type.
    pub(super) fn listed(&self, name: &str) -> Result<Option<Vec<ScalarValue>>> {
        let unfit = || failed("listed values do not fit the dimension");
        let column = self.columns.iter().find(|column| column.name == name);
        let (Some(values), Some(column)) = (self.privacy.groups.get(name), column) else { return Ok(None) };
        if self.masked.contains(name) {
            return Ok(None);
        }
        let scalar = |value| {
            let array = literal(column, value).map_err(|_| unfit())?.into_inner();
            if array.len() == 1 { ScalarValue::try_from_array(&array, 0).map_err(|_| unfit()) } else { Err(unfit()) }
        };
        Ok(Some(values.iter().map(scalar).collect::<Result<_>>()?))
    }
}

/// What is tallied of each subject in each group, before noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tally {
    /// Rows, or values that are there.
    Count,
    /// A sum of quantised values between these two.
    Sum { lower: i64, upper: i64 },
}

/// A column of the answer after those of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Output {
    /// The number of subjects.
    Subjects,
    /// A tally of [`Tally::Count`].
    Count(usize),
    /// A tally of [`Tally::Sum`].
    Sum(usize, Quantiser),
    /// The average: a tally of the sum of differences from the middle of the bounds, over one of the number of values.
    Average(usize, usize, Quantiser),
}

/// Which groups appear in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Groups {
    /// All of it is one group.
    One,
    /// Exactly these.
    Listed(Vec<Vec<ScalarValue>>),
    /// Those that are large enough.
    Found,
}

/// How a query over a dataset is answered.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Mechanism {
    pub(super) groups: Groups,
    pub(super) tallies: Vec<Tally>,
    pub(super) outputs: Vec<Output>,
    /// Most groups in which one subject counts.
    pub(super) max_groups: usize,
    /// The share of one subject in a group, least and most, of each tally.
    pub(super) shares: Vec<(i128, i128)>,
    /// Noise of each tally.
    pub(super) scales: Vec<Scale>,
    /// Noise of the number of subjects, if it is needed.
    pub(super) subjects: Option<Scale>,
    /// Groups of fewer noisy subjects are left out.
    pub(super) least: Option<i64>,
    pub(super) key: [u8; 32],
    pub(super) epsilon: u64,
    pub(super) delta: u64,
}

impl Mechanism {
    pub(super) fn new(
        declared: &Declared,
        groups: Groups,
        tallies: Vec<Tally>,
        outputs: Vec<Output>,
    ) -> Result<(Self, PrivacyLoss)> {
        let privacy = &declared.privacy;
        let (epsilon, max_rows) = (privacy.epsilon.get(), i128::from(privacy.max_rows));
        if epsilon == 0 || privacy.max_groups == 0 || max_rows == 0 {
            return Err(failed("privacy without a loss"));
        }
        let most = privacy.max_groups as usize;
        let max_groups = match &groups {
            Groups::One => 1,
            Groups::Listed(listed) => most.min(listed.len()).max(1),
            Groups::Found => most,
        };
        let share = |tally: &Tally| match *tally {
            Tally::Count => (0, max_rows),
            Tally::Sum { lower, upper } => {
                ((max_rows * i128::from(lower)).min(0), (max_rows * i128::from(upper)).max(0))
            }
        };
        let shares: Vec<_> = tallies.iter().map(share).collect();
        if shares.iter().any(|(least, most)| *least <= -MAX_SHARE || *most >= MAX_SHARE) {
            return Err(not_private("the sum could overflow: its bounds times the rows of one subject are too large"));
        }
        let found = groups == Groups::Found;
        let counted = found || declared.k.is_some() || outputs.contains(&Output::Subjects);
        let figures = (tallies.len() + usize::from(counted)).max(1) as u128;
        // A tally that cannot change for anybody has no noise to draw; one unit of it keeps the scale above zero.
        let scale = |share: u128| Scale {
            numerator: (max_groups as u128) * share.max(1) * figures * 1_000_000_000,
            denominator: u128::from(epsilon),
        };
        let largest = |(least, most): &(i128, i128)| least.unsigned_abs().max(most.unsigned_abs());
        let scales = shares.iter().map(|share| scale(largest(share))).collect();
        let subjects = counted.then(|| scale(1));
        let delta = privacy.delta.filter(|_| found);
        let least = match (found, declared.k) {
            (false, k) => k.map(i64::from),
            (true, k) => Some(Self::threshold(max_groups, scale(1), delta)?.max(i64::from(k.unwrap_or(0)))),
        };
        let mechanism = Self {
            groups,
            tallies,
            outputs,
            max_groups,
            shares,
            scales,
            subjects,
            least,
            key: declared.key,
            epsilon,
            delta: delta.map_or(0, Delta::get),
        };
        let loss = PrivacyLoss {
            dataset: declared.dataset.clone(),
            epsilon: privacy.epsilon,
            delta: delta.unwrap_or_default(),
        };
        Ok((mechanism, loss))
    }

    fn threshold(max_groups: usize, scale: Scale, delta: Option<Delta>) -> Result<i64> {
        #[expect(clippy::cast_precision_loss, reason = "the threshold is rounded up afterwards")]
        let (scale, delta) =
            (scale.numerator as f64 / scale.denominator as f64, delta.map_or(0.0, |delta| delta.get() as f64 / 1e9));
        threshold(max_groups as u64, scale, delta).ok_or_else(|| failed("no threshold"))
    }

    /// Fails closed if the answer's columns are not what this mechanism releases.
    pub(super) fn check(&self, schema: &SchemaRef) -> Result<()> {
        let groups = match &self.groups {
            Groups::One => 0,
            Groups::Listed(listed) => listed.first().map_or(0, Vec::len),
            Groups::Found => schema.fields().len().saturating_sub(self.outputs.len()),
        };
        if schema.fields().len() == groups + self.outputs.len() { Ok(()) } else { Err(failed("columns of a release")) }
    }
}

/// All combinations of the values that a policy lists of each of the dimensions.
pub(super) fn combinations(dimensions: &[Vec<ScalarValue>]) -> Result<Vec<Vec<ScalarValue>>> {
    let number = dimensions.iter().try_fold(1_usize, |product, values| product.checked_mul(values.len()));
    if number.is_none_or(|number| number > MAX_LISTED) {
        return Err(not_private(format_args!("it has more than {MAX_LISTED} listed groups")));
    }
    let mut all = vec![Vec::new()];
    for values in dimensions {
        all = all
            .iter()
            .flat_map(|group| {
                values.iter().map(move |value| {
                    let mut longer = group.clone();
                    longer.push(value.clone());
                    longer
                })
            })
            .collect();
    }
    Ok(all)
}
