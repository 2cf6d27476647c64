//! Access requests and grants.

use sqlx::any::AnyRow;

use super::{
    Topic, Tx, exists, failed, require_one,
    row::{RowExt as _, json},
};
use crate::{
    domain::{
        AccessRequest, AccessRequestId, Action, DatasetId, Digest, Grant, GrantId, GrantState, LegalBasis, Page,
        PageRequest, ParticipantId, Timestamp,
    },
    error::Result,
};

/// From which side a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What others ask of this participant.
    Inbox,
    /// What this participant asks of others.
    Outbox,
}

/// Inserts a submitted request.
pub async fn add_request(tx: &mut Tx, request: &AccessRequest) -> Result<()> {
    let sql = "INSERT INTO access_request (id, requester, member, dataset, owner, ask, justification, state,
                                           created_at, revision)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    sqlx::query(sql)
        .bind(request.id.to_string())
        .bind(request.requester.as_str())
        .bind(request.member.to_string())
        .bind(request.ask.dataset.to_string())
        .bind(request.ask.dataset.owner.as_str())
        .bind(json(&request.ask)?)
        .bind(&request.justification)
        .bind(request.state.as_str())
        .bind(request.created_at.micros())
        .bind(request.revision)
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("access request {}", request.id)))?;
    Ok(())
}

/// Writes what was decided, with the deciding member's signature; the revision must be the one that was read.
pub async fn update_request(tx: &mut Tx, request: &AccessRequest, signature: Option<&str>) -> Result<()> {
    let sql = "UPDATE access_request SET state = $2, refusal = $3, grant_id = $4, decided_at = $5, signature = $6,
                      revision = revision + 1
               WHERE id = $1 AND revision = $7";
    let done = sqlx::query(sql)
        .bind(request.id.to_string())
        .bind(request.state.as_str())
        .bind(request.refusal.as_deref())
        .bind(request.grant.map(|id| id.to_string()))
        .bind(request.decided_at.map(Timestamp::micros))
        .bind(signature)
        .bind(request.revision)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    require_one(&done, format_args!("access request {}", request.id))
}

/// The request with this id.
pub async fn lookup_request(tx: &mut Tx, id: AccessRequestId) -> Result<Option<AccessRequest>> {
    let row = sqlx::query("SELECT * FROM access_request WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(request).transpose()
}

/// Requests of one side, newest first.
pub async fn list_requests(
    tx: &mut Tx,
    participant: &ParticipantId,
    side: Side,
    page: &PageRequest,
) -> Result<Page<AccessRequest>> {
    let sql = match side {
        Side::Inbox => {
            "SELECT * FROM access_request WHERE owner = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3"
        }
        Side::Outbox => {
            "SELECT * FROM access_request WHERE requester = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3"
        }
    };
    let rows = sqlx::query(sql)
        .bind(participant.as_str())
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(request).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |request| request.id.to_string()))
}

/// Requests about a dataset that were submitted in a period, oldest first, at most `most`.
pub async fn requests_about(
    tx: &mut Tx,
    dataset: &DatasetId,
    since: Timestamp,
    until: Timestamp,
    most: u32,
) -> Result<Vec<AccessRequest>> {
    let sql = "SELECT * FROM access_request
               WHERE owner = $1 AND dataset = $2 AND created_at >= $3 AND created_at < $4 ORDER BY id LIMIT $5";
    let rows = sqlx::query(sql)
        .bind(dataset.owner.as_str())
        .bind(dataset.to_string())
        .bind(since.micros())
        .bind(until.micros())
        .bind(i64::from(most))
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(request).collect()
}

/// Grants on a dataset, newest first, at most `most`.
pub async fn grants_about(tx: &mut Tx, dataset: &DatasetId, most: u32) -> Result<Vec<Grant>> {
    let rows = sqlx::query("SELECT * FROM access_grant WHERE dataset = $1 ORDER BY id DESC LIMIT $2")
        .bind(dataset.to_string())
        .bind(i64::from(most))
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(grant).collect()
}

/// Inserts a grant.
pub async fn add_grant(tx: &mut Tx, grant: &Grant) -> Result<()> {
    let sql = "INSERT INTO access_grant (id, access_request, grantee, dataset, owner, policy, rule, action, columns,
                                         purpose, legal_basis, duties, valid_from, valid_until, state, decided_by,
                                         jws, revision)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
    sqlx::query(sql)
        .bind(grant.id.to_string())
        .bind(grant.access_request.to_string())
        .bind(grant.grantee.as_str())
        .bind(grant.dataset.to_string())
        .bind(grant.dataset.owner.as_str())
        .bind(grant.policy.to_string())
        .bind(grant.rule.as_str())
        .bind(grant.action.as_str())
        .bind(json(&grant.columns)?)
        .bind(grant.purpose.as_str())
        .bind(json(&grant.legal_basis)?)
        .bind(json(&grant.duties)?)
        .bind(grant.valid_from.micros())
        .bind(grant.valid_until.micros())
        .bind(grant.state.as_str())
        .bind(grant.decided_by.to_string())
        .bind(&grant.jws)
        .bind(grant.revision)
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("grant {}", grant.id)))?;
    tx.bump(&Topic::Grants(&grant.grantee)).await
}

/// Ends a grant; the revision must be the one that was read.
pub async fn update_grant(tx: &mut Tx, grant: &Grant, signature: Option<&str>) -> Result<()> {
    let sql = "UPDATE access_grant SET state = $2, signature = $3, revision = revision + 1
               WHERE id = $1 AND revision = $4";
    let done = sqlx::query(sql)
        .bind(grant.id.to_string())
        .bind(grant.state.as_str())
        .bind(signature)
        .bind(grant.revision)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    require_one(&done, format_args!("grant {}", grant.id))?;
    tx.bump(&Topic::Grants(&grant.grantee)).await
}

/// Ends every grant that cites a policy; gives those it ended.
pub async fn revoke_grants_of(tx: &mut Tx, dataset: &DatasetId, policy: &Digest) -> Result<Vec<Grant>> {
    let sql = "SELECT * FROM access_grant WHERE dataset = $1 AND policy = $2 AND state = $3";
    let rows = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(policy.to_string())
        .bind(GrantState::Active.as_str())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let mut ended = Vec::with_capacity(rows.len());
    for row in &rows {
        let revoked = grant(row)?.revoke()?;
        update_grant(tx, &revoked, None).await?;
        ended.push(revoked);
    }
    Ok(ended)
}

/// The grant with this id.
pub async fn lookup_grant(tx: &mut Tx, id: GrantId) -> Result<Option<Grant>> {
    let row = sqlx::query("SELECT * FROM access_grant WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(grant).transpose()
}

/// The grants of a participant on a dataset, newest first, whatever their standing.
pub async fn grants_on(tx: &mut Tx, grantee: &ParticipantId, dataset: &DatasetId) -> Result<Vec<Grant>> {
    let sql = "SELECT * FROM access_grant WHERE grantee = $1 AND dataset = $2 ORDER BY id DESC LIMIT 100";
    let rows =
        sqlx::query(sql).bind(grantee.as_str()).bind(dataset.to_string()).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter().map(grant).collect()
}

/// Grants that a participant is a party of, newest first.
pub async fn list_grants(tx: &mut Tx, party: &ParticipantId, page: &PageRequest) -> Result<Page<Grant>> {
    let sql = "SELECT * FROM access_grant WHERE (grantee = $1 OR owner = $1) AND ($2 = '' OR id < $2)
               ORDER BY id DESC LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(party.as_str())
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(grant).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |grant| grant.id.to_string()))
}

fn request(row: &AnyRow) -> Result<AccessRequest> {
    Ok(AccessRequest {
        id: row.parsed("id")?,
        requester: row.parsed("requester")?,
        member: row.parsed("member")?,
        ask: row.json("ask")?,
        justification: row.col("justification")?,
        state: row.parsed("state")?,
        refusal: row.col("refusal")?,
        grant: row.parsed_opt("grant_id")?,
        created_at: row.time("created_at")?,
        decided_at: row.time_opt("decided_at")?,
        revision: row.col("revision")?,
    })
}

fn grant(row: &AnyRow) -> Result<Grant> {
    Ok(Grant {
        id: row.parsed("id")?,
        access_request: row.parsed("access_request")?,
        grantee: row.parsed("grantee")?,
        dataset: row.parsed("dataset")?,
        policy: row.parsed("policy")?,
        rule: row.parsed("rule")?,
        action: row.parsed::<Action>("action")?,
        columns: row.json("columns")?,
        purpose: row.parsed("purpose")?,
        legal_basis: row.json::<LegalBasis>("legal_basis")?,
        duties: row.json("duties")?,
        valid_from: row.time("valid_from")?,
        valid_until: row.time("valid_until")?,
        state: row.parsed("state")?,
        decided_by: row.parsed("decided_by")?,
        jws: row.col("jws")?,
        revision: row.col("revision")?,
    })
}
