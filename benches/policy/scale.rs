//! A decision on a use, through the hub's own store, in a small hub and in a large one: the cost must not grow (P10).
//!
//! What is measured is what a query needs before it is planned: the caller's roles, the dataset, its visibility, the
//! grant that fits, the policy that it cites (compiled anew if it is not at hand, as most are not in the large hub), the
//! rule and its obligations. Each sample is another dataset, at random. The CPU time is the process's, so that the
//! database's own threads count.

use std::{net::SocketAddr, path::Path, sync::Arc};

use cpu_time::ProcessTime;
use odh::{
    app::App,
    config::{Config, SecretUrl},
    domain::{Caller, Column, ColumnRole, ColumnType, DatasetId, Digest, Policy, PurposeSlug, SystemClock},
    grpc,
    policy::manifest,
    service::{OperatorIdentity, QueryRequest, Services},
    telemetry::Metrics,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    caller,
    support::{Samples, Table},
};

const SMALL: usize = 1_000;
const LARGE: usize = 1_000_000;
/// As many as the bar of a hub's own authorisation names.
const MOST_MEMBERS: usize = 100_000;
const RUNS: usize = 4_000;
const WARM_UP: usize = 2_000;
const BATCH: usize = 20_000;

/// Every dataset's policy, but for its name.
const POLICY: &str = "
dataset: p0000000.d
rules:
  - {id: visible, effect: permit, actions: [discover]}
  - id: research
    effect: permit
    actions: [aggregate]
    who: {kinds: [lab, public_body], countries: [EU], roles: [requester]}
    columns: {only: [person, month, kwh]}
    purposes: [scientific_research, academic_research]
    legal_basis: public_interest
    when: [{from: 2025-01-01, until: 2036-01-01}]
    how: {aggregate_only: 11, max_rows: 5000}
    duties: [no_reidentification, {delete_after_days: 365}]
  - {id: never_marketing, effect: deny, actions: [aggregate], purposes: [marketing]}
";

pub(crate) fn measure(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let large = std::env::var("ODH_BENCH_LARGE").ok().and_then(|n| n.parse().ok()).unwrap_or(LARGE);
    let figures = [SMALL, large].map(|size| {
        let samples = runtime.block_on(decisions(size));
        let members = size.min(MOST_MEMBERS);
        let path = format!("decision at {size} datasets, participants and grants, {members} members");
        table.note(&path, &samples.summary());
        samples.percentile(99).as_secs_f64()
    });
    let path = format!("p99 decision at {large} datasets, participants, grants, over {SMALL}");
    table.number(&path, figures[1] / figures[0], 1.5, "ratio of the two above");
}

async fn decisions(size: usize) -> Samples {
    let dir = tempfile::tempdir().unwrap();
    let services = hub(dir.path(), size).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(size).unwrap()).unwrap()
    };
    for _ in 0..WARM_UP {
        decide(&services, size, random()).await;
    }
    let mut samples = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let index = random();
        // Of the process, nothing else of which is busy: the database works on threads of its own.
        let start = ProcessTime::now();
        decide(&services, size, index).await;
        samples.push(start.elapsed());
    }
    services.close().await;
    Samples::sorted(samples)
}

/// A hub with so many datasets, participants and grants.
pub(crate) async fn hub(dir: &Path, size: usize) -> Services {
    let services = open(dir).await;
    services.close().await;
    drop(services);
    load(&dir.join("hub.db"), size).await;
    open(dir).await
}

/// A use of dataset `index` by the participant that has the grant on it.
pub(crate) async fn decide(services: &Services, size: usize, index: usize) {
    let dataset: DatasetId = dataset(index).parse().unwrap();
    let ask = QueryRequest {
        sql: String::new(),
        purpose: "scientific_research".parse::<PurposeSlug>().unwrap(),
        grants: std::collections::BTreeSet::default(),
        download: false,
    };
    let uses = services.explain_uses(&grantee(size, index), &[dataset].into(), &ask).await.unwrap();
    assert_eq!(uses[0].k, Some(11));
}

fn grantee(size: usize, index: usize) -> Caller {
    let number = (index + 1) % size.min(MOST_MEMBERS);
    caller::requester(member(number).parse().unwrap(), participant(number).parse().unwrap())
}

async fn open(dir: &Path) -> Services {
    let mut config = Config { data_dir: dir.to_owned(), ..Config::default() };
    "hub.bench".clone_into(&mut config.hub.id);
    config.database.url = SecretUrl::new("sqlite://{data_dir}/hub.db");
    let operator = OperatorIdentity {
        id: "hub".parse().unwrap(),
        siren: "999000011".parse().unwrap(),
        legal_name: "Operator of the bench".to_owned(),
    };
    let metrics = Arc::new(Metrics::new(grpc::paths()));
    let https = SocketAddr::from(([127, 0, 0, 1], 0));
    Box::pin(App::open(config, https, operator, Arc::new(SystemClock), metrics)).await.unwrap().services
}

/// Rows as the hub itself would have written them, in bulk: through the API a million of each would take days.
async fn load(database: &Path, size: usize) {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-1000000");
    let mut db = options.connect().await.unwrap();
    let members = size.min(MOST_MEMBERS);
    let column = |(name, data_type): (&str, ColumnType)| Column {
        name: name.to_owned(),
        data_type,
        nullable: true,
        role: ColumnRole::Dimension,
        description: String::new(),
    };
    let columns = [("person", ColumnType::String), ("month", ColumnType::Date), ("kwh", ColumnType::Int64)];
    let columns = serde_json::to_string(&columns.map(column)).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let numbers =
        |most: usize| format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {most})");
    let (all, some) = (numbers(size), numbers(members));
    for statement in [
        format!(
            "{all} INSERT INTO participant SELECT printf('p%07d', i), printf('%09d', i), 'Participant ' || i, 'lab', NULL,
             'FR', '[]', 'active', 1, 0, 1 FROM n"
        ),
        format!(
            "{some} INSERT INTO member SELECT printf('00000000-0000-7000-8000-%012x', i), printf('p%07d', i),
             'Member ' || i, '[\"requester\"]', 'active', 0, 1 FROM n"
        ),
        format!(
            "{all} INSERT INTO dataset SELECT printf('p%07d.d', i), printf('p%07d', i), 'Readings ' || i, 'Energy readings',
             'lov2', 'Participant', '[\"energy\"]', 1, 'restricted', NULL, NULL, '[]', 'published',
             printf('00000000-0000-7000-9000-%012x', i), 'readings', 0, 1 FROM n"
        ),
        format!(
            "{all} INSERT INTO snapshot SELECT printf('00000000-0000-7000-9000-%012x', i), printf('p%07d.d', i), '{columns}',
             1000, 100000, NULL, '{digest}', '{digest}', 0 FROM n"
        ),
        "INSERT INTO revision VALUES ('memberships', 1000) ON CONFLICT (topic) DO UPDATE SET value = 1000".to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
    }
    policies(&mut db, size).await;
    // Dataset i is granted to participant i + 1, under its only policy.
    let grants = format!(
        "{all} INSERT INTO access_grant (id, access_request, grantee, dataset, owner, policy, rule, action, columns, purpose,
         legal_basis, duties, valid_from, valid_until, state, decided_by, jws, revision)
         SELECT printf('00000000-0000-7000-a000-%012x', i), printf('00000000-0000-7000-b000-%012x', i),
         printf('p%07d', (i + 1) % {members}), p.dataset, printf('p%07d', i), p.digest, 'research', 'aggregate',
         '{{\"only\":[\"kwh\",\"month\"]}}', 'scientific_research', '\"public_interest\"', '[\"no_reidentification\"]', 0,
         4000000000000000, 'active', printf('00000000-0000-7000-8000-%012x', i % {members}), printf('%0500d', i), 1
         FROM n JOIN policy p ON p.dataset = printf('p%07d.d', i)"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut db).await.unwrap();
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

/// Each policy is its own document with its own digest.
async fn policies(db: &mut SqliteConnection, size: usize) {
    let template: Policy = manifest::parse(POLICY).unwrap();
    let template = String::from_utf8(template.canonical_json()).unwrap();
    for first in (0..size).step_by(BATCH) {
        let rows: Vec<_> = (first..size.min(first + BATCH))
            .map(|index| {
                let document = template.replace("p0000000.d", &dataset(index));
                (dataset(index), Digest::of(document.as_bytes()).to_string(), document)
            })
            .collect();
        let sql = "INSERT INTO policy SELECT value ->> 0, 1, value ->> 2, value ->> 1, 'published', NULL, 0, 0, 1
                   FROM json_each($1)";
        sqlx::query(sql).bind(serde_json::to_string(&rows).unwrap()).execute(&mut *db).await.unwrap();
    }
}

fn participant(number: usize) -> String {
    format!("p{number:07}")
}

fn dataset(number: usize) -> String {
    format!("p{number:07}.d")
}

fn member(number: usize) -> String {
    format!("00000000-0000-7000-8000-{number:012x}")
}
