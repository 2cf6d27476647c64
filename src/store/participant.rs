//! Participants, charters and their signatures.

use sqlx::any::AnyRow;

use super::{
    Topic, Tx, exists, failed, require_one,
    row::{RowExt as _, json},
};
use crate::{
    domain::{Charter, MemberId, Page, PageRequest, Participant, ParticipantId, ParticipantState, Timestamp},
    error::Result,
};

/// Inserts a new participant; its id and SIREN must be free.
pub async fn add(tx: &mut Tx, participant: &Participant) -> Result<()> {
    let sql = "INSERT INTO participant (id, siren, legal_name, kind, sector, country, accreditations, state,
                                        charter_version, created_at, revision)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    sqlx::query(sql)
        .bind(participant.id.as_str())
        .bind(participant.siren.as_str())
        .bind(&participant.legal_name)
        .bind(participant.kind.as_str())
        .bind(participant.sector.as_deref())
        .bind(&participant.country)
        .bind(json(&participant.accreditations)?)
        .bind(participant.state.as_str())
        .bind(participant.charter_version)
        .bind(participant.created_at.micros())
        .bind(participant.revision)
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("a participant with id `{}` or SIREN {}", participant.id, participant.siren)))?;
    tx.bump(&Topic::Participant(&participant.id)).await
}

/// Writes standing and charter version; the revision must be the one that was read.
pub async fn update(tx: &mut Tx, participant: &Participant) -> Result<()> {
    let sql = "UPDATE participant SET state = $2, charter_version = $3, accreditations = $4, revision = revision + 1
               WHERE id = $1 AND revision = $5";
    let done = sqlx::query(sql)
        .bind(participant.id.as_str())
        .bind(participant.state.as_str())
        .bind(participant.charter_version)
        .bind(json(&participant.accreditations)?)
        .bind(participant.revision)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    require_one(&done, format_args!("participant `{}`", participant.id))?;
    tx.bump(&Topic::Participant(&participant.id)).await
}

/// The participant with this id.
pub async fn lookup(tx: &mut Tx, id: &ParticipantId) -> Result<Option<Participant>> {
    let row = sqlx::query("SELECT * FROM participant WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(participant).transpose()
}

/// Participants by id.
pub async fn list(tx: &mut Tx, page: &PageRequest) -> Result<Page<Participant>> {
    let rows = sqlx::query("SELECT * FROM participant WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(participant).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |p| p.id.to_string()))
}

/// Every participant that is not suspended, by id.
pub async fn registered(tx: &mut Tx) -> Result<Vec<Participant>> {
    let rows = sqlx::query("SELECT * FROM participant WHERE state <> $1 ORDER BY id")
        .bind(ParticipantState::Suspended.as_str())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(participant).collect()
}

/// The charter in force.
pub async fn current_charter(tx: &mut Tx) -> Result<Option<Charter>> {
    let row = sqlx::query("SELECT * FROM charter ORDER BY version DESC LIMIT 1")
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(charter).transpose()
}

/// One version of the charter.
pub async fn lookup_charter(tx: &mut Tx, version: i64) -> Result<Option<Charter>> {
    let row = sqlx::query("SELECT * FROM charter WHERE version = $1")
        .bind(version)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(charter).transpose()
}

/// Inserts a version of the charter.
pub async fn add_charter(tx: &mut Tx, charter: &Charter) -> Result<()> {
    sqlx::query("INSERT INTO charter (version, body, digest, published_at) VALUES ($1, $2, $3, $4)")
        .bind(charter.version)
        .bind(&charter.text)
        .bind(charter.digest.to_string())
        .bind(charter.published_at.micros())
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("version {} of the charter", charter.version)))?;
    Ok(())
}

/// Keeps the signature under a version of the charter.
pub async fn add_charter_signature(
    tx: &mut Tx,
    participant: &ParticipantId,
    version: i64,
    member: MemberId,
    signature: &str,
    at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO charter_signature (participant, version, member, signature, signed_at)
               VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(sql)
        .bind(participant.as_str())
        .bind(version)
        .bind(member.to_string())
        .bind(signature)
        .bind(at.micros())
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("the signature of `{participant}` under version {version} of the charter")))?;
    Ok(())
}

fn participant(row: &AnyRow) -> Result<Participant> {
    Ok(Participant {
        id: row.parsed("id")?,
        siren: row.parsed("siren")?,
        legal_name: row.col("legal_name")?,
        kind: row.parsed("kind")?,
        sector: row.col("sector")?,
        country: row.col("country")?,
        accreditations: row.json("accreditations")?,
        state: row.parsed("state")?,
        charter_version: row.col("charter_version")?,
        created_at: row.time("created_at")?,
        revision: row.col("revision")?,
    })
}

fn charter(row: &AnyRow) -> Result<Charter> {
    Ok(Charter {
        version: row.col("version")?,
        text: row.col("body")?,
        digest: row.parsed("digest")?,
        published_at: row.time("published_at")?,
    })
}
