//! Reading the log: entries with filters, tiles and the roots from them, the signed head.

use std::ops::Range;

use sqlx::any::AnyRow;

use super::{LogHead, Tx, failed, log, log::signed, row::RowExt as _, tile};
use crate::{
    audit::{Hash, HashTiles, Opening, TileId, tile::TILE_WIDTH},
    domain::{AuditEvent, DatasetId, Page, PageRequest, ParticipantId, Timestamp},
    error::{Error, Result},
};

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only entries that concern this participant.
    pub party: Option<ParticipantId>,
    /// Only entries that concern this participant, too.
    pub also: Option<ParticipantId>,
    /// Only of this kind, or of this family (`query` for `query.decision` and `query.outcome`).
    pub kind: Option<String>,
    /// Only by this participant.
    pub actor: Option<ParticipantId>,
    /// Only about this dataset.
    pub dataset: Option<DatasetId>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// Entries in the order of the log.
pub async fn list(tx: &mut Tx, filter: &Filter, page: &PageRequest) -> Result<Page<AuditEvent>> {
    let after = match &page.after {
        Some(key) => key.parse().map_err(|_| Error::invalid("page_token", "not an index"))?,
        None => -1_i64,
    };
    let sql = "SELECT e.idx, e.leaf, e.leaf_hash FROM entry e
               WHERE e.idx > $1
                 AND ($2 = '' OR EXISTS (SELECT 1 FROM party_entry p WHERE p.party = $2 AND p.idx = e.idx))
                 AND ($3 = '' OR EXISTS (SELECT 1 FROM party_entry p WHERE p.party = $3 AND p.idx = e.idx))
                 AND ($4 = '' OR e.kind = $4 OR e.kind LIKE $5)
                 AND ($6 = '' OR e.actor = $6)
                 AND ($7 = '' OR EXISTS (SELECT 1 FROM entry_dataset d WHERE d.dataset = $7 AND d.idx = e.idx))
                 AND e.at >= $8 AND e.at < $9
               ORDER BY e.idx LIMIT $10";
    let kind = filter.kind.as_deref().unwrap_or("");
    let rows = sqlx::query(sql)
        .bind(after)
        .bind(filter.party.as_ref().map_or("", ParticipantId::as_str))
        .bind(filter.also.as_ref().map_or("", ParticipantId::as_str))
        .bind(kind)
        .bind(format!("{}.%", kind.replace(['%', '_'], "")))
        .bind(filter.actor.as_ref().map_or("", ParticipantId::as_str))
        .bind(filter.dataset.as_ref().map(ToString::to_string).unwrap_or_default())
        .bind(filter.since.map_or(i64::MIN, Timestamp::micros))
        .bind(filter.until.map_or(i64::MAX, Timestamp::micros))
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(event).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |event| event.index.to_string()))
}

/// Entries of the bundle `n` of a log of `size` entries; fewer if some of them are pruned.
pub async fn bundle(tx: &mut Tx, n: u64, width: u64) -> Result<Vec<AuditEvent>> {
    let sql = "SELECT idx, leaf, leaf_hash FROM entry WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    let first = n.saturating_mul(TILE_WIDTH);
    let rows = sqlx::query(sql)
        .bind(signed(first))
        .bind(signed(first.saturating_add(width)))
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(event).collect()
}

/// What opens commitments of the entries from `first` to `last`, of what `party` may have: its own numbers, and what its
/// own members did. In the order of the log.
pub async fn openings(tx: &mut Tx, party: &ParticipantId, first: u64, last: u64) -> Result<Vec<(u64, Opening)>> {
    let sql = "SELECT o.idx, o.field, o.party, o.salt, o.value FROM opening o JOIN entry e ON e.idx = o.idx
               WHERE o.idx >= $2 AND o.idx <= $3 AND (o.party = $1 OR (o.party IS NULL AND e.actor = $1))
               ORDER BY o.idx, o.field";
    let rows = sqlx::query(sql)
        .bind(party.as_str())
        .bind(signed(first))
        .bind(signed(last))
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Ok((row.count("idx")?, opening(row)?))).collect()
}

/// A hash tile of a log of `size` entries, or wider if the log has grown since.
pub async fn tile(tx: &mut Tx, origin: &str, id: TileId, size: u64) -> Result<Vec<Hash>> {
    tile::hashes(tx, origin, id, size).await
}

/// The tiles from which the roots over `ranges` can be computed, in a log of `size` entries.
pub async fn tiles(tx: &mut Tx, origin: &str, ranges: &[Range<u64>], size: u64) -> Result<HashTiles> {
    tile::for_ranges(tx, origin, ranges, size).await
}

/// The root of the first `size` entries.
pub async fn root(tx: &mut Tx, origin: &str, size: u64) -> Result<Hash> {
    tile::root(tx, origin, size).await
}

/// The log's head with its signed checkpoint.
pub async fn head(tx: &mut Tx, origin: &str) -> Result<LogHead> {
    let row = sqlx::query("SELECT size, frontier, checkpoint, min_idx FROM log_head WHERE origin = $1")
        .bind(origin)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?
        .ok_or_else(|| Error::internal("the log has no head"))?;
    log::head_of(&row)
}

/// The opening in a row.
pub(super) fn opening(row: &AnyRow) -> Result<Opening> {
    let salt: Vec<u8> = row.col("salt")?;
    let salt = salt.try_into().map_err(|_| Error::internal("inconsistent row, column salt"))?;
    Ok(Opening { field: row.col("field")?, party: row.parsed_opt("party")?, salt, value: row.col("value")? })
}

fn event(row: &AnyRow) -> Result<AuditEvent> {
    let hash: Vec<u8> = row.col("leaf_hash")?;
    let leaf_hash = hash.try_into().map_err(|_| Error::internal("inconsistent row, column leaf_hash"))?;
    Ok(AuditEvent { index: row.count("idx")?, leaf: row.col("leaf")?, leaf_hash })
}
