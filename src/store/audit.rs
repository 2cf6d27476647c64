//! Reading the log: entries with filters, leaf hashes, the signed head.

use sqlx::any::AnyRow;

use super::{LogHead, Tx, failed, log, log::signed, row::RowExt as _};
use crate::{
    domain::{AuditEvent, DatasetId, Page, PageRequest, ParticipantId, Receipt, Timestamp},
    error::{Error, Result},
};

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only entries that concern this participant.
    pub party: Option<ParticipantId>,
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
                 AND ($3 = '' OR e.kind = $3 OR e.kind LIKE $4)
                 AND ($5 = '' OR e.actor = $5)
                 AND ($6 = '' OR e.dataset = $6)
                 AND e.at >= $7 AND e.at < $8
               ORDER BY e.idx LIMIT $9";
    let kind = filter.kind.as_deref().unwrap_or("");
    let rows = sqlx::query(sql)
        .bind(after)
        .bind(filter.party.as_ref().map_or("", ParticipantId::as_str))
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

/// One entry.
pub async fn lookup(tx: &mut Tx, index: u64) -> Result<Option<AuditEvent>> {
    let row = sqlx::query("SELECT idx, leaf, leaf_hash FROM entry WHERE idx = $1")
        .bind(signed(index))
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(event).transpose()
}

/// Whether an entry concerns a participant.
pub async fn concerns(tx: &mut Tx, index: u64, party: &ParticipantId) -> Result<bool> {
    let found: Option<i64> = sqlx::query_scalar("SELECT seq FROM party_entry WHERE party = $1 AND idx = $2")
        .bind(party.as_str())
        .bind(signed(index))
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}

/// The leaf hashes of the first `size` entries.
pub async fn leaf_hashes(tx: &mut Tx, size: u64) -> Result<Vec<[u8; 32]>> {
    log::leaf_hashes(tx, size).await
}

/// The log's head with its signed checkpoint.
pub async fn head(tx: &mut Tx, origin: &str) -> Result<LogHead> {
    let row = sqlx::query("SELECT size, frontier, checkpoint FROM log_head WHERE origin = $1")
        .bind(origin)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?
        .ok_or_else(|| Error::internal("the log has no head"))?;
    let frontier = crate::audit::Frontier::from_bytes(&row.col::<Vec<u8>>("frontier")?)?;
    Ok(LogHead { frontier, checkpoint: row.col("checkpoint")? })
}

/// The receipt of an earlier entry under the present head.
pub async fn receipt(tx: &mut Tx, origin: &str, index: u64) -> Result<Receipt> {
    let event = lookup(tx, index).await?.ok_or_else(|| Error::not_found(format_args!("entry {index}")))?;
    let head = head(tx, origin).await?;
    Ok(Receipt { index, leaf_hash: event.leaf_hash, checkpoint: head.checkpoint })
}

/// What the whole database takes on disk, in bytes.
pub async fn size_bytes(tx: &mut Tx) -> Result<u64> {
    let sql = tx.engine.size_bytes();
    let bytes: i64 = sqlx::query_scalar(sql).fetch_one(tx.conn()).await.map_err(failed)?;
    u64::try_from(bytes).map_err(|e| Error::internal(format_args!("size of the database: {e}")))
}

fn event(row: &AnyRow) -> Result<AuditEvent> {
    let hash: Vec<u8> = row.col("leaf_hash")?;
    let leaf_hash = hash.try_into().map_err(|_| Error::internal("inconsistent row, column leaf_hash"))?;
    Ok(AuditEvent { index: row.count("idx")?, leaf: row.col("leaf")?, leaf_hash })
}
