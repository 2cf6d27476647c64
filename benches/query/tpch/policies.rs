//! The same policy for every engine: a row filter that keeps about 99 of 100 rows of each table, and masks on some.

use std::path::Path;

use odh::{
    domain::{ColumnType, CompareOp, Filter, How, Mask, Value},
    grpc::pb,
};

use crate::rows::stored;

/// A table with what its policy leaves of it.
pub(super) struct Governed {
    pub(super) name: &'static str,
    /// Rows whose column is above this number.
    above: (&'static str, i64),
    /// Of these columns only the first characters are shown; none at all of those with 0.
    masks: &'static [(&'static str, u32)],
    /// What PostgreSQL needs to answer fast.
    pub(super) indexes: &'static [&'static str],
}

pub(super) const TABLES: [Governed; 8] = [
    table("lineitem", ("l_suppkey", 100), &[("l_comment", 0)], &["l_orderkey", "l_partkey, l_suppkey", "l_shipdate"]),
    table("orders", ("o_custkey", 1_500), &[("o_clerk", 6)], &["o_orderkey", "o_custkey", "o_orderdate"]),
    table("customer", ("c_acctbal", -890), &[("c_comment", 8), ("c_address", 0)], &["c_custkey"]),
    table("part", ("p_partkey", 2_000), &[("p_comment", 0)], &["p_partkey"]),
    table("partsupp", ("ps_suppkey", 100), &[("ps_comment", 0)], &["ps_partkey, ps_suppkey", "ps_suppkey"]),
    table("supplier", ("s_suppkey", 100), &[("s_phone", 3)], &["s_suppkey"]),
    table("nation", ("n_nationkey", -1), &[("n_comment", 0)], &["n_nationkey"]),
    table("region", ("r_regionkey", -1), &[("r_comment", 0)], &["r_regionkey"]),
];

const fn table(
    name: &'static str,
    above: (&'static str, i64),
    masks: &'static [(&'static str, u32)],
    indexes: &'static [&'static str],
) -> Governed {
    Governed { name, above, masks, indexes }
}

impl Governed {
    /// The limits as a policy of the hub states them.
    pub(super) fn limits(&self) -> pb::How {
        let (column, number) = self.above;
        let comparison = pb::Comparison {
            column: column.to_owned(),
            op: pb::CompareOp::Gt.into(),
            value: Some(pb::Value { value: Some(pb::value::Value::Int64Value(number)) }),
        };
        let mask = |length: u32| match length {
            0 => pb::mask::Mask::Null(pb::NullMask {}),
            length => pb::mask::Mask::PrefixLength(length),
        };
        let masks =
            self.masks.iter().map(|(name, length)| ((*name).to_owned(), pb::Mask { mask: Some(mask(*length)) }));
        pb::How {
            row_filter: Some(pb::Filter { condition: Some(pb::filter::Condition::Comparison(comparison)) }),
            masks: masks.collect(),
            ..pb::How::default()
        }
    }

    /// The same for the engine alone.
    pub(super) fn how(&self) -> How {
        let (column, number) = self.above;
        let mask = |length: u32| if length == 0 { Mask::Null } else { Mask::Prefix(length) };
        How {
            row_filter: Some(Filter::Compare {
                column: column.to_owned(),
                op: CompareOp::Gt,
                value: Value::Int(number),
            }),
            masks: self.masks.iter().map(|(name, length)| ((*name).to_owned(), mask(*length))).collect(),
            ..How::default()
        }
    }

    /// The filter in SQL.
    pub(super) fn filter(&self) -> String {
        format!("{} > {}", self.above.0, self.above.1)
    }

    /// What a view selects, masks included, from the object's columns.
    pub(super) fn selection(&self, object: &Path) -> String {
        let shown = stored(object).into_iter().map(|column| {
            let name = column.name;
            match self.masks.iter().find(|(masked, _)| *masked == name) {
                Some((_, 0)) => format!("CAST(NULL AS VARCHAR) AS {name}"),
                Some((_, length)) => format!("substr({name}, 1, {length}) AS {name}"),
                None => name,
            }
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The columns for `CREATE TABLE` of PostgreSQL.
    pub(super) fn definitions(object: &Path) -> String {
        let columns = stored(object).into_iter().map(|column| {
            let data_type = match column.data_type {
                ColumnType::Int64 => "bigint".to_owned(),
                ColumnType::Date => "date".to_owned(),
                ColumnType::Decimal { precision, scale } => format!("numeric({precision}, {scale})"),
                _ => "varchar".to_owned(),
            };
            format!("{} {data_type}", column.name)
        });
        columns.collect::<Vec<_>>().join(", ")
    }
}
