//! Faults of the audit store, made from beside the hub.

use sqlx::{AnyConnection, Connection as _, Executor as _};

use super::{Engine, Hub, sane};

/// Holds what the hub's writer needs, so that nothing can be committed, until it is released.
pub(crate) struct BlockedLog {
    db: AnyConnection,
}

impl BlockedLog {
    /// Blocks every commit: on SQLite by the write lock, on PostgreSQL by the row of the log's head.
    pub(crate) async fn of(hub: &Hub) -> Self {
        let mut db = sane::connect(&hub.database_url()).await;
        match hub.engine {
            Engine::Sqlite => {
                db.execute("PRAGMA busy_timeout = 5000").await.unwrap();
                db.execute("BEGIN IMMEDIATE").await.unwrap();
            }
            Engine::Postgres => {
                db.execute("BEGIN").await.unwrap();
                db.execute("SELECT size FROM log_head FOR UPDATE").await.unwrap();
            }
        }
        Self { db }
    }

    /// Lets commits through again.
    pub(crate) async fn release(mut self) {
        self.db.execute("ROLLBACK").await.unwrap();
        self.db.close().await.unwrap();
    }
}
