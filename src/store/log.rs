//! The log's rows: reading and advancing the head, inserting entries, and the check against the outside copy.

use std::{collections::BTreeMap, path::Path};

use sqlx::Row as _;

use super::{Tx, failed, row::RowExt as _};
use crate::{
    audit::{self, CheckpointSigner, Frontier, Leaf, LeafContext},
    domain::{EntryDraft, ParticipantId, Timestamp},
    error::{Error, Result},
};

/// The end of the log.
#[derive(Debug, Clone)]
pub struct LogHead {
    /// The tree's right edge, from which size and root follow.
    pub frontier: Frontier,
    /// The signed checkpoint of this size; empty before the first commit.
    pub checkpoint: String,
}

/// Reads the head; inside the writer's transaction this also locks it against other replicas.
pub(super) async fn head(tx: &mut Tx, origin: &str) -> Result<LogHead> {
    let sql = tx.engine.lock_head();
    let row = sqlx::query(sql).bind(origin).fetch_optional(tx.conn()).await.map_err(failed)?;
    let Some(row) = row else {
        return Ok(LogHead { frontier: Frontier::default(), checkpoint: String::new() });
    };
    let frontier = Frontier::from_bytes(&row.col::<Vec<u8>>("frontier")?)?;
    Ok(LogHead { frontier, checkpoint: row.col("checkpoint")? })
}

/// Replaces the head if it still has `old_size` entries.
pub(super) async fn advance(tx: &mut Tx, origin: &str, old_size: u64, head: &LogHead) -> Result<()> {
    let size = signed(head.frontier.size());
    let frontier = head.frontier.to_bytes();
    let done = if old_size == 0 {
        let sql = "INSERT INTO log_head (origin, size, frontier, checkpoint) VALUES ($1, $2, $3, $4)";
        let query = sqlx::query(sql).bind(origin).bind(size).bind(frontier).bind(&head.checkpoint);
        query.execute(tx.conn()).await.map_err(failed)?
    } else {
        let sql = "UPDATE log_head SET size = $2, frontier = $3, checkpoint = $4 WHERE origin = $1 AND size = $5";
        let query =
            sqlx::query(sql).bind(origin).bind(size).bind(frontier).bind(&head.checkpoint).bind(signed(old_size));
        query.execute(tx.conn()).await.map_err(failed)?
    };
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::internal("the log's head moved under the writer")) }
}

/// Encodes `draft` as the entry with `index` and inserts it with its counters and openings.
pub(super) async fn append(tx: &mut Tx, origin: &str, index: u64, at: Timestamp, draft: &EntryDraft) -> Result<Leaf> {
    let mut counters: BTreeMap<ParticipantId, u64> = BTreeMap::new();
    for party in &draft.parties {
        counters.insert(party.clone(), next_count(tx, party.as_str()).await?);
    }
    let leaf = audit::encode(draft, &LeafContext { origin, index, id: entry_id(at), at, counters: &counters })?;
    let sql = "INSERT INTO entry (idx, leaf, leaf_hash, at, kind, actor, dataset, purpose)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(signed(index))
        .bind(leaf.bytes.clone())
        .bind(leaf.hash.to_vec())
        .bind(at.micros())
        .bind(draft.kind.as_str())
        .bind(draft.actor.as_ref().map(ParticipantId::as_str))
        .bind(draft.dataset.as_ref().map(ToString::to_string))
        .bind(draft.purpose.as_ref().map(ToString::to_string))
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    for (party, seq) in &counters {
        sqlx::query("INSERT INTO party_entry (party, seq, idx) VALUES ($1, $2, $3)")
            .bind(party.as_str())
            .bind(signed(*seq))
            .bind(signed(index))
            .execute(tx.conn())
            .await
            .map_err(failed)?;
    }
    for opening in &leaf.openings {
        sqlx::query("INSERT INTO opening (idx, field, party, salt, value) VALUES ($1, $2, $3, $4, $5)")
            .bind(signed(index))
            .bind(opening.field.as_str())
            .bind(opening.party.as_ref().map(ParticipantId::as_str))
            .bind(opening.salt.to_vec())
            .bind(opening.value.as_str())
            .execute(tx.conn())
            .await
            .map_err(failed)?;
    }
    Ok(leaf)
}

/// The next number in a party's gap-free count, from 0.
async fn next_count(tx: &mut Tx, party: &str) -> Result<u64> {
    let row = sqlx::query("SELECT COALESCE(MAX(seq) + 1, 0) FROM party_entry WHERE party = $1")
        .bind(party)
        .fetch_one(tx.conn())
        .await
        .map_err(failed)?;
    let next: i64 = row.try_get(0).map_err(failed)?;
    u64::try_from(next).map_err(|e| Error::internal(format_args!("party counter: {e}")))
}

fn entry_id(at: Timestamp) -> uuid::Uuid {
    crate::domain::RequestId::generate(at).uuid()
}

/// Compares the log with the last checkpoint kept outside the database, and its frontier with its entries.
pub(super) async fn check_against_file(tx: &mut Tx, signer: &dyn CheckpointSigner, file: &Path) -> Result<()> {
    let head = head(tx, signer.origin()).await?;
    let size = head.frontier.size();
    let row = sqlx::query("SELECT COUNT(*) AS n, COALESCE(MAX(idx), -1) AS last FROM entry")
        .fetch_one(tx.conn())
        .await
        .map_err(failed)?;
    if row.count("n")? != size || row.col::<i64>("last")? != signed(size) - 1 {
        return Err(refuse_to_sign("its entries and its head disagree"));
    }
    let Ok(known) = std::fs::read_to_string(file) else { return Ok(()) };
    let known = audit::Checkpoint::verify(&known, &audit::VerifierKey::of(signer)?)
        .map_err(|_| refuse_to_sign("the checkpoint file beside the keys is not one that this hub has signed"))?;
    if known.size > size {
        return Err(refuse_to_sign("it is older than the last checkpoint beside the keys (a restored backup?)"));
    }
    if known.size == size && known.root != head.frontier.root() {
        return Err(refuse_to_sign("its root is not that of the last checkpoint beside the keys"));
    }
    if known.size < size {
        let hashes = leaf_hashes(tx, known.size).await?;
        if Frontier::from_leaf_hashes(&hashes).root() != known.root {
            return Err(refuse_to_sign("it does not continue the last checkpoint beside the keys"));
        }
    }
    Ok(())
}

/// The leaf hashes of the first `size` entries.
pub(super) async fn leaf_hashes(tx: &mut Tx, size: u64) -> Result<Vec<[u8; 32]>> {
    let rows = sqlx::query("SELECT leaf_hash FROM entry WHERE idx < $1 ORDER BY idx")
        .bind(signed(size))
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let hash: Vec<u8> = row.col("leaf_hash")?;
            <[u8; 32]>::try_from(hash).map_err(|_| Error::internal("inconsistent row, column leaf_hash"))
        })
        .collect()
}

fn refuse_to_sign(why: &str) -> Error {
    Error::invalid(
        "audit log",
        format!(
            "{why}. The hub refuses to sign: restore the newest database, or start a new log that cites the last checkpoint"
        ),
    )
}

/// Sizes and indices are far below 2^63.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
