//! The functions that a query may call: total, bounded in output, free of the outside world.
//!
//! DataFusion ships 261 scalar functions; some raise on data (`chr`, `make_date`), some allocate at will (`repeat`,
//! `lpad`, `replace`), some read the environment (`version`, `input_file_name`), some break pseudonyms (`sha256`).
//! Absent here means absent from the session.

use std::sync::{Arc, LazyLock};

use datafusion::{
    functions, functions_aggregate,
    logical_expr::{AggregateUDF, ScalarUDF},
};

/// Scalar functions for rows that the caller may see.
const SCALAR: &[&str] = &[
    "ascii",
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "concat",
    "contains",
    "date_part",
    "date_trunc",
    "ends_with",
    "floor",
    "greatest",
    "initcap",
    "isnan",
    "iszero",
    "least",
    "left",
    "lower",
    "ltrim",
    "nanvl",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "reverse",
    "right",
    "round",
    "rtrim",
    "signum",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "trunc",
    "upper",
];

/// The subset that cannot fail on any row, for rows that the caller must not be able to probe.
const STRICT: &[&str] = &[
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "date_part",
    "date_trunc",
    "ends_with",
    "floor",
    "isnan",
    "iszero",
    "left",
    "lower",
    "ltrim",
    "nullif",
    "octet_length",
    "right",
    "rtrim",
    "starts_with",
    "substr",
    "upper",
];

/// Aggregates over rows that the caller may see.
const AGGREGATE: &[&str] = &["avg", "count", "max", "min", "stddev", "stddev_pop", "sum", "var", "var_pop"];

/// Fields and granularities of `date_part` and `date_trunc`.
const DATE_FIELDS: &[&str] = &["year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow", "doy"];

static SCALAR_UDFS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    functions::all_default_functions().into_iter().filter(|udf| SCALAR.contains(&udf.name())).collect()
});

static AGGREGATE_UDFS: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
    functions_aggregate::all_default_aggregate_functions()
        .into_iter()
        .filter(|udf| AGGREGATE.contains(&udf.name()))
        .collect()
});

/// The names of the scalar functions that a query may call, for those who tell clients.
pub fn scalar_function_names() -> &'static [&'static str] {
    SCALAR
}

/// The scalar functions to register.
pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    SCALAR_UDFS.clone()
}

/// The aggregates to register.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    AGGREGATE_UDFS.clone()
}

/// Whether text may call `name` or one of its aliases at all; lower case.
pub(super) fn is_known(name: &str) -> bool {
    let scalar = SCALAR_UDFS.iter().any(|udf| udf.name() == name || udf.aliases().iter().any(|alias| alias == name));
    scalar || AGGREGATE_UDFS.iter().any(|udf| udf.name() == name || udf.aliases().iter().any(|alias| alias == name))
}

/// Whether a planned scalar function is on the list.
pub(super) fn is_scalar(name: &str) -> bool {
    SCALAR.contains(&name)
}

/// Whether a planned scalar function cannot fail on any row.
pub(super) fn is_strict(name: &str) -> bool {
    STRICT.contains(&name)
}

/// Whether a planned aggregate is on the list.
pub(super) fn is_aggregate(name: &str) -> bool {
    AGGREGATE.contains(&name)
}

/// Whether `field` is one that `date_part` and `date_trunc` know.
pub(super) fn is_date_field(field: &str) -> bool {
    DATE_FIELDS.contains(&field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_function_exists() {
        for name in SCALAR {
            assert!(SCALAR_UDFS.iter().any(|udf| udf.name() == *name), "{name}");
        }
        for name in AGGREGATE {
            assert!(AGGREGATE_UDFS.iter().any(|udf| udf.name() == *name), "{name}");
        }
    }

    #[test]
    fn what_fails_on_hidden_rows_is_not_strict() {
        assert!(STRICT.iter().all(|name| SCALAR.contains(name)));
        for name in ["repeat", "lpad", "replace", "sha256", "md5", "chr", "to_timestamp", "now", "version", "random"] {
            assert!(!is_known(name), "{name}");
        }
    }
}
