//! What the limits of policies count. Each count is reserved by one conditional statement, inside the transaction of
//! the decision: a query that is refused for another reason gives it back with the rest of its job.

use super::{Tx, failed, row::RowExt as _};
use crate::{
    domain::{Interval, Timestamp},
    error::Result,
};

/// How many queries of an interval have been counted, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Over which span.
    pub interval: Interval,
    /// When it began.
    pub since: Timestamp,
    /// How many.
    pub queries: u64,
}

/// Counts one more query of `scope` if that makes `most` at most; false if it does not, and nothing is counted.
pub async fn count(tx: &mut Tx, scope: &str, most: u64) -> Result<bool> {
    if most == 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO query_count (scope, queries) VALUES ($1, 1)
               ON CONFLICT (scope) DO UPDATE SET queries = query_count.queries + 1 WHERE query_count.queries < $2";
    let done = sqlx::query(sql).bind(scope).bind(bounded(most)).execute(tx.conn()).await.map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// The queries of `scope` so far.
pub async fn counted(tx: &mut Tx, scope: &str) -> Result<u64> {
    let sql = "SELECT queries FROM query_count WHERE scope = $1";
    let row = sqlx::query(sql).bind(scope).fetch_optional(tx.conn()).await.map_err(failed)?;
    row.map_or(Ok(0), |row| row.count("queries"))
}

/// Counts one more query of `scope` in the interval that began with its first, if that makes `most` at most; otherwise
/// nothing is counted, and the time when the next interval can begin is given.
pub async fn count_in(
    tx: &mut Tx,
    scope: &str,
    interval: Interval,
    most: u32,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let length = i64::from(interval.seconds()) * 1_000_000;
    if most > 0 {
        let sql = "INSERT INTO query_rate (scope, span, started_at, queries) VALUES ($1, $2, $3, 1)
                   ON CONFLICT (scope, span) DO UPDATE SET
                       queries = CASE WHEN query_rate.started_at + $4 <= $3 THEN 1 ELSE query_rate.queries + 1 END,
                       started_at = CASE WHEN query_rate.started_at + $4 <= $3 THEN $3 ELSE query_rate.started_at END
                   WHERE query_rate.started_at + $4 <= $3 OR query_rate.queries < $5";
        let done = sqlx::query(sql)
            .bind(scope)
            .bind(interval.as_str())
            .bind(now.micros())
            .bind(length)
            .bind(i64::from(most))
            .execute(tx.conn())
            .await
            .map_err(failed)?;
        if done.rows_affected() == 1 {
            return Ok(None);
        }
    }
    let since = counted_in(tx, scope, interval).await?.map_or(now, |counted| counted.since);
    Ok(Some(Timestamp::from_micros(since.micros() + length)))
}

/// What was counted of `scope` in the last interval.
pub async fn counted_in(tx: &mut Tx, scope: &str, interval: Interval) -> Result<Option<Counted>> {
    let row = sqlx::query("SELECT started_at, queries FROM query_rate WHERE scope = $1 AND span = $2")
        .bind(scope)
        .bind(interval.as_str())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.map(|row| Ok(Counted { interval, since: row.time("started_at")?, queries: row.count("queries")? })).transpose()
}

/// As the database counts.
fn bounded(most: u64) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
