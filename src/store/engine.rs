//! What differs between SQLite and PostgreSQL: connecting, durability, transactions, migrations. (The rows of a commit
//! are in `bulk.rs`.)

use std::borrow::Cow;

use sqlx::{
    AnyConnection, AnyPool, Executor as _,
    any::AnyPoolOptions,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{failed, unavailable};
use crate::error::{Error, Result};

/// The database behind the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded default.
    Sqlite,
    /// Production with several replicas; version 15 or later.
    Postgres,
}

/// Embeds the migrations of both engines.
macro_rules! migrations {
    ($($version:literal $noun:literal;)+) => {
        const MIGRATIONS: &[(i64, &str, &str, &str)] = &[$((
            $version,
            $noun,
            include_str!(concat!("../../migrations/sqlite/", $noun, ".sql")),
            include_str!(concat!("../../migrations/postgres/", $noun, ".sql")),
        ),)+];
    };
}

migrations! {
    1 "0001_audit_log";
    2 "0002_participants";
    3 "0003_datasets";
    4 "0004_policies";
    5 "0005_access";
    6 "0006_consents";
    7 "0007_requests";
    8 "0008_transparency";
    9 "0009_privacy";
    10 "0010_request_age";
    12 "0012_shards";
}

impl Engine {
    /// Which engine a URL names.
    pub fn of_url(url: &str) -> Result<Self> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => Err(Error::invalid("database.url", "neither sqlite://PATH nor postgres://...")),
        }
    }

    /// Connects and refuses a database that would acknowledge what it has not made durable.
    pub(super) async fn connect(self, options: AnyPoolOptions, url: &str) -> Result<AnyPool> {
        sqlx::any::install_default_drivers();
        let url = match self {
            Self::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
            _ => url.to_owned(),
        };
        let pool = options
            // P7: nobody waits longer for a database that does not answer.
            .acquire_timeout(std::time::Duration::from_secs(2))
            .after_connect(move |conn, _| Box::pin(self.prepare(conn)))
            .connect(&url)
            .await
            .map_err(unavailable)?;
        let mut conn = pool.acquire().await.map_err(unavailable)?;
        self.check_durability(&mut conn).await?;
        drop(conn);
        Ok(pool)
    }

    async fn prepare(self, conn: &mut AnyConnection) -> sqlx::Result<()> {
        match self {
            // sqlx sets neither journal_mode nor synchronous; WAL with FULL syncs at each commit.
            Self::Sqlite => {
                conn.execute(
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                     PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON; PRAGMA cache_size = -16000;",
                )
                .await?;
            }
            Self::Postgres => {
                // A hub that is gone without a word (its machine, its network) must not keep the log's head locked: its
                // server ends a transaction of which it hears nothing.
                conn.execute(
                    "SET synchronous_commit = on; SET lock_timeout = '2s'; SET TIME ZONE 'UTC';
                     SET idle_in_transaction_session_timeout = '5s'",
                )
                .await?;
            }
        }
        Ok(())
    }

    async fn check_durability(self, conn: &mut AnyConnection) -> Result<()> {
        let wrong = |what: &str| Err(Error::invalid("database.url", format!("the database is not durable: {what}")));
        match self {
            Self::Sqlite => {
                let mode: String =
                    sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *conn).await.map_err(failed)?;
                let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(conn).await.map_err(failed)?;
                match (mode.as_str(), level) {
                    ("wal", 2..) => Ok(()),
                    _ => wrong("journal_mode must be WAL and synchronous FULL"),
                }
            }
            Self::Postgres => {
                let fsync: String = sqlx::query_scalar("SELECT current_setting('fsync')")
                    .fetch_one(&mut *conn)
                    .await
                    .map_err(failed)?;
                let version: i64 = sqlx::query_scalar("SELECT CAST(current_setting('server_version_num') AS BIGINT)")
                    .fetch_one(conn)
                    .await
                    .map_err(failed)?;
                if fsync != "on" {
                    return wrong("fsync is off");
                }
                if version < 150_000 {
                    return Err(Error::invalid("database.url", "PostgreSQL 15 or later is needed"));
                }
                Ok(())
            }
        }
    }

    /// Brings the schema up to date; refuses one that a newer hub has changed.
    pub(super) async fn migrate(self, pool: &AnyPool) -> Result<()> {
        let migrations = MIGRATIONS
            .iter()
            .map(|(version, noun, sqlite, postgres)| {
                let sql = match self {
                    Self::Sqlite => *sqlite,
                    Self::Postgres => *postgres,
                };
                Migration::new(
                    *version,
                    Cow::Borrowed(*noun),
                    MigrationType::Simple,
                    sqlx::SqlSafeStr::into_sql_str(sql),
                    false,
                )
            })
            .collect();
        Migrator::with_migrations(migrations)
            .run(pool)
            .await
            .map_err(|e| Error::internal(format_args!("the schema cannot be brought up to date: {e}")))
    }

    /// Starts a transaction that will write.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            // A deferred transaction that turns into a writer fails at once when another one writes.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// As [`Self::begin`], with the first job's savepoint in the same round trip.
    pub(super) const fn begin_with_savepoint(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE; SAVEPOINT job",
            Self::Postgres => "BEGIN; SAVEPOINT job",
        }
    }

    /// Reads the log's head and keeps other replicas from advancing it until the transaction ends.
    pub(super) const fn lock_head(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT size, frontier, checkpoint, min_idx FROM log_head WHERE origin = $1",
            Self::Postgres => "SELECT size, frontier, checkpoint, min_idx FROM log_head WHERE origin = $1 FOR UPDATE",
        }
    }

    /// What the database takes on disk.
    pub(super) const fn size_bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            Self::Postgres => "SELECT pg_database_size(current_database())",
        }
    }

    /// Inserts subjects from one JSON parameter: an array of `[ordinal, pseudonym]`.
    pub(super) const fn insert_subjects(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "INSERT INTO subject (dataset, ordinal, pseudonym)
                 SELECT $1, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each($2)"
            }
            Self::Postgres => {
                "INSERT INTO subject (dataset, ordinal, pseudonym)
                 SELECT $1, CAST(value ->> 0 AS BIGINT), value ->> 1 FROM jsonb_array_elements(CAST($2 AS JSONB))"
            }
        }
    }

    /// Inserts consent events from one JSON parameter: an array of `[ordinal, purpose, recipient, state, expires_at]`.
    pub(super) const fn insert_consent_events(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "INSERT INTO consent_event (batch, dataset, ordinal, purpose, recipient, state, expires_at)
                 SELECT $1, $2, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
                        json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each($3)"
            }
            Self::Postgres => {
                "INSERT INTO consent_event (batch, dataset, ordinal, purpose, recipient, state, expires_at)
                 SELECT $1, $2, CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, value ->> 3,
                        CAST(value ->> 4 AS BIGINT) FROM jsonb_array_elements(CAST($3 AS JSONB))"
            }
        }
    }
}
