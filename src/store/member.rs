//! Members, their one-time tokens, certificates and access tokens.

use std::collections::BTreeSet;

use sqlx::any::AnyRow;

use super::{
    Topic, Tx, exists, failed, require_one,
    row::{RowExt as _, json},
};
use crate::{
    domain::{Caller, Credential, Member, MemberId, MemberState, Page, PageRequest, ParticipantId, Role, Timestamp},
    error::{Error, Reason, Result},
};

/// A certificate that the hub has issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER, lower-case hex.
    pub fingerprint: String,
    /// Whose it is.
    pub member: MemberId,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Inserts a new member.
pub async fn add(tx: &mut Tx, member: &Member) -> Result<()> {
    let sql = "INSERT INTO member (id, participant, display_name, roles, state, created_at, revision)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(member.id.to_string())
        .bind(member.participant.as_str())
        .bind(&member.display_name)
        .bind(json(&member.roles)?)
        .bind(member.state.as_str())
        .bind(member.created_at.micros())
        .bind(member.revision)
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("member {}", member.id)))?;
    changed(tx, &member.participant).await
}

/// Writes name, roles and standing; the revision must be the one that was read.
pub async fn update(tx: &mut Tx, member: &Member) -> Result<()> {
    let sql = "UPDATE member SET display_name = $2, roles = $3, state = $4, revision = revision + 1
               WHERE id = $1 AND revision = $5";
    let done = sqlx::query(sql)
        .bind(member.id.to_string())
        .bind(&member.display_name)
        .bind(json(&member.roles)?)
        .bind(member.state.as_str())
        .bind(member.revision)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    require_one(&done, format_args!("member {}", member.id))?;
    changed(tx, &member.participant).await
}

async fn changed(tx: &mut Tx, participant: &ParticipantId) -> Result<()> {
    tx.bump(&Topic::Participant(participant)).await?;
    tx.bump(&Topic::Memberships).await
}

/// The member with this id.
pub async fn lookup(tx: &mut Tx, id: MemberId) -> Result<Option<Member>> {
    let row = sqlx::query("SELECT * FROM member WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(member).transpose()
}

/// Members of a participant, by id.
pub async fn list(tx: &mut Tx, participant: &ParticipantId, page: &PageRequest) -> Result<Page<Member>> {
    let rows = sqlx::query("SELECT * FROM member WHERE participant = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(participant.as_str())
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(member).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |m| m.id.to_string()))
}

/// Who acts for whom in which roles, for the hub's role decisions: members that are not revoked.
pub async fn memberships(tx: &mut Tx) -> Result<Vec<(MemberId, ParticipantId, BTreeSet<Role>)>> {
    let rows = sqlx::query("SELECT id, participant, roles FROM member WHERE state <> 'revoked' ORDER BY id")
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Ok((row.parsed("id")?, row.parsed("participant")?, row.json("roles")?))).collect()
}

/// The participant that operates the hub: that of its first member.
pub async fn operating_participant(tx: &mut Tx) -> Result<Option<ParticipantId>> {
    let row = sqlx::query("SELECT participant FROM member ORDER BY id LIMIT 1")
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.map(|row| row.parsed("participant")).transpose()
}

/// Whether the hub has any member yet.
pub async fn any(tx: &mut Tx) -> Result<bool> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT id FROM member LIMIT 1").fetch_optional(tx.conn()).await.map_err(failed)?;
    Ok(found.is_some())
}

/// Keeps a one-time token, of which only the hash is known. Without a member it invites a participant.
pub async fn add_enrolment(
    tx: &mut Tx,
    token_hash: &str,
    member: Option<MemberId>,
    expires_at: Timestamp,
) -> Result<()> {
    sqlx::query("INSERT INTO enrolment (token_hash, member, expires_at) VALUES ($1, $2, $3)")
        .bind(token_hash)
        .bind(member.map(|m| m.to_string()))
        .bind(expires_at.micros())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Uses up a one-time token and gives the member it enrols, or none if it invites a participant.
pub async fn use_enrolment(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Option<MemberId>> {
    let sql = "UPDATE enrolment SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2";
    let done = sqlx::query(sql).bind(token_hash).bind(now.micros()).execute(tx.conn()).await.map_err(failed)?;
    if done.rows_affected() != 1 {
        return Err(Error::new(Reason::EnrolmentTokenInvalid));
    }
    let row = sqlx::query("SELECT member FROM enrolment WHERE token_hash = $1")
        .bind(token_hash)
        .fetch_one(tx.conn())
        .await
        .map_err(failed)?;
    row.parsed_opt("member")
}

/// Keeps a certificate that was issued.
pub async fn add_certificate(tx: &mut Tx, certificate: &Certificate) -> Result<()> {
    sqlx::query("INSERT INTO certificate (fingerprint, member, issued_at, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(&certificate.fingerprint)
        .bind(certificate.member.to_string())
        .bind(certificate.issued_at.micros())
        .bind(certificate.expires_at.micros())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// The certificate with this fingerprint.
pub async fn lookup_certificate(tx: &mut Tx, fingerprint: &str) -> Result<Option<Certificate>> {
    let row = sqlx::query("SELECT * FROM certificate WHERE fingerprint = $1")
        .bind(fingerprint)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.as_ref().map(certificate).transpose()
}

/// Certificates of a participant's members, newest first.
pub async fn certificates(tx: &mut Tx, participant: &ParticipantId) -> Result<Vec<Certificate>> {
    let sql = "SELECT c.* FROM certificate c JOIN member m ON m.id = c.member
               WHERE m.participant = $1 ORDER BY c.issued_at DESC LIMIT 1000";
    let rows = sqlx::query(sql).bind(participant.as_str()).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter().map(certificate).collect()
}

/// Revokes a certificate at once; false if it was revoked before.
pub async fn revoke_certificate(tx: &mut Tx, fingerprint: &str, owner: &ParticipantId, now: Timestamp) -> Result<bool> {
    let done = sqlx::query("UPDATE certificate SET revoked_at = $2 WHERE fingerprint = $1 AND revoked_at IS NULL")
        .bind(fingerprint)
        .bind(now.micros())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    tx.bump(&Topic::Participant(owner)).await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the id of an access token, so that it can be refused before it expires.
pub async fn add_access_token(tx: &mut Tx, id: &str, member: MemberId, expires_at: Timestamp) -> Result<()> {
    sqlx::query("INSERT INTO access_token (id, member, expires_at) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(member.to_string())
        .bind(expires_at.micros())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Completes a proven identity with its standing now; refuses whatever is revoked or does not fit together.
pub async fn identify(
    tx: &mut Tx,
    member: MemberId,
    participant: &ParticipantId,
    credential: Credential,
    now: Timestamp,
) -> Result<Caller> {
    let refused = || Error::new(Reason::Unauthenticated);
    let sql = "SELECT m.roles, m.state AS member_state, p.state, p.kind, p.sector, p.country, p.accreditations
               FROM member m JOIN participant p ON p.id = m.participant WHERE m.id = $1 AND m.participant = $2";
    let row = sqlx::query(sql)
        .bind(member.to_string())
        .bind(participant.as_str())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?
        .ok_or_else(refused)?;
    if row.parsed::<MemberState>("member_state")? != MemberState::Active {
        return Err(refused());
    }
    let (fingerprint, token) = match &credential {
        Credential::Certificate { fingerprint } => (Some(fingerprint), None),
        Credential::BoundToken { fingerprint, token } => (Some(fingerprint), Some(token)),
        Credential::UnboundToken { token } => (None, Some(token)),
    };
    if let Some(fingerprint) = fingerprint {
        let certificate = lookup_certificate(tx, fingerprint).await?.ok_or_else(refused)?;
        if certificate.member != member || certificate.revoked_at.is_some() || certificate.expires_at <= now {
            return Err(refused());
        }
    }
    if let Some(token) = token {
        let sql =
            "SELECT id FROM access_token WHERE id = $1 AND member = $2 AND revoked_at IS NULL AND expires_at > $3";
        sqlx::query(sql)
            .bind(token)
            .bind(member.to_string())
            .bind(now.micros())
            .fetch_optional(tx.conn())
            .await
            .map_err(failed)?
            .ok_or_else(refused)?;
    }
    Ok(Caller {
        member,
        participant: participant.clone(),
        roles: row.json("roles")?,
        participant_state: row.parsed("state")?,
        kind: row.parsed("kind")?,
        sector: row.col("sector")?,
        country: row.col("country")?,
        accreditations: row.json("accreditations")?,
        credential,
    })
}

fn member(row: &AnyRow) -> Result<Member> {
    Ok(Member {
        id: row.parsed("id")?,
        participant: row.parsed("participant")?,
        display_name: row.col("display_name")?,
        roles: row.json("roles")?,
        state: row.parsed("state")?,
        created_at: row.time("created_at")?,
        revision: row.col("revision")?,
    })
}

fn certificate(row: &AnyRow) -> Result<Certificate> {
    Ok(Certificate {
        fingerprint: row.col("fingerprint")?,
        member: row.parsed("member")?,
        issued_at: row.time("issued_at")?,
        expires_at: row.time("expires_at")?,
        revoked_at: row.time_opt("revoked_at")?,
    })
}
