//! The strongest test of the sensitivities: for arbitrary rows and each of their subjects, the figures before noise of
//! the plan that really runs, with and without the subject, differ by no more than the noise is scaled to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, StringArray, UInt32Array},
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type},
};
use futures::TryStreamExt as _;
use proptest::prelude::*;

use super::{
    privacy::Constant,
    support::{Hub, column, governed, released, write},
};
use crate::{
    audit::Charged,
    domain::{Bounds, ColumnRole, ColumnType, How, Privacy},
    query::{Engine, EngineConfig},
};

/// Added to every figure in place of noise, so that every group passes its threshold.
const LIFT: i128 = 1 << 40;
const LOWER: i64 = -30;
const UPPER: i64 = 50;

#[derive(Debug, Clone)]
struct Row {
    subject: Option<u32>,
    group: Option<u8>,
    whole: Option<i64>,
    exact: Option<i128>,
    double: Option<f64>,
}

fn row() -> impl Strategy<Value = Row> {
    let whole = prop_oneof![Just(i64::MIN), Just(i64::MAX), -100_i64..100];
    let exact = prop_oneof![Just(10_i128.pow(18) - 1), Just(1 - 10_i128.pow(18)), -10_000_i128..10_000];
    let odd = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(f64::MAX)];
    let double = prop_oneof![odd, -100.0..100.0_f64];
    (
        proptest::option::weighted(0.9, 0_u32..5),
        proptest::option::weighted(0.9, 0_u8..4),
        proptest::option::weighted(0.9, whole),
        proptest::option::weighted(0.9, exact),
        proptest::option::weighted(0.9, double),
    )
        .prop_map(|(subject, group, whole, exact, double)| Row { subject, group, whole, exact, double })
}

fn hub(rows: &[Row], privacy: &Privacy, partitions: usize) -> (tempfile::TempDir, Hub) {
    let dir = tempfile::tempdir().unwrap();
    let stored = vec![
        column("subject_id", ColumnType::String, ColumnRole::SubjectKey),
        column("place", ColumnType::String, ColumnRole::Dimension),
        column("whole", ColumnType::Int64, ColumnRole::Measure),
        column("exact", ColumnType::Decimal { precision: 18, scale: 2 }, ColumnRole::Measure),
        column("double", ColumnType::Float64, ColumnRole::Measure),
    ];
    let mut it = governed("chu.rows", dir.path(), stored, Some(("subject_id", "nir")), rows.len());
    it.how = How { privacy: Some(privacy.clone()), ..How::default() };
    let exact = rows.iter().map(|row| row.exact).collect::<Decimal128Array>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "subject_id",
            Arc::new(rows.iter().map(|row| row.subject.map(|it| format!("s{it}"))).collect::<StringArray>()),
        ),
        ("place", Arc::new(rows.iter().map(|row| row.group.map(|it| format!("g{it}"))).collect::<StringArray>())),
        ("whole", Arc::new(rows.iter().map(|row| row.whole).collect::<Int64Array>())),
        ("exact", Arc::new(exact.with_precision_and_scale(18, 2).unwrap())),
        ("double", Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>())),
        ("__ordinal", Arc::new(rows.iter().map(|row| row.subject).collect::<UInt32Array>())),
    ];
    write(&it.object, columns);
    let config = EngineConfig { partitions, planning_timeout: Duration::from_mins(1), ..EngineConfig::default() };
    let mut hub = Hub::new(&[]);
    hub.engine = Engine::with_noise(config, Arc::new(Constant(LIFT))).unwrap();
    hub.datasets = vec![it];
    (dir, hub)
}

/// By group, each figure before noise, counted on its grid.
async fn figures(rows: &[Row], privacy: &Privacy, partitions: usize) -> BTreeMap<String, Vec<i128>> {
    let (_dir, hub) = hub(rows, privacy, partitions);
    let sql = "SELECT place, count(DISTINCT subject_id), count(*), count(whole), sum(whole), sum(exact), sum(double)
               FROM chu.rows GROUP BY place";
    let planned = hub.planned(sql).await.unwrap();
    let loss = planned.privacy_loss().cloned().unwrap();
    let charge = Charged::with(released(), loss.dataset, loss.epsilon, loss.delta);
    let batches: Vec<_> = hub.engine.execute_charged(planned, charge).unwrap().try_collect().await.unwrap();
    let mut figures = BTreeMap::new();
    for batch in batches {
        let groups = batch.column(0).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let group = if groups.is_null(row) { "-" } else { groups.value(row) };
            let values = batch.columns()[1..].iter().map(|column| match column.data_type() {
                DataType::Int64 => i128::from(column.as_primitive::<Int64Type>().value(row)),
                DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row),
                #[expect(clippy::cast_possible_truncation, reason = "a multiple of the grid, far below 2^53")]
                _ => (column.as_primitive::<Float64Type>().value(row) * GRID) as i128,
            });
            figures.insert(group.to_owned(), values.map(|value| value - LIFT).collect());
        }
    }
    figures
}

/// Steps of the doubles: 80 is below 2^7, so that 2^13 of them make about a million of the range.
const GRID: f64 = 8_192.0;

fn privacy(max_groups: u32, max_rows: u32) -> Privacy {
    let bounds = Bounds { lower: LOWER, upper: UPPER };
    let amount = || "1".parse().unwrap();
    Privacy {
        epsilon: amount(),
        budget: amount(),
        total: amount(),
        delta: Some("0.01".parse().unwrap()),
        max_groups,
        max_rows,
        bounds: ["whole", "exact", "double"].map(|name| (name.to_owned(), bounds)).into(),
        groups: BTreeMap::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn one_subject_changes_no_more_than_the_noise_is_scaled_to(
        rows in proptest::collection::vec(row(), 0..40),
        (max_groups, max_rows) in (1_u32..4, 1_u32..4),
        partitions in 1_usize..8,
        shift in 0_usize..40,
    ) {
        let privacy = privacy(max_groups, max_rows);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let all = runtime.block_on(figures(&rows, &privacy, partitions));
        // The order of the rows, and how they are spread over threads, changes nothing at all.
        let mut turned = rows.clone();
        turned.rotate_left(shift.min(rows.len()));
        prop_assert_eq!(&runtime.block_on(figures(&turned, &privacy, 9 - partitions)), &all);

        let share = i128::from(UPPER) * i128::from(max_rows);
        let most = [1, i128::from(max_rows), i128::from(max_rows), share, share * 100, share * 8_192];
        for subject in 0..5 {
            let without: Vec<Row> = rows.iter().filter(|row| row.subject != Some(subject)).cloned().collect();
            let without = runtime.block_on(figures(&without, &privacy, partitions));
            let (mut changed, mut sums) = (0, [0; 6]);
            for group in all.keys().chain(without.keys()).collect::<std::collections::BTreeSet<_>>() {
                let none = vec![0; 6];
                let of = |all: &BTreeMap<String, Vec<i128>>| all.get(group).unwrap_or(&none).clone();
                let (a, b) = (of(&all), of(&without));
                changed += u32::from(a != b);
                for (at, (a, b)) in a.iter().zip(&b).enumerate() {
                    let difference = (a - b).abs();
                    prop_assert!(difference <= most[at], "figure {at} of {group} changes by {difference}");
                    sums[at] += difference;
                }
            }
            prop_assert!(changed <= max_groups, "{changed} groups change");
            for (at, sum) in sums.iter().enumerate() {
                prop_assert!(*sum <= most[at] * i128::from(max_groups), "figure {at} changes by {sum} in all");
            }
        }
    }
}
