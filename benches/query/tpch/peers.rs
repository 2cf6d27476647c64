//! Other engines over the same rows under the same policy: DuckDB on the hub's own objects with the policy as views,
//! PostgreSQL on a copy with row-level security, read by a role that it binds.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::{
    Rows,
    policies::{Governed, TABLES},
};

/// A process of Python with DuckDB in it.
pub(super) struct Duck {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Duck {
    /// Starts it if `ODH_BENCH_PYTHON` names a Python that has DuckDB; views stand for the policy.
    pub(super) fn start(objects: &[PathBuf]) -> Option<Self> {
        let python = std::env::var_os("ODH_BENCH_PYTHON")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/query/peers.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut duck = Self { child, asks, answers };
        duck.ask("CREATE SCHEMA tpch", false).unwrap();
        for (table, object) in TABLES.iter().zip(objects) {
            let (name, shown, filter) = (table.name, table.selection(object), table.filter());
            let view = format!(
                "CREATE VIEW tpch.{name} AS SELECT {shown} FROM read_parquet('{}') WHERE {filter}",
                object.display()
            );
            duck.ask(&view, false).unwrap();
        }
        Some(duck)
    }

    /// Writes the rows of an object where PostgreSQL can copy them from.
    pub(super) fn export(&mut self, object: &Path, csv: &Path) {
        let copy =
            format!("COPY (SELECT * FROM read_parquet('{}')) TO '{}' (HEADER false)", object.display(), csv.display());
        self.ask(&copy, false).unwrap();
    }

    /// Its answer and how long that took.
    pub(super) fn query(&mut self, sql: &str) -> (Duration, Rows) {
        let answer = self.ask(sql, true).unwrap();
        let rows = serde_json::from_value(answer["rows"].clone()).unwrap();
        (Duration::from_secs_f64(answer["ms"].as_f64().unwrap() / 1_000.0), rows)
    }

    fn ask(&mut self, sql: &str, rows: bool) -> Result<serde_json::Value, String> {
        writeln!(self.asks, "{}", serde_json::json!({"sql": sql, "rows": rows})).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        match answer.get("error") {
            Some(error) => Err(format!("DuckDB: {error}")),
            None => Ok(answer),
        }
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection of a role that owns nothing, so that row-level security binds it.
pub(super) struct Postgres(PgConnection);

impl Postgres {
    /// Loads the tables into the empty database of `ODH_BENCH_POSTGRES`, if there is one. `scratch` is a directory that
    /// the server may read.
    pub(super) async fn start(objects: &[PathBuf], duck: &mut Option<Duck>, scratch: &Path) -> Option<Self> {
        let (url, duck) = (std::env::var("ODH_BENCH_POSTGRES").ok()?, duck.as_mut()?);
        let mut admin = PgConnection::connect(&url).await.unwrap();
        run(&mut admin, "CREATE SCHEMA base; CREATE SCHEMA tpch; CREATE ROLE reader LOGIN PASSWORD 'reader'").await;
        for (table, object) in TABLES.iter().zip(objects) {
            let name = table.name;
            let csv = scratch.join(format!("{name}.csv"));
            duck.export(object, &csv);
            run(&mut admin, &format!("CREATE TABLE base.{name} ({})", Governed::definitions(object))).await;
            run(&mut admin, &format!("COPY base.{name} FROM '{}' (FORMAT csv)", csv.display())).await;
            std::fs::remove_file(csv).unwrap();
            for columns in table.indexes {
                run(&mut admin, &format!("CREATE INDEX ON base.{name} ({columns})")).await;
            }
            let (shown, filter) = (table.selection(object), table.filter());
            run(
                &mut admin,
                &format!(
                    "ALTER TABLE base.{name} ENABLE ROW LEVEL SECURITY;
                     CREATE POLICY bench ON base.{name} FOR SELECT TO reader USING ({filter});
                     GRANT SELECT ON base.{name} TO reader;
                     CREATE VIEW tpch.{name} WITH (security_invoker = true) AS SELECT {shown} FROM base.{name};
                     GRANT SELECT ON tpch.{name} TO reader"
                ),
            )
            .await;
        }
        run(&mut admin, "GRANT USAGE ON SCHEMA base, tpch TO reader").await;
        run(&mut admin, "VACUUM ANALYZE").await;
        let settings = "SET ROLE reader; SET work_mem = '512MB'; SET max_parallel_workers_per_gather = 1;
                        SET statement_timeout = '60s'";
        run(&mut admin, settings).await;
        Some(Self(admin))
    }

    /// Its answer and how long that took; none if it took too long.
    pub(super) async fn query(&mut self, sql: &str) -> (Duration, Option<Rows>) {
        let started = Instant::now();
        // The simple protocol, whose cells are text.
        let answer = self.0.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        let took = started.elapsed();
        let cell = |row: &sqlx::postgres::PgRow, at: usize| {
            let value = row.try_get_raw(at).unwrap();
            sqlx::postgres::PgValueRef::as_str(&value).map(str::to_owned).unwrap_or_default()
        };
        let rows = answer.map(|rows| rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect());
        match rows {
            Ok(rows) => (took, Some(rows)),
            Err(error) if took > Duration::from_secs(59) => {
                println!("PostgreSQL gave up: {error}");
                (took, None)
            }
            Err(error) => panic!("PostgreSQL: {error}"),
        }
    }
}

async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
}
