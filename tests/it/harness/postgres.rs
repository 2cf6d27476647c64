//! PostgreSQL for the suite: a server that is given, or a throw-away cluster of the installed binaries.
//!
//! `postgres.sh` owns the cluster and lives as long as its standard input, which this process holds: however the
//! process ends, by `kill -9` too, the pipe closes and nothing is left behind.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Exit code of `postgres.sh` when no PostgreSQL is installed.
const NOT_INSTALLED: i32 = 77;

/// A PostgreSQL server on which tests make databases of their own.
#[derive(Debug)]
pub(crate) struct Cluster {
    admin_url: String,
    /// The supervisor of the cluster, if it is ours; see [`Drop`].
    supervisor: Option<Child>,
}

impl Cluster {
    /// The one cluster of this test process. `None`, with a visible line, if there is no server to be had; a panic
    /// instead if `ODH_REQUIRE_POSTGRES=1`. The first call takes about a second and blocks.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A cluster for the caller alone, stopped and removed when it is dropped. See [`Cluster::shared`].
    pub(crate) fn start() -> Option<Self> {
        let cluster = match env::var("ODH_TEST_POSTGRES_URL") {
            Ok(admin_url) => Some(Self { admin_url, supervisor: None }),
            Err(_) => Self::throw_away(),
        };
        if cluster.is_none() {
            let required = env::var("ODH_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "ODH_REQUIRE_POSTGRES=1, but no PostgreSQL server was found");
            announce_skipping();
        }
        cluster
    }

    /// Makes an empty database and returns its URL. `name` only helps people: two tests may use the same.
    pub(crate) async fn create_database(&self, name: &str) -> String {
        let readable: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .take(30)
            .collect();
        let mut unique = [0_u8; 8];
        aws_lc_rs::rand::fill(&mut unique).expect("randomness");
        let database = format!("odh_test_{readable}_{:016x}", u64::from_be_bytes(unique));
        let mut admin = PgConnection::connect(&self.admin_url).await.expect("connect to PostgreSQL");
        // TEMPLATE template0: copying it does not fail while someone else is connected to template1.
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database} TEMPLATE template0")))
            .execute(&mut admin)
            .await
            .expect("create a database");
        admin.close().await.expect("close the connection");
        with_database(&self.admin_url, &database)
    }

    fn throw_away() -> Option<Self> {
        let mut supervisor = Command::new("bash")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/postgres.sh"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run bash");
        let mut url = String::new();
        let stdout = supervisor.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut url).expect("read its output");
        if url.is_empty() {
            let status = supervisor.wait().expect("wait for bash");
            assert_eq!(status.code(), Some(NOT_INSTALLED), "the throw-away PostgreSQL cluster did not start");
            return None;
        }
        Some(Self { admin_url: url.trim_end().to_owned(), supervisor: Some(supervisor) })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}

/// Says it past the test runner, which swallows what a passing test prints with `println!`.
fn announce_skipping() {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: PostgreSQL half of the suite (no server found)");
}

/// The URL with another path: its query (`?host=/socket`) stays.
fn with_database(url: &str, database: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    format!("{}/{database}{query}", &base[..end])
}

#[tokio::test]
async fn a_test_gets_a_database_of_its_own() {
    let Some(cluster) = tokio::task::spawn_blocking(Cluster::shared).await.unwrap() else { return };
    let (one, two) = (cluster.create_database("Own db").await, cluster.create_database("Own db").await);
    assert_ne!(one, two);
    let mut connection = PgConnection::connect(&one).await.unwrap();
    let answer: i32 = sqlx::query_scalar("select 1").fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, 1);
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(version >= 150_000, "PostgreSQL {version} is older than 15");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_cluster_is_gone() {
    let Some(cluster) = tokio::task::spawn_blocking(Cluster::throw_away).await.unwrap() else { return };
    let url = cluster.admin_url.clone();
    PgConnection::connect(&url).await.unwrap().close().await.unwrap();
    tokio::task::spawn_blocking(move || drop(cluster)).await.unwrap();
    assert!(PgConnection::connect(&url).await.is_err());
}

#[test]
fn a_url_keeps_its_host_and_query_for_another_database() {
    assert_eq!(
        with_database("postgres://u:p@h:5/postgres?sslmode=disable", "d"),
        "postgres://u:p@h:5/d?sslmode=disable"
    );
    assert_eq!(with_database("postgres://u@h", "d"), "postgres://u@h/d");
}
