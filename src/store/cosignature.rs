//! What witnesses have cosigned: the newest checkpoints of each, with their signature lines.

use super::{Tx, failed, log::signed, row::RowExt as _};
use crate::error::Result;

/// Cosigned checkpoints that are kept of each witness.
const KEPT: i64 = 16;

/// Keeps a cosignature, of which signatures and consistency must have been verified. A repetition changes nothing.
pub async fn add(tx: &mut Tx, origin: &str, size: u64, witness: &str, checkpoint: &str, line: &str) -> Result<()> {
    let sql = "INSERT INTO cosignature (origin, size, witness, checkpoint, line) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (origin, witness, size) DO NOTHING";
    sqlx::query(sql)
        .bind(origin)
        .bind(signed(size))
        .bind(witness)
        .bind(checkpoint)
        .bind(line)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    let sql = "DELETE FROM cosignature WHERE origin = $1 AND witness = $2 AND size <=
               (SELECT size FROM cosignature WHERE origin = $1 AND witness = $2 ORDER BY size DESC LIMIT 1 OFFSET $3)";
    sqlx::query(sql).bind(origin).bind(witness).bind(KEPT).execute(tx.conn()).await.map_err(failed)?;
    Ok(())
}

/// The signature lines under the checkpoint of this size, with the witness of each.
pub async fn of_size(tx: &mut Tx, origin: &str, size: u64) -> Result<Vec<(String, String)>> {
    let sql = "SELECT witness, line FROM cosignature WHERE origin = $1 AND size = $2 ORDER BY witness";
    let rows = sqlx::query(sql).bind(origin).bind(signed(size)).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.col("witness")?, row.col("line")?))).collect()
}

/// The largest size that each witness has cosigned.
pub async fn sizes(tx: &mut Tx, origin: &str) -> Result<Vec<(String, u64)>> {
    let sql = "SELECT witness, MAX(size) AS size FROM cosignature WHERE origin = $1 GROUP BY witness";
    let rows = sqlx::query(sql).bind(origin).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.col("witness")?, row.count("size")?))).collect()
}

/// The largest checkpoint that at least `witnesses` have cosigned, without their lines, and its size.
pub async fn largest(tx: &mut Tx, origin: &str, witnesses: u64) -> Result<Option<(u64, String)>> {
    let sql = "SELECT size, MIN(checkpoint) AS checkpoint FROM cosignature WHERE origin = $1
               GROUP BY size HAVING COUNT(*) >= $2 ORDER BY size DESC LIMIT 1";
    let row = sqlx::query(sql).bind(origin).bind(signed(witnesses)).fetch_optional(tx.conn()).await.map_err(failed)?;
    row.map(|row| Ok((row.count("size")?, row.col("checkpoint")?))).transpose()
}
