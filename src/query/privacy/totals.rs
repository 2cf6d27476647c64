//! From the tallies of subjects to released figures: bounded shares, sums, noise, and which groups appear.
//!
//! Integers only, until the noise is in: a figure becomes a decimal or a double by dividing a released integer.

use std::{collections::BTreeMap, mem::size_of, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, UInt64Array},
    datatypes::{DataType, Int64Type, Schema, SchemaRef},
    row::{RowConverter, SortField},
};
use aws_lc_rs::hmac;
use datafusion::{common::ScalarValue, error::Result};

use super::{
    mechanism::{Groups, Mechanism, Output},
    noise::Noise,
    quantise::{Grid, Quantiser},
    release::internal,
};

/// What a subject has in a group: the group's key and the tallies.
type Share = (Vec<u8>, Vec<i64>);

/// What the subjects have contributed to each group so far.
pub(super) struct Totals {
    mechanism: Arc<Mechanism>,
    columns: Vec<usize>,
    converter: RowConverter,
    /// By the group's key, whose bytes sort as its values do.
    groups: BTreeMap<Vec<u8>, Total>,
    /// The subject whose tallies are being read, and those read so far.
    current: Option<(u64, Vec<Share>)>,
    bytes: usize,
}

/// A group: its subjects, and the sums of their shares of each tally.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Total {
    subjects: i128,
    tallies: Vec<i128>,
}

impl Totals {
    /// Nothing yet, over batches of `schema` with subject, groups and tallies at `columns`.
    pub(super) fn new(mechanism: &Arc<Mechanism>, schema: &Schema, columns: &[usize]) -> Result<Self> {
        let keys = columns.get(1..columns.len() - mechanism.tallies.len()).unwrap_or_default();
        let types: Vec<DataType> = keys.iter().map(|at| schema.field(*at).data_type().clone()).collect();
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        let mut totals = Self {
            columns: columns.to_vec(),
            converter,
            groups: BTreeMap::new(),
            current: None,
            bytes: 0,
            mechanism: Arc::clone(mechanism),
        };
        match &mechanism.groups {
            Groups::Found => {}
            Groups::One => totals.list(Vec::new()),
            Groups::Listed(listed) => {
                let mut arrays = Vec::with_capacity(types.len());
                for (at, data_type) in types.iter().enumerate() {
                    let array = ScalarValue::iter_to_array(listed.iter().filter_map(|group| group.get(at).cloned()))?;
                    if array.data_type() != data_type {
                        return Err(internal("listed groups of another type"));
                    }
                    arrays.push(array);
                }
                for row in &totals.converter.convert_columns(&arrays)? {
                    totals.list(row.data().to_vec());
                }
            }
        }
        Ok(totals)
    }

    fn list(&mut self, key: Vec<u8>) {
        self.bytes += key.len() + self.group_size();
        let tallies = vec![0; self.mechanism.tallies.len()];
        self.groups.insert(key, Total { subjects: 0, tallies });
    }

    /// What an entry of a group takes, roughly.
    fn group_size(&self) -> usize {
        2 * size_of::<(Vec<u8>, Total)>() + self.mechanism.tallies.len() * size_of::<i128>()
    }

    /// Memory in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.current.as_ref().map_or(0, |(_, shares)| shares.len() * (self.group_size() + 16))
    }

    /// Reads tallies; those of one subject come one after the other. A missing subject does not count.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = self.columns.iter().map(|at| batch.column(*at));
        let subjects: &UInt64Array =
            columns.next().and_then(|column| column.as_primitive_opt()).ok_or_else(|| internal("no subject"))?;
        let tallies = self.mechanism.tallies.len();
        let keys: Vec<ArrayRef> = columns.by_ref().take(self.columns.len() - 1 - tallies).cloned().collect();
        let tallies = columns.map(|column| column.as_primitive_opt::<Int64Type>());
        let tallies = tallies.collect::<Option<Vec<_>>>().ok_or_else(|| internal("a tally is an integer"))?;
        let rows = if keys.is_empty() { None } else { Some(self.converter.convert_columns(&keys)?) };
        for row in 0..batch.num_rows() {
            if subjects.is_null(row) {
                continue;
            }
            let subject = subjects.value(row);
            let key = rows.as_ref().map(|rows| rows.row(row).data().to_vec()).unwrap_or_default();
            if self.mechanism.groups != Groups::Found && !self.groups.contains_key(&key) {
                continue;
            }
            let own = tallies.iter().map(|tally| if tally.is_valid(row) { tally.value(row) } else { 0 }).collect();
            match &mut self.current {
                Some((current, shares)) if *current == subject => shares.push((key, own)),
                Some((current, _)) if *current > subject => return Err(internal("subjects are not in order")),
                _ => {
                    self.finish();
                    self.current = Some((subject, vec![(key, own)]));
                }
            }
        }
        Ok(())
    }

    /// Adds the bounded share of the subject that was being read.
    pub(super) fn finish(&mut self) {
        let Some((subject, shares)) = self.current.take() else { return };
        for (key, own) in bounded(&self.mechanism, subject, shares) {
            if !self.groups.contains_key(&key) {
                self.list(key.clone());
            }
            let Some(total) = self.groups.get_mut(&key) else { continue };
            total.subjects += 1;
            for ((sum, own), (least, most)) in total.tallies.iter_mut().zip(own).zip(&self.mechanism.shares) {
                // Fewer than 2^64 shares below 2^62 do not overflow.
                *sum += i128::from(own).clamp(*least, *most);
            }
        }
    }

    /// The answer, and how many groups are left out of it.
    pub(super) fn release(mut self, noise: &mut dyn Noise, schema: &SchemaRef) -> Result<(RecordBatch, u64)> {
        let failed = |_| internal("noise");
        let (mut keys, mut figures, mut left_out) = (Vec::new(), Vec::new(), 0);
        for (key, mut total) in std::mem::take(&mut self.groups) {
            // All is drawn for every group, whether it appears or not.
            if let Some(scale) = self.mechanism.subjects {
                total.subjects = total.subjects.saturating_add(noise.laplace(scale).map_err(failed)?);
            }
            for (sum, scale) in total.tallies.iter_mut().zip(&self.mechanism.scales) {
                *sum = sum.saturating_add(noise.laplace(*scale).map_err(failed)?);
            }
            if self.mechanism.least.is_some_and(|least| total.subjects < i128::from(least)) {
                left_out += 1;
                continue;
            }
            keys.push(key);
            figures.push(total);
        }
        let parser = self.converter.parser();
        let mut columns = if keys.first().is_none_or(Vec::is_empty) && self.mechanism.groups == Groups::One {
            Vec::new()
        } else {
            self.converter.convert_rows(keys.iter().map(|key| parser.parse(key)))?
        };
        let types = schema.fields().iter().skip(columns.len()).map(|field| field.data_type());
        for (output, data_type) in self.mechanism.outputs.iter().zip(types) {
            columns.push(figure(*output, &figures, data_type)?);
        }
        Ok((RecordBatch::try_new(Arc::clone(schema), columns)?, left_out))
    }
}

/// The groups in which a subject counts: all, or those with the smallest keyed hashes, which no data can favour.
fn bounded(mechanism: &Mechanism, subject: u64, mut shares: Vec<Share>) -> Vec<Share> {
    if shares.len() > mechanism.max_groups {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &mechanism.key);
        shares.sort_by_cached_key(|(group, _)| {
            let mut context = hmac::Context::with_key(&key);
            context.update(b"odh/privacy/groups/v1");
            context.update(&subject.to_le_bytes());
            context.update(group);
            context.sign().as_ref().to_vec()
        });
        shares.truncate(mechanism.max_groups);
    }
    shares
}

/// A column of released figures.
fn figure(output: Output, totals: &[Total], data_type: &DataType) -> Result<ArrayRef> {
    let tally = |at: usize| totals.iter().map(move |total| total.tallies.get(at).copied().unwrap_or(0));
    let array: ArrayRef = match (output, data_type) {
        (Output::Subjects, DataType::Int64) => {
            Arc::new(Int64Array::from_iter_values(totals.iter().map(|total| narrow(total.subjects))))
        }
        (Output::Count(at) | Output::Sum(at, Quantiser { grid: Grid::Units, .. }), DataType::Int64) => {
            Arc::new(Int64Array::from_iter_values(tally(at).map(narrow)))
        }
        (Output::Sum(at, Quantiser { grid: Grid::Decimal { scale }, .. }), DataType::Decimal128(precision, stored))
            if scale == *stored =>
        {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let sums = Decimal128Array::from_iter_values(tally(at).map(|sum| sum.clamp(-most, most)));
            Arc::new(sums.with_precision_and_scale(*precision, *stored)?)
        }
        (Output::Sum(at, Quantiser { grid: Grid::Binary { bits }, .. }), DataType::Float64) => {
            Arc::new(Float64Array::from_iter_values(tally(at).map(|sum| double(sum) / double(1 << bits))))
        }
        (Output::Average(sum, count, quantiser), DataType::Float64) => {
            let averages = tally(sum).zip(tally(count)).map(|(sum, count)| average(sum, count, quantiser));
            Arc::new(Float64Array::from_iter_values(averages))
        }
        _ => return Err(internal("a figure of another type than was planned")),
    };
    Ok(array)
}

/// The middle of the bounds plus the mean difference from it, within the bounds.
fn average(sum: i128, count: i128, quantiser: Quantiser) -> f64 {
    let (lower, upper) = (double(quantiser.lower.into()), double(quantiser.upper.into()));
    let point = double(quantiser.middle().into()) + double(sum) / double(count.max(1));
    let unit = match quantiser.grid {
        Grid::Units => 1.0,
        Grid::Decimal { scale } => 10_f64.powi(scale.into()),
        Grid::Binary { bits } => double(1 << bits),
    };
    point.clamp(lower, upper) / unit
}

#[expect(clippy::cast_precision_loss, reason = "a released figure, rounded as any double is")]
const fn double(value: i128) -> f64 {
    value as f64
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
