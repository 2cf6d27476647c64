//! Idempotency keys (AIP-155), and the queries that were released and have not ended.

use std::time::Duration;

use super::{Tx, exists, failed, row::RowExt as _};
use crate::{
    domain::{QueryId, RequestId, Timestamp},
    error::Result,
};

/// What an earlier request with the same id did.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Digest of that request.
    pub digest: String,
    /// The reply that was given, if the hub came to keep it.
    pub reply: Option<Vec<u8>>,
}

/// What `caller` did under this request id.
pub async fn lookup(tx: &mut Tx, caller: &str, id: RequestId) -> Result<Option<Earlier>> {
    let row = sqlx::query("SELECT digest, reply FROM request WHERE caller = $1 AND id = $2")
        .bind(caller)
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.map(|row| Ok(Earlier { digest: row.col("digest")?, reply: row.col("reply")? })).transpose()
}

/// How long a request id is remembered at least; the API promises half of it.
const REMEMBERED: Duration = Duration::from_hours(48);

/// Claims a request id in the transaction of the change itself; a second claim fails. Forgets the caller's old ones.
pub async fn claim(tx: &mut Tx, caller: &str, id: RequestId, digest: &str, now: Timestamp) -> Result<()> {
    sqlx::query("DELETE FROM request WHERE caller = $1 AND made_at < $2")
        .bind(caller)
        .bind(now.minus(REMEMBERED).micros())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    sqlx::query("INSERT INTO request (caller, id, digest, made_at) VALUES ($1, $2, $3, $4)")
        .bind(caller)
        .bind(id.to_string())
        .bind(digest)
        .bind(now.micros())
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("request {id}")))?;
    Ok(())
}

/// Keeps the reply for a repeated request.
pub async fn keep_reply(tx: &mut Tx, caller: &str, id: RequestId, reply: Vec<u8>) -> Result<()> {
    sqlx::query("UPDATE request SET reply = $3 WHERE caller = $1 AND id = $2")
        .bind(caller)
        .bind(id.to_string())
        .bind(reply)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Notes that a query is about to be released; part of the job of its DECISION.
pub async fn start_query(tx: &mut Tx, id: QueryId, now: Timestamp) -> Result<()> {
    sqlx::query("INSERT INTO query_run (id, started_at) VALUES ($1, $2)")
        .bind(id.to_string())
        .bind(now.micros())
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("query {id}")))?;
    Ok(())
}

/// Notes that a query has ended; part of the job of its OUTCOME. False if it had ended before.
pub async fn end_query(tx: &mut Tx, id: QueryId) -> Result<bool> {
    let done = sqlx::query("DELETE FROM query_run WHERE id = $1")
        .bind(id.to_string())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// Queries that were started before `before` and have no outcome: what a crash leaves behind.
pub async fn open_queries(tx: &mut Tx, before: Timestamp) -> Result<Vec<QueryId>> {
    let rows = sqlx::query("SELECT id FROM query_run WHERE started_at < $1")
        .bind(before.micros())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(|row| row.parsed("id")).collect()
}
