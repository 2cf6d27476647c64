//! Versions of policies.

use sqlx::any::AnyRow;

use super::{
    Topic, Tx, exists, failed, require_one,
    row::{RowExt as _, json},
};
use crate::{
    domain::{DatasetId, Digest, Page, PageRequest, PolicyState, PolicyVersion, Timestamp},
    error::{Error, Result},
};

/// Inserts a draft.
pub async fn add(tx: &mut Tx, version: &PolicyVersion) -> Result<()> {
    let sql = "INSERT INTO policy (dataset, version, document, digest, state, created_at, published_at, revision)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(version.policy.dataset.to_string())
        .bind(version.version)
        .bind(json(&version.policy)?)
        .bind(version.digest.to_string())
        .bind(version.state.as_str())
        .bind(version.created_at.micros())
        .bind(version.published_at.map(Timestamp::micros))
        .bind(version.revision)
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("policy {} of `{}`", version.version, version.policy.dataset)))?;
    Ok(())
}

/// Writes the standing; document and digest never change. The revision must be the one that was read.
pub async fn update(tx: &mut Tx, version: &PolicyVersion, signature: Option<&str>) -> Result<()> {
    let sql = "UPDATE policy SET state = $3, published_at = $4, signature = COALESCE($5, signature),
                      revision = revision + 1
               WHERE dataset = $1 AND version = $2 AND revision = $6";
    let done = sqlx::query(sql)
        .bind(version.policy.dataset.to_string())
        .bind(version.version)
        .bind(version.state.as_str())
        .bind(version.published_at.map(Timestamp::micros))
        .bind(signature)
        .bind(version.revision)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    require_one(&done, format_args!("policy {} of `{}`", version.version, version.policy.dataset))?;
    tx.bump(&Topic::Dataset(&version.policy.dataset)).await
}

/// The number of the next version.
pub async fn next_version(tx: &mut Tx, dataset: &DatasetId) -> Result<i64> {
    sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) + 1 FROM policy WHERE dataset = $1")
        .bind(dataset.to_string())
        .fetch_one(tx.conn())
        .await
        .map_err(failed)
}

/// One version.
pub async fn lookup(tx: &mut Tx, dataset: &DatasetId, version: i64) -> Result<Option<PolicyVersion>> {
    let row = sqlx::query("SELECT * FROM policy WHERE dataset = $1 AND version = $2")
        .bind(dataset.to_string())
        .bind(version)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(policy_version).transpose()
}

/// The version in force: the newest published one.
pub async fn in_force(tx: &mut Tx, dataset: &DatasetId) -> Result<Option<PolicyVersion>> {
    let sql = "SELECT * FROM policy WHERE dataset = $1 AND state = $2 ORDER BY version DESC LIMIT 1";
    let row = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(PolicyState::Published.as_str())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(policy_version).transpose()
}

/// The version that a grant cites: by its digest, the newest standing first.
pub async fn by_digest(tx: &mut Tx, dataset: &DatasetId, digest: &Digest) -> Result<Option<PolicyVersion>> {
    let sql = "SELECT * FROM policy WHERE dataset = $1 AND digest = $2 AND state <> 'draft'
               ORDER BY CASE state WHEN 'revoked' THEN 1 ELSE 0 END, version DESC LIMIT 1";
    let row = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(digest.to_string())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(policy_version).transpose()
}

/// Versions of a dataset's policy, newest first.
pub async fn list(tx: &mut Tx, dataset: &DatasetId, page: &PageRequest) -> Result<Page<PolicyVersion>> {
    let after = match &page.after {
        Some(key) => key.parse().map_err(|_| Error::invalid("page_token", "not a version"))?,
        None => i64::MAX,
    };
    let rows = sqlx::query("SELECT * FROM policy WHERE dataset = $1 AND version < $2 ORDER BY version DESC LIMIT $3")
        .bind(dataset.to_string())
        .bind(after)
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(policy_version).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |version| version.version.to_string()))
}

fn policy_version(row: &AnyRow) -> Result<PolicyVersion> {
    Ok(PolicyVersion {
        policy: row.json("document")?,
        digest: row.parsed("digest")?,
        version: row.col("version")?,
        state: row.parsed("state")?,
        created_at: row.time("created_at")?,
        published_at: row.time_opt("published_at")?,
        revision: row.col("revision")?,
    })
}
