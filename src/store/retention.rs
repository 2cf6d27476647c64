//! Pruning: leaves below a minimum index go, with their openings; hashes, tiles and counters stay.
//!
//! So every proof stays valid (C2SP tlog-tiles, "Pruning"), and the next number of a party is still known.

use super::{Tx, failed, log::signed, row::RowExt as _};
use crate::{
    domain::Timestamp,
    error::{Error, Result},
};

/// Entries that one job deletes.
const PART: u64 = 10_000;

/// When the entry at `index` was sequenced; none if it is pruned or not there.
pub async fn time_of(tx: &mut Tx, index: u64) -> Result<Option<Timestamp>> {
    let row = sqlx::query("SELECT at FROM entry WHERE idx = $1")
        .bind(signed(index))
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.map(|row| row.time("at")).transpose()
}

/// Lets entries below `index` be deleted from now on. It only ever rises.
pub async fn raise_minimum(tx: &mut Tx, origin: &str, index: u64) -> Result<()> {
    let done = sqlx::query("UPDATE log_head SET min_idx = $2 WHERE origin = $1 AND min_idx < $2 AND size >= $2")
        .bind(origin)
        .bind(signed(index))
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::internal("the minimum index of the log only rises")) }
}

/// Deletes the next entries below the minimum, with all that belongs to them; false when there are no more.
pub async fn delete_some(tx: &mut Tx, minimum: u64) -> Result<bool> {
    let first: Option<i64> = sqlx::query_scalar("SELECT MIN(idx) FROM entry WHERE idx < $1")
        .bind(signed(minimum))
        .fetch_one(tx.conn())
        .await
        .map_err(failed)?;
    let Some(first) = first else { return Ok(false) };
    let end = signed(minimum).min(first.saturating_add(signed(PART)));
    for sql in [
        "DELETE FROM opening WHERE idx < $1",
        "DELETE FROM entry_dataset WHERE idx < $1",
        "DELETE FROM entry WHERE idx < $1",
    ] {
        sqlx::query(sql).bind(end).execute(tx.conn()).await.map_err(failed)?;
    }
    Ok(true)
}
