//! The half-years of the log: when each began and ended, with its final checkpoint, which stays when its entries go.

use super::{Tx, failed, log::signed, row::RowExt as _};
use crate::{
    audit::Shard,
    domain::{HalfYear, Timestamp},
    error::Result,
};

/// The half-year that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) name: HalfYear,
    pub(super) first: u64,
}

/// The half-year that the log is in; none if it has no entries, or none with a date. A log that was begun without
/// half-years is in that of its first entry that is kept.
pub(super) async fn current(tx: &mut Tx, origin: &str) -> Result<Option<Current>> {
    let last = "SELECT next, size FROM shard WHERE origin = $1 ORDER BY size DESC LIMIT 1";
    let row = sqlx::query(last).bind(origin).fetch_optional(tx.conn()).await.map_err(failed)?;
    if let Some(row) = row {
        let name: String = row.col("next")?;
        return Ok(Some(Current { name: name.parse()?, first: row.count("size")? }));
    }
    let row =
        sqlx::query("SELECT at FROM entry ORDER BY idx LIMIT 1").fetch_optional(tx.conn()).await.map_err(failed)?;
    let at: Option<Timestamp> = row.map(|row| row.time("at")).transpose()?;
    Ok(at.and_then(HalfYear::of).map(|name| Current { name, first: 0 }))
}

/// Keeps a half-year that has ended, and which one came next.
pub(super) async fn end(tx: &mut Tx, origin: &str, shard: &Shard, next: HalfYear) -> Result<()> {
    let sql = "INSERT INTO shard (origin, name, first, size, checkpoint, next) VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(origin)
        .bind(shard.name.to_string())
        .bind(signed(shard.first))
        .bind(signed(shard.size))
        .bind(&shard.checkpoint)
        .bind(next.to_string())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// The half-years that have ended, in order; the entries of some may be pruned.
pub async fn ended(tx: &mut Tx, origin: &str) -> Result<Vec<Shard>> {
    let sql = "SELECT name, first, size, checkpoint FROM shard WHERE origin = $1 ORDER BY size";
    let rows = sqlx::query(sql).bind(origin).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let name: String = row.col("name")?;
            let (first, size) = (row.count("first")?, row.count("size")?);
            Ok(Shard { name: name.parse()?, first, size, checkpoint: row.col("checkpoint")? })
        })
        .collect()
}
