//! Groups of at least k people, over the plain GROUP BY.

use std::{path::Path, time::Instant};

use odh::domain::How;

use crate::{
    rows,
    support::Table,
    timing::Times,
    tpch::{cells, engine, same},
};

const ROWS: usize = 6_000_000;
const K: u32 = 10;
const ROUNDS: usize = 9;
const PLAIN: usize = 0;
const SUPPRESSED: usize = 1;
const ROW_LEVEL: usize = 2;

/// Measures with few and with many groups.
pub(crate) async fn measure(table: &mut Table, data: &Path) {
    let object = data.join("groups.parquet");
    rows::write(&object, ROWS);
    let (raw, hub) = (rows::raw(&object).await, rows::engine(data));
    let suppressed = [rows::dataset(&object, How { aggregate_only: Some(K), ..How::default() })];
    let row_level = [rows::dataset(&object, How::default())];
    for (column, groups) in [("few", "1,000"), ("many", "100,000")] {
        let sql = format!("SELECT {column}, count(*), sum(amount) FROM bench.rows GROUP BY {column}");
        let expected = cells(&raw.sql(&sql).await.unwrap().collect().await.unwrap());
        // No group is that small: suppression must find that out, and leave all of them.
        same(&expected, &cells(&engine(&hub, &suppressed, &sql).await)).unwrap();
        let mut times = Times::new(3);
        for round in 0..ROUNDS {
            for way in times.order(round) {
                let started = Instant::now();
                match way {
                    PLAIN => drop(raw.sql(&sql).await.unwrap().collect().await.unwrap()),
                    SUPPRESSED => drop(engine(&hub, &suppressed, &sql).await),
                    _ => drop(engine(&hub, &row_level, &sql).await),
                }
                times.add(way, started.elapsed());
            }
        }
        let note = format!(
            "6 M rows, plain {:.0} ms; over the hub's own at row level {:.2}",
            times.median(PLAIN),
            times.ratio(SUPPRESSED, ROW_LEVEL)
        );
        let path = format!("groups of at least {K} people / plain GROUP BY, {groups} groups");
        table.number(&path, times.ratio(SUPPRESSED, PLAIN), 1.35, &note);
    }
    std::fs::remove_file(object).unwrap();
}
