//! Consents: Roaring bitmaps over subject ordinals, and the events behind them.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use sqlx::any::AnyRow;

use super::{
    Topic, Tx, exists, failed,
    log::signed,
    row::{RowExt as _, json},
};
use crate::{
    domain::{ConsentCounts, ConsentState, DatasetId, ParticipantId, PurposeSlug, Timestamp},
    error::{Error, Result},
};

/// A change by ordinals, one recipient (`None` is any) and purpose; within it a subject stands once.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// Subjects that give their consent.
    pub given: RoaringBitmap,
    /// Subjects that withdraw it.
    pub withdrawn: RoaringBitmap,
    /// Of those who give, who limits it to an instant.
    pub expiries: BTreeMap<Timestamp, RoaringBitmap>,
}

/// For which purpose and recipient.
pub type Scope = (PurposeSlug, Option<ParticipantId>);

/// One event, as it is kept to demonstrate the consent (GDPR article 7(1)).
#[derive(Debug, Clone)]
pub struct Event {
    /// Whose.
    pub ordinal: u32,
    /// For which purpose.
    pub purpose: PurposeSlug,
    /// For which recipient.
    pub recipient: Option<ParticipantId>,
    /// Given or withdrawn.
    pub state: ConsentState,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// Adds events of a batch that is not visible yet.
pub async fn add_events(tx: &mut Tx, batch: &str, dataset: &DatasetId, events: &[Event]) -> Result<()> {
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.ordinal,
                event.purpose.as_str(),
                recipient_key(event.recipient.as_ref()),
                event.state.as_str(),
                event.expires_at.map(Timestamp::micros),
            )
        })
        .collect();
    let sql = tx.engine.insert_consent_events();
    sqlx::query(sql)
        .bind(batch)
        .bind(dataset.to_string())
        .bind(json(&rows)?)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Applies a batch: its events count from now on and the bitmaps show them.
pub async fn apply(
    tx: &mut Tx,
    batch: &str,
    dataset: &DatasetId,
    events: u64,
    deltas: &BTreeMap<Scope, Delta>,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("INSERT INTO consent_batch (id, dataset, events, created_at) VALUES ($1, $2, $3, $4)")
        .bind(batch)
        .bind(dataset.to_string())
        .bind(signed(events))
        .bind(now.micros())
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("consent batch {batch}")))?;
    for ((purpose, recipient), delta) in deltas {
        apply_delta(tx, dataset, purpose, recipient.as_ref(), delta).await?;
    }
    tx.bump(&Topic::Consents(dataset)).await
}

async fn apply_delta(
    tx: &mut Tx,
    dataset: &DatasetId,
    purpose: &PurposeSlug,
    recipient: Option<&ParticipantId>,
    delta: &Delta,
) -> Result<()> {
    let key = recipient_key(recipient);
    let sql = "SELECT given, withdrawn FROM consent_index WHERE dataset = $1 AND purpose = $2 AND recipient = $3";
    let row = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(purpose.as_str())
        .bind(key)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    let (mut given, mut withdrawn) = match &row {
        Some(row) => (bitmap(row, "given")?, bitmap(row, "withdrawn")?),
        None => Default::default(),
    };
    given |= &delta.given;
    given -= &delta.withdrawn;
    withdrawn |= &delta.withdrawn;
    withdrawn -= &delta.given;
    let sql = "INSERT INTO consent_index (dataset, purpose, recipient, given, withdrawn) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (dataset, purpose, recipient) DO UPDATE
               SET given = excluded.given, withdrawn = excluded.withdrawn";
    sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(purpose.as_str())
        .bind(key)
        .bind(bytes(&given)?)
        .bind(bytes(&withdrawn)?)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    let changed = &delta.given | &delta.withdrawn;
    update_expiries(tx, dataset, purpose, key, &changed, &delta.expiries).await
}

async fn update_expiries(
    tx: &mut Tx,
    dataset: &DatasetId,
    purpose: &PurposeSlug,
    recipient: &str,
    changed: &RoaringBitmap,
    new: &BTreeMap<Timestamp, RoaringBitmap>,
) -> Result<()> {
    let sql = "SELECT expires_at, subjects FROM consent_expiry WHERE dataset = $1 AND purpose = $2 AND recipient = $3";
    let rows = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(purpose.as_str())
        .bind(recipient)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let mut expiries = BTreeMap::new();
    for row in &rows {
        expiries.insert(row.time("expires_at")?, bitmap(row, "subjects")? - changed);
    }
    for (at, subjects) in new {
        *expiries.entry(*at).or_default() |= subjects;
    }
    for (at, subjects) in expiries {
        let sql = "INSERT INTO consent_expiry (dataset, purpose, recipient, expires_at, subjects)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (dataset, purpose, recipient, expires_at) DO UPDATE SET subjects = excluded.subjects";
        sqlx::query(sql)
            .bind(dataset.to_string())
            .bind(purpose.as_str())
            .bind(recipient)
            .bind(at.micros())
            .bind(bytes(&subjects)?)
            .execute(tx.conn())
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// The subjects whose rows may be used by `recipient` for a purpose whose ancestors (itself included) are given:
/// who gave consent to one of them, less who withdrew one of them, less what has expired.
pub async fn effective(
    tx: &mut Tx,
    dataset: &DatasetId,
    purposes: &[PurposeSlug],
    recipient: &ParticipantId,
    now: Timestamp,
) -> Result<RoaringBitmap> {
    let mut allowed = RoaringBitmap::new();
    let mut refused = RoaringBitmap::new();
    for purpose in purposes {
        let sql = "SELECT recipient, given, withdrawn FROM consent_index
                   WHERE dataset = $1 AND purpose = $2 AND (recipient = '' OR recipient = $3)";
        let rows = sqlx::query(sql)
            .bind(dataset.to_string())
            .bind(purpose.as_str())
            .bind(recipient.as_str())
            .fetch_all(tx.conn())
            .await
            .map_err(failed)?;
        for row in &rows {
            let mut given = bitmap(row, "given")?;
            let key: String = row.col("recipient")?;
            given -= expired(tx, dataset, purpose, &key, now).await?;
            allowed |= given;
            refused |= bitmap(row, "withdrawn")?;
        }
    }
    Ok(allowed - refused)
}

async fn expired(
    tx: &mut Tx,
    dataset: &DatasetId,
    purpose: &PurposeSlug,
    recipient: &str,
    now: Timestamp,
) -> Result<RoaringBitmap> {
    let sql = "SELECT subjects FROM consent_expiry
               WHERE dataset = $1 AND purpose = $2 AND recipient = $3 AND expires_at <= $4";
    let rows = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(purpose.as_str())
        .bind(recipient)
        .bind(now.micros())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().try_fold(RoaringBitmap::new(), |all, row| Ok(all | bitmap(row, "subjects")?))
}

/// The purposes and recipients for which a dataset has consents, for a withdrawal of all of them.
pub async fn scopes(tx: &mut Tx, dataset: &DatasetId) -> Result<Vec<Scope>> {
    let rows = sqlx::query("SELECT purpose, recipient FROM consent_index WHERE dataset = $1 ORDER BY 1, 2")
        .bind(dataset.to_string())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(scope).collect()
}

/// Counts per purpose and recipient.
pub async fn counts(tx: &mut Tx, dataset: &DatasetId) -> Result<Vec<ConsentCounts>> {
    let rows = sqlx::query("SELECT * FROM consent_index WHERE dataset = $1 ORDER BY purpose, recipient")
        .bind(dataset.to_string())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let (purpose, recipient) = scope(row)?;
            let (given, withdrawn) = (bitmap(row, "given")?.len(), bitmap(row, "withdrawn")?.len());
            Ok(ConsentCounts { purpose, recipient, given, withdrawn })
        })
        .collect()
}

fn scope(row: &AnyRow) -> Result<Scope> {
    let recipient: String = row.col("recipient")?;
    let recipient = if recipient.is_empty() { None } else { Some(recipient.parse()?) };
    Ok((row.parsed("purpose")?, recipient))
}

fn recipient_key(recipient: Option<&ParticipantId>) -> &str {
    recipient.map_or("", ParticipantId::as_str)
}

fn bitmap(row: &AnyRow, column: &'static str) -> Result<RoaringBitmap> {
    let bytes: Vec<u8> = row.col(column)?;
    RoaringBitmap::deserialize_from(bytes.as_slice())
        .map_err(|e| Error::internal(format_args!("inconsistent row, column {column}: {e}")))
}

fn bytes(bitmap: &RoaringBitmap) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut out).map_err(|e| Error::internal(format_args!("bitmap: {e}")))?;
    Ok(out)
}
