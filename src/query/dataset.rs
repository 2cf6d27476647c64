//! A dataset as one query may use it: its object, its columns, and what the policy and the consents leave of it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use aws_lc_rs::hmac;
use roaring::RoaringBitmap;

use super::{
    admit::is_reserved, answer::DatasetCounters, consent::ConsentBits, failure::failed, mask::ColumnMask,
    predicate::Predicate, privacy::Declared,
};
use crate::{
    domain::{Column, ColumnRole, ColumnType, Columns, DatasetId, How, Mask, SubjectKey},
    error::Result,
};

/// Name of the hidden column of every object with a subject key: the dense ordinal of the row's subject, `UInt32`.
pub const ORDINAL_COLUMN: &str = "__ordinal";

/// One dataset, and what this caller may do with it for this query.
#[derive(Debug, Clone)]
pub struct GovernedDataset {
    /// Owner and name: the table `owner.name`.
    pub id: DatasetId,
    /// The Parquet object that the hub wrote.
    pub object: PathBuf,
    /// Every column of the object, the hidden one aside.
    pub stored: Vec<Column>,
    /// The columns that exist for the caller.
    pub columns: Columns,
    /// The limits that bind: rule and floor joined, or the floor alone on one's own data.
    pub how: How,
    /// The subject key, if rows are about individuals.
    pub subject_key: Option<SubjectKey>,
    /// Only rows whose ordinal is in it; none means that no consent is needed.
    pub consent: Option<Arc<RoaringBitmap>>,
    /// Key of pseudonyms, different for each grantee and purpose.
    pub mask_key: [u8; 32],
    /// Rows of the object.
    pub rows: u64,
    /// Whether it belongs to the caller's participant, which then chose what is in it.
    pub own: bool,
}

/// The arrow type of a column.
pub fn arrow_type(column: ColumnType) -> DataType {
    match column {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        ColumnType::String => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// A dataset with its policy compiled; shared by the guard, the rewrite and the scan.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) id: DatasetId,
    pub(super) object: PathBuf,
    /// What the caller sees, in order.
    pub(super) visible: Vec<Visible>,
    pub(super) schema: SchemaRef,
    pub(super) predicate: Option<Predicate>,
    /// The columns that the predicate reads.
    pub(super) predicate_columns: Vec<String>,
    pub(super) consent: Option<ConsentBits>,
    pub(super) has_subjects: bool,
    /// Least number of subjects in a group, if only aggregates may leave.
    pub(super) k: Option<u32>,
    /// What differential privacy needs to know, if answers carry noise.
    pub(super) private: Option<Arc<Declared>>,
    /// The column of the subject key.
    pub(super) subject_column: Option<String>,
    /// Types of every stored column, to be compared with the object's.
    pub(super) types: BTreeMap<String, DataType>,
    pub(super) counters: Arc<DatasetCounters>,
    /// Rows of the object, as the catalog states them.
    pub(super) rows: u64,
    /// Whether the caller chose what is in it.
    pub(super) own: bool,
}

/// A column that the caller sees.
#[derive(Debug)]
pub(super) struct Visible {
    pub(super) name: String,
    pub(super) role: ColumnRole,
    /// The namespace, if this is the subject key and its values still identify subjects.
    pub(super) namespace: Option<String>,
    pub(super) mask: Option<ColumnMask>,
    /// Whether its owner lets no query join on it.
    pub(super) no_join: bool,
}

impl Compiled {
    pub(super) fn new(dataset: &GovernedDataset) -> Result<Self> {
        let stored = &dataset.stored;
        let predicate = match &dataset.how.row_filter {
            Some(filter) => Some(Predicate::compile(filter, stored).map_err(|_| failed("row filter does not fit"))?),
            None => None,
        };
        let predicate_columns = dataset.how.row_filter.iter().flat_map(|filter| filter.columns());
        let mut visible = Vec::new();
        let mut fields = Vec::new();
        for column in stored.iter().filter(|column| dataset.columns.contains(&column.name)) {
            visible.push(Visible::new(column, dataset)?);
            // A mask may leave no value where there was one.
            let nullable = column.nullable || dataset.how.masks.contains_key(&column.name);
            fields.push(Field::new(&column.name, arrow_type(column.data_type), nullable));
        }
        // A mask on a column that the object lacks would be a term without effect.
        if dataset.how.masks.keys().any(|name| !stored.iter().any(|column| column.name == *name)) {
            return Err(failed("mask on a missing column"));
        }
        if stored.iter().any(|column| is_reserved(&column.name) || column.name == ORDINAL_COLUMN) {
            return Err(failed("reserved column name"));
        }
        if dataset.consent.is_some() && dataset.subject_key.is_none() {
            return Err(failed("consent without a subject key"));
        }
        Ok(Self {
            id: dataset.id.clone(),
            object: dataset.object.clone(),
            visible,
            schema: Arc::new(Schema::new(fields)),
            predicate,
            predicate_columns: predicate_columns.map(str::to_owned).collect(),
            consent: dataset.consent.as_deref().map(ConsentBits::expand),
            has_subjects: dataset.subject_key.is_some(),
            // A policy cannot ask for fewer than two; one that does is read as two.
            k: dataset.how.aggregate_only.map(|k| k.max(2)).or_else(|| dataset.how.privacy.as_ref().map(|_| 2)),
            private: dataset.how.privacy.clone().map(|privacy| {
                let masked = dataset.how.masks.keys().cloned().collect();
                let k = dataset.how.aggregate_only.filter(|k| *k >= 2);
                let id = dataset.id.clone();
                Arc::new(Declared::new(id, privacy, stored.clone(), masked, k, dataset.mask_key))
            }),
            subject_column: dataset.subject_key.as_ref().map(|key| key.column.clone()),
            types: stored.iter().map(|column| (column.name.clone(), arrow_type(column.data_type))).collect(),
            counters: Arc::default(),
            rows: dataset.rows,
            own: dataset.own,
        })
    }
}

impl Visible {
    fn new(column: &Column, dataset: &GovernedDataset) -> Result<Self> {
        let mask = dataset.how.masks.get(&column.name);
        let is_subject = dataset.subject_key.as_ref().is_some_and(|key| key.column == column.name);
        let role = if is_subject { ColumnRole::SubjectKey } else { column.role };
        // Under a keyed pseudonym equal keys stay equal; any other mask joins strangers.
        let joinable = matches!(mask, None | Some(Mask::Hmac));
        let namespace = dataset.subject_key.as_ref().filter(|_| is_subject && joinable).map(|key| {
            let masked = if mask.is_some() { "~hmac" } else { "" };
            format!("{}{masked}", key.namespace)
        });
        let mask = match mask {
            Some(mask) => {
                let key = if is_subject { dataset.mask_key } else { column_key(dataset, &column.name) };
                Some(ColumnMask::compile(mask, column, &key).map_err(|_| failed("mask does not fit"))?)
            }
            None => None,
        };
        let no_join = dataset.how.no_join_on.contains(&column.name);
        Ok(Self { name: column.name.clone(), role, namespace, mask, no_join })
    }
}

/// The key of one column's pseudonyms. Equal texts of two columns have different ones, so that nobody who can put texts
/// of his own under a mask of the hub gets a dictionary for somebody else's column. Subject keys keep one key for all
/// datasets, since that is what they are joined by.
fn column_key(dataset: &GovernedDataset, column: &str) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &dataset.mask_key));
    for part in [dataset.id.owner.as_str(), dataset.id.name.as_str(), column] {
        context.update(part.as_bytes());
        context.update(&[0x1f]);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.sign().as_ref());
    key
}
