//! TPC-H at scale 1: what governance costs, over the same binary without it, over its policy as an unsafe view, and
//! beside other engines under the same policy.
//!
//! Everybody reads the objects that the hub wrote. The governed query is that of the use case: identity, grant, rule,
//! plan, durable DECISION entry, rows, durable OUTCOME entry. `engine` is the same without roles and log.

mod peers;
mod policies;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{array::RecordBatch, util::display::ArrayFormatter, util::display::FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt as _;
use odh::{
    audit::Committed,
    domain::{Caller, Columns, Receipt},
    grpc::pb,
    query::{Engine, EngineConfig, GovernedDataset},
    service::QueryRequest,
};

use self::{
    peers::{Duck, Postgres},
    policies::TABLES,
};
use crate::{
    harness::{Hub, PURPOSE, QUERY_MEMORY, policy},
    rows::stored,
    support::Table,
    timing::{Times, geometric_mean},
};

/// The rows of an answer, as texts.
type Rows = Vec<Vec<String>>;

const QUERIES: &str = include_str!("queries.sql");
/// Timed runs of each way; `ODH_BENCH_ROUNDS` is another number.
const ROUNDS: usize = 5;
/// Ways to an answer, in the order of the table.
const WAYS: [&str; 6] = ["raw", "view", "governed", "engine", "DuckDB", "PostgreSQL"];
const RAW: usize = 0;
const VIEW: usize = 1;
const GOVERNED: usize = 2;
const ENGINE: usize = 3;
const DUCK: usize = 4;
const POSTGRES: usize = 5;

/// Measures with the Parquet files of `data/tpch`.
pub(crate) async fn measure(table: &mut Table, data: &Path) {
    let mut bench = Bench::start(data).await;
    let rounds = std::env::var("ODH_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let only: Vec<usize> = std::env::var("ODH_BENCH_QUERIES")
        .map(|list| list.split(',').filter_map(|number| number.parse().ok()).collect())
        .unwrap_or_default();
    let mut all = Vec::new();
    println!("| Q | {} |", WAYS.join(" | "));
    for (at, sql) in queries().into_iter().enumerate().filter(|(at, _)| only.is_empty() || only.contains(&(at + 1))) {
        let times = bench.query(at + 1, &sql, rounds).await;
        let over_raw = (1..WAYS.len()).map(|way| format!("{:.2}", times.ratio(way, RAW)));
        println!("| {} | {:.0} ms | {} |", at + 1, times.median(RAW), over_raw.collect::<Vec<_>>().join(" | "));
        all.push((at + 1, times));
    }
    report(table, &all);
    bench.hub.stop().await;
}

fn report(table: &mut Table, all: &[(usize, Times)]) {
    let mean = |way: usize, over: usize| {
        geometric_mean(all.iter().map(|(_, times)| times.ratio(way, over)).filter(|ratio| !ratio.is_nan()))
    };
    let count = format!("geometric mean of {} queries", all.len());
    table.number("TPC-H governed / raw DataFusion", mean(GOVERNED, RAW), 1.20, &count);
    table.number("TPC-H governed / the policy as an unsafe view", mean(GOVERNED, VIEW), 1.10, &count);
    let worst = all.iter().max_by(|a, b| a.1.ratio(GOVERNED, RAW).total_cmp(&b.1.ratio(GOVERNED, RAW)));
    if let Some((query, times)) = worst {
        table.number("TPC-H governed / raw, the worst query", times.ratio(GOVERNED, RAW), 1.6, &format!("Q{query}"));
    }
    table.note("TPC-H governed without roles and log / raw", &format!("{:.2}", mean(ENGINE, RAW)));
    table.note("TPC-H view / raw", &format!("{:.2}", mean(VIEW, RAW)));
    if !mean(GOVERNED, DUCK).is_nan() {
        table.number("TPC-H governed / DuckDB with policy views", mean(GOVERNED, DUCK), 1.25, &count);
    }
    if !mean(POSTGRES, GOVERNED).is_nan() {
        let path = "TPC-H PostgreSQL row-level security / governed";
        table.at_least(path, mean(POSTGRES, GOVERNED), 3.0, &count);
    }
}

fn queries() -> Vec<String> {
    let plain: Vec<&str> = QUERIES.lines().filter(|line| !line.starts_with("--")).collect();
    plain.join("\n").split(';').map(|sql| sql.trim().to_owned()).filter(|sql| !sql.is_empty()).collect()
}

struct Bench {
    raw: SessionContext,
    view: SessionContext,
    hub: Hub,
    caller: Caller,
    engine: Engine,
    datasets: Vec<GovernedDataset>,
    duck: Option<Duck>,
    postgres: Option<Postgres>,
}

impl Bench {
    async fn start(data: &Path) -> Self {
        let hub = Hub::start(data, "tpch").await;
        let mut objects = Vec::new();
        for table in &TABLES {
            let file = data.join("tpch").join(format!("{}.parquet", table.name));
            objects.push(upload(&hub, table.name, &file).await);
            let rule = policy(&hub.steward, table.name, pb::Action::Read, table.limits(), pb::LegalBasis::NotPersonal);
            hub.share(table.name, rule, pb::Action::Read).await;
        }
        let config = EngineConfig {
            memory_bytes: QUERY_MEMORY,
            max_rows: u64::MAX,
            temp_dir: data.into(),
            ..Default::default()
        };
        let datasets = TABLES.iter().zip(&objects).map(|(table, object)| GovernedDataset {
            id: format!("tpch.{}", table.name).parse().unwrap(),
            object: object.clone(),
            stored: stored(object),
            columns: Columns::All,
            how: table.how(),
            subject_key: None,
            consent: None,
            mask_key: [7; 32],
            rows: crate::rows::count(object),
            own: false,
        });
        let datasets = datasets.collect();
        let mut duck = Duck::start(&objects);
        Self {
            raw: raw(&objects).await,
            view: view(&objects).await,
            caller: hub.caller(),
            engine: Engine::new(config).unwrap(),
            datasets,
            postgres: Postgres::start(&objects, &mut duck, &std::env::temp_dir()).await,
            duck,
            hub,
        }
    }

    /// Checks that all that are under the policy agree, then times all of them.
    async fn query(&mut self, number: usize, sql: &str, rounds: usize) -> Times {
        let (_, expected) = self.run(VIEW, sql).await;
        let expected = expected.unwrap();
        for way in [GOVERNED, ENGINE, DUCK, POSTGRES] {
            if let (_, Some(rows)) = self.run(way, sql).await {
                same(&expected, &rows).unwrap_or_else(|what| panic!("Q{number} by {}: {what}", WAYS[way]));
            }
        }
        self.run(RAW, sql).await;
        let mut times = Times::new(WAYS.len());
        for round in 0..rounds {
            for way in times.order(round) {
                // PostgreSQL is slow, steady, and far from its bar.
                if (way != POSTGRES || round < 3) && self.has(way) {
                    times.add(way, self.run(way, sql).await.0);
                }
            }
        }
        times
    }

    const fn has(&self, way: usize) -> bool {
        match way {
            DUCK => self.duck.is_some(),
            POSTGRES => self.postgres.is_some(),
            _ => true,
        }
    }

    async fn run(&mut self, way: usize, sql: &str) -> (Duration, Option<Rows>) {
        let started = Instant::now();
        let batches = match way {
            RAW => self.raw.sql(sql).await.unwrap().collect().await.unwrap(),
            VIEW => self.view.sql(sql).await.unwrap().collect().await.unwrap(),
            GOVERNED => governed(&self.hub, &self.caller, sql).await,
            ENGINE => engine(&self.engine, &self.datasets, sql).await,
            DUCK => {
                let Some(duck) = &mut self.duck else { return (Duration::ZERO, None) };
                let (took, rows) = duck.query(sql);
                return (took, Some(rows));
            }
            _ => {
                let Some(postgres) = &mut self.postgres else { return (Duration::ZERO, None) };
                return postgres.query(sql).await;
            }
        };
        let took = started.elapsed();
        (took, Some(cells(&batches)))
    }
}

/// Uploads a file through the API and says where the hub keeps what it made of it.
pub(crate) async fn upload(hub: &Hub, id: &str, file: &Path) -> PathBuf {
    hub.steward.create_dataset(id, pb::AccessLevel::Restricted, None).await.unwrap();
    let header = pb::UploadSnapshotHeader {
        dataset: hub.steward.dataset(id),
        format: pb::FileFormat::Parquet.into(),
        ..Default::default()
    };
    let snapshot = hub.steward.upload_as(header, std::fs::read(file).unwrap()).await.unwrap();
    hub.dir().join("objects").join(format!("{}.parquet", snapshot.name.rsplit('/').next().unwrap()))
}

/// DataFusion as it comes, with as many partitions as the hub has.
fn session() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(EngineConfig::default().partitions))
}

async fn raw(objects: &[PathBuf]) -> SessionContext {
    let session = session();
    register(&session, "tpch", objects).await;
    session
}

async fn view(objects: &[PathBuf]) -> SessionContext {
    let session = session();
    register(&session, "base", objects).await;
    session.sql("CREATE SCHEMA tpch").await.unwrap();
    for (table, object) in TABLES.iter().zip(objects) {
        let (name, shown, filter) = (table.name, table.selection(object), table.filter());
        let sql = format!("CREATE VIEW tpch.{name} AS SELECT {shown} FROM base.{name} WHERE {filter}");
        session.sql(&sql).await.unwrap();
    }
    session
}

async fn register(session: &SessionContext, schema: &str, objects: &[PathBuf]) {
    session.sql(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    for (table, object) in TABLES.iter().zip(objects) {
        let name = format!("{schema}.{}", table.name);
        session.register_parquet(name, object.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    }
}

/// A query through the use case, from its text to its receipt.
pub(crate) async fn governed(hub: &Hub, caller: &Caller, sql: &str) -> Vec<RecordBatch> {
    let ask = QueryRequest {
        sql: sql.to_owned(),
        purpose: PURPOSE.parse().unwrap(),
        grants: std::collections::BTreeSet::default(),
        download: false,
    };
    let mut run = Box::pin(hub.services.run_query(caller, ask)).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = run.next_batch().await {
        batches.push(batch.unwrap());
    }
    run.finish().await.unwrap();
    batches
}

/// A query through the engine alone.
pub(crate) async fn engine(engine: &Engine, datasets: &[GovernedDataset], sql: &str) -> Vec<RecordBatch> {
    let admitted = engine.admit(sql).await.unwrap();
    let planned = engine.plan(admitted, datasets.to_vec()).await.unwrap();
    let release = Committed::after_commit(Receipt { index: 0, leaf_hash: [0; 32], checkpoint: String::new() });
    let answer = engine.execute(planned, release).unwrap();
    answer.map(Result::unwrap).collect().await
}

/// The rows of batches as texts.
pub(crate) fn cells(batches: &[RecordBatch]) -> Rows {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(Arc::as_ref(column), &options).unwrap())
            .collect();
        let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect();
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows
}

/// Whether two answers have the same rows in any order, numbers to four digits: engines round averages differently.
pub(crate) fn same(expected: &Rows, found: &Rows) -> Result<(), String> {
    let sorted = |rows: &Rows| {
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| rounded(cell)).collect()).collect();
        rows.sort_unstable();
        rows
    };
    let (expected, found) = (sorted(expected), sorted(found));
    if expected.len() != found.len() {
        return Err(format!("{} rows instead of {}", found.len(), expected.len()));
    }
    let differs = |(a, b): (&Vec<String>, &Vec<String>)| {
        a.len() != b.len() || a.iter().zip(b).any(|(a, b)| a != b && !close(a, b))
    };
    match expected.iter().zip(&found).find(|(a, b)| differs((a, b))) {
        Some((a, b)) => Err(format!("{b:?} instead of {a:?}")),
        None => Ok(()),
    }
}

fn rounded(cell: &str) -> String {
    cell.parse::<f64>().map_or_else(|_| cell.to_owned(), |number| format!("{number:.3e}"))
}

fn close(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= a.abs().max(b.abs()) * 2e-3,
        _ => false,
    }
}
