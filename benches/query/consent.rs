//! A scan of the rows of those who consented, over a scan of the same columns without that question.

use std::{path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{RecordBatch, UInt32Array},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{datasource::MemTable, prelude::SessionContext};
use odh::{
    domain::How,
    query::{ConsentBits, GovernedDataset},
};
use roaring::RoaringBitmap;

use crate::{
    rows::{self, Random, SUBJECTS},
    support::Table,
    timing::Times,
    tpch::{cells, engine, same},
};

const MILLIONS: [usize; 2] = [6, 60];
const GIVEN: [u32; 4] = [1, 10, 50, 90];
const ROUNDS: usize = 9;
const QUERY: &str = "SELECT count(*), sum(amount) FROM bench.rows";
/// The raw scan reads the ordinals, too: somebody has to.
const RAW_QUERY: &str = "SELECT count(*), sum(amount), max(__ordinal) FROM bench.rows";
const SUBQUERY: &str = "SELECT count(*), sum(amount) FROM bench.rows WHERE __ordinal IN (SELECT o FROM given)";
/// Ways, in the order of their times.
const RAW: usize = 0;
const GOVERNED: usize = 1;
const IN: usize = 2;

/// Measures for each size and each share of consents.
pub(crate) async fn measure(table: &mut Table, data: &Path) {
    let object = data.join("consent.parquet");
    for millions in MILLIONS {
        rows::write(&object, millions * 1_000_000);
        let raw = rows::raw(&object).await;
        for percent in GIVEN {
            let given = given(percent);
            let times = scan(&raw, &object, &given, data, millions).await;
            let note =
                format!("raw {:.0} ms, DataFusion's IN-subquery {:.1} times", times.median(RAW), times.ratio(IN, RAW));
            let path = format!("consent scan / raw with the ordinal, {millions} M rows, {percent} % given");
            table.number(&path, times.ratio(GOVERNED, RAW), 1.3, &note);
        }
        std::fs::remove_file(&object).unwrap();
    }
    for percent in GIVEN {
        at_rest(table, &given(percent), percent);
    }
}

/// Of ten million subjects, these percent at random.
fn given(percent: u32) -> Arc<RoaringBitmap> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    Arc::new((0..SUBJECTS).filter(|_| random.below(100) < percent).collect())
}

async fn scan(raw: &SessionContext, object: &Path, given: &Arc<RoaringBitmap>, data: &Path, millions: usize) -> Times {
    let hub = rows::engine(data);
    let governed = [GovernedDataset { consent: Some(Arc::clone(given)), ..rows::dataset(object, How::default()) }];
    let schema = Arc::new(Schema::new(vec![Field::new("o", DataType::UInt32, false)]));
    let ordinals = Arc::new(UInt32Array::from_iter_values(given.iter()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![ordinals]).unwrap();
    raw.register_table("given", Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())).unwrap();
    let expected = cells(&raw.sql(SUBQUERY).await.unwrap().collect().await.unwrap());
    same(&expected, &cells(&engine(&hub, &governed, QUERY).await)).unwrap();
    raw.sql(RAW_QUERY).await.unwrap().collect().await.unwrap();
    let mut times = Times::new(3);
    for round in 0..ROUNDS {
        for way in times.order(round) {
            if way == IN && (millions > 6 || round > 2) {
                continue;
            }
            let started = Instant::now();
            match way {
                RAW => drop(raw.sql(RAW_QUERY).await.unwrap().collect().await.unwrap()),
                GOVERNED => drop(engine(&hub, &governed, QUERY).await),
                _ => drop(raw.sql(SUBQUERY).await.unwrap().collect().await.unwrap()),
            }
            times.add(way, started.elapsed());
        }
    }
    raw.deregister_table("given").unwrap();
    times
}

/// What the stored form takes, and how long it takes to make of it what a scan reads.
fn at_rest(table: &mut Table, given: &RoaringBitmap, percent: u32) {
    let mut stored = Vec::new();
    given.serialize_into(&mut stored).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "some millions of bytes")]
    let each = stored.len() as f64 / f64::from(SUBJECTS);
    table.number(&format!("bytes of a subject at rest, {percent} % given"), each, 0.2, "10 M subjects");
    let mut times = Times::new(1);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let read = RoaringBitmap::deserialize_from(stored.as_slice()).unwrap();
        std::hint::black_box(ConsentBits::expand(&read));
        times.add(0, started.elapsed());
    }
    let path = format!("consent snapshot from its stored form, {percent} % given, ms");
    table.number(&path, times.median(0), 50.0, "10 M subjects");
}
