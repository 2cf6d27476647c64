//! Erasing a person or a subject: the openings that show them, and the clear values beside the log.
//!
//! Leaves, hashes and counters stay as they are, so that every proof stays valid; what is gone is all that could open
//! their commitments.

use std::time::Duration;

use sqlx::Executor as _;

use super::{Engine, Store, Tx, failed, log::signed, row::RowExt as _};
use crate::{
    domain::{DatasetId, MemberId},
    error::{Error, Result},
};

/// How often SQLite is asked to empty its write-ahead log while readers hold on to it, and the pause between.
const PURGE_ATTEMPTS: usize = 20;
const PURGE_PAUSE: Duration = Duration::from_millis(100);

/// An opening, by the entry that it belongs to and its field.
pub type Place = (u64, String);

/// The openings from entry `first` on whose value contains `text`, with their values. Counters are none of them.
pub async fn openings_with(tx: &mut Tx, text: &str, first: u64) -> Result<Vec<(Place, String)>> {
    let sql = match tx.engine {
        Engine::Sqlite => {
            "SELECT idx, field, value FROM opening WHERE idx >= $2 AND party IS NULL AND instr(value, $1) > 0"
        }
        Engine::Postgres => {
            "SELECT idx, field, value FROM opening WHERE idx >= $2 AND party IS NULL AND strpos(value, $1) > 0"
        }
    };
    let rows = sqlx::query(sql).bind(text).bind(signed(first)).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter().map(|row| Ok(((row.count("idx")?, row.col("field")?), row.col("value")?))).collect()
}

/// Deletes these openings; gives how many there were.
pub async fn delete_openings(tx: &mut Tx, places: &[Place]) -> Result<u64> {
    let mut deleted = 0;
    for (index, field) in places {
        let sql = "DELETE FROM opening WHERE idx = $1 AND field = $2 AND party IS NULL";
        let done = sqlx::query(sql).bind(signed(*index)).bind(field).execute(tx.conn()).await.map_err(failed)?;
        deleted += done.rows_affected();
    }
    Ok(deleted)
}

/// Deletes every opening of these entries but the counters of parties; gives how many there were.
pub async fn delete_openings_of(tx: &mut Tx, entries: &[u64]) -> Result<u64> {
    let mut deleted = 0;
    for index in entries {
        let sql = "DELETE FROM opening WHERE idx = $1 AND party IS NULL";
        deleted += sqlx::query(sql).bind(signed(*index)).execute(tx.conn()).await.map_err(failed)?.rows_affected();
    }
    Ok(deleted)
}

/// Takes away the name of a member, and the kept replies that show it.
pub async fn forget_name(tx: &mut Tx, member: MemberId, name: &str) -> Result<()> {
    sqlx::query("UPDATE member SET display_name = '', revision = revision + 1 WHERE id = $1")
        .bind(member.to_string())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    if name.is_empty() {
        return Ok(());
    }
    let sql = match tx.engine {
        Engine::Sqlite => "UPDATE request SET reply = NULL WHERE instr(reply, CAST($1 AS BLOB)) > 0",
        Engine::Postgres => "UPDATE request SET reply = NULL WHERE position(convert_to($1, 'UTF8') IN reply) > 0",
    };
    sqlx::query(sql).bind(name).execute(tx.conn()).await.map_err(failed)?;
    Ok(())
}

/// Puts a marker in the place of a subject's pseudonym. Its ordinal stays, so that nobody takes it over.
pub async fn forget_pseudonym(tx: &mut Tx, dataset: &DatasetId, ordinal: u32) -> Result<()> {
    let done = sqlx::query("UPDATE subject SET pseudonym = $3 WHERE dataset = $1 AND ordinal = $2")
        .bind(dataset.to_string())
        .bind(i64::from(ordinal))
        .bind(format!("\u{2205}{ordinal}"))
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::not_found("the subject")) }
}

impl Store {
    /// Removes what deleted rows have left in the database's files; false if readers kept it from being complete.
    ///
    /// On SQLite freed bytes are overwritten (`secure_delete`), and this empties the write-ahead log. On PostgreSQL it
    /// vacuums; its own log and its backups end by their retention.
    pub async fn purge(&self) -> Result<bool> {
        let mut tx = self.read().await?;
        match self.engine {
            Engine::Sqlite => {
                for _ in 0..PURGE_ATTEMPTS {
                    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(tx.conn()).await;
                    let row = row.map_err(failed)?;
                    if row.col::<i64>("busy")? == 0 {
                        return Ok(true);
                    }
                    tokio::time::sleep(PURGE_PAUSE).await;
                }
                Ok(false)
            }
            Engine::Postgres => {
                for table in ["VACUUM opening", "VACUUM subject", "VACUUM member", "VACUUM request"] {
                    tx.conn().execute(table).await.map_err(failed)?;
                }
                Ok(true)
            }
        }
    }
}
