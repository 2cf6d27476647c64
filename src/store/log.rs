//! The log's rows: reading and advancing the head, writing a commit's entries, and the checks at start.

use std::{collections::BTreeMap, path::Path};

use sqlx::{AssertSqlSafe, Row as _};

use super::{
    Engine, Tx,
    bulk::{self, Cell, Script, Table, Type},
    failed,
    row::RowExt as _,
    tile,
};
use crate::{
    audit::{self, CheckpointSigner, Frontier, Leaf, LeafContext},
    domain::{EntryDraft, ParticipantId, Timestamp},
    error::{Error, Result},
};

const ENTRY: Table = Table {
    name: "entry",
    columns: &[
        ("idx", Type::Int),
        ("leaf", Type::Utf8),
        ("leaf_hash", Type::Bytes),
        ("at", Type::Int),
        ("kind", Type::Text),
        ("actor", Type::Text),
        ("dataset", Type::Text),
        ("purpose", Type::Text),
    ],
};
const PARTY_ENTRY: Table =
    Table { name: "party_entry", columns: &[("party", Type::Text), ("seq", Type::Int), ("idx", Type::Int)] };
const ENTRY_DATASET: Table = Table { name: "entry_dataset", columns: &[("dataset", Type::Text), ("idx", Type::Int)] };
const OPENING: Table = Table {
    name: "opening",
    columns: &[
        ("idx", Type::Int),
        ("field", Type::Text),
        ("party", Type::Text),
        ("salt", Type::Bytes),
        ("value", Type::Text),
    ],
};

/// The end of the log.
#[derive(Debug, Clone)]
pub struct LogHead {
    /// The tree's right edge, from which size and root follow.
    pub frontier: Frontier,
    /// The signed checkpoint of this size; empty before the first commit.
    pub checkpoint: String,
    /// Entries below this index are pruned.
    pub min_index: u64,
}

/// Reads the head; inside the writer's transaction this also locks it against other replicas.
pub(super) async fn head(tx: &mut Tx, origin: &str) -> Result<LogHead> {
    let sql = tx.engine.lock_head();
    let row = sqlx::query(sql).bind(origin).fetch_optional(tx.conn()).await.map_err(failed)?;
    match row {
        Some(row) => head_of(&row),
        None => Ok(LogHead { frontier: Frontier::default(), checkpoint: String::new(), min_index: 0 }),
    }
}

/// The head in a row of `log_head`.
pub(super) fn head_of(row: &sqlx::any::AnyRow) -> Result<LogHead> {
    let frontier = Frontier::from_bytes(&row.col::<Vec<u8>>("frontier")?)?;
    Ok(LogHead { frontier, checkpoint: row.col("checkpoint")?, min_index: row.count("min_idx")? })
}

/// Replaces the head if it still has `old_size` entries.
async fn advance(tx: &mut Tx, origin: &str, old_size: u64, head: &LogHead) -> Result<()> {
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
    if done.rows_affected() == 1 { Ok(()) } else { Err(moved()) }
}

/// An entry that has its place in the log and is to be written with the commit.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) index: u64,
    pub(super) at: Timestamp,
    pub(super) draft: EntryDraft,
    pub(super) leaf: Leaf,
    pub(super) counters: BTreeMap<ParticipantId, u64>,
}

/// The next number of each party, of those whose number is known.
pub(super) type Counters = BTreeMap<ParticipantId, u64>;

/// Encodes `draft` as the entry with `index`; `taken` gains the numbers that come next after it.
///
/// Every party's next number is in `known`, or in `taken` if it has one there.
pub(super) fn place(
    origin: &str,
    index: u64,
    at: Timestamp,
    draft: EntryDraft,
    known: &Counters,
    taken: &mut Counters,
) -> Result<Placed> {
    let mut counters = BTreeMap::new();
    for party in &draft.parties {
        let number = taken.get(party).or_else(|| known.get(party));
        let number = *number.ok_or_else(|| Error::internal("a party's number is not known"))?;
        counters.insert(party.clone(), number);
        taken.insert(party.clone(), number + 1);
    }
    let leaf = audit::encode(&draft, &LeafContext { origin, index, id: entry_id(at), at, counters: &counters })?;
    Ok(Placed { index, at, draft, leaf, counters })
}

/// Reads the next number of each party of these drafts that is not known yet.
pub(super) async fn learn(tx: &mut Tx, drafts: &[EntryDraft], known: &mut Counters) -> Result<()> {
    for party in drafts.iter().flat_map(|draft| &draft.parties) {
        if !known.contains_key(party) {
            let next = next_count(tx, party.as_str()).await?;
            known.insert(party.clone(), next);
        }
    }
    Ok(())
}

/// Writes the entries of a commit with their counters, datasets and openings, and the tiles that they complete; and
/// replaces the head if it still has `old_size` entries.
pub(super) async fn write(
    tx: &mut Tx,
    origin: &str,
    old_size: u64,
    head: &LogHead,
    entries: Vec<Placed>,
) -> Result<()> {
    let mut hashes = Vec::with_capacity(entries.len());
    let (mut rows, mut counts, mut about, mut openings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Placed { index, at, draft, leaf, counters } in entries {
        let index = signed(index);
        hashes.push(leaf.hash);
        for dataset in draft.every_dataset() {
            about.extend([Cell::Text(Some(dataset.to_string())), Cell::Int(index)]);
        }
        rows.extend([
            Cell::Int(index),
            Cell::Bytes(leaf.bytes),
            Cell::Bytes(leaf.hash.to_vec()),
            Cell::Int(at.micros()),
            Cell::Text(Some(draft.kind.as_str().to_owned())),
            Cell::Text(draft.actor.as_ref().map(ToString::to_string)),
            Cell::Text(draft.dataset.as_ref().map(ToString::to_string)),
            Cell::Text(draft.purpose.as_ref().map(ToString::to_string)),
        ]);
        for (party, number) in counters {
            counts.extend([Cell::Text(Some(party.to_string())), Cell::Int(signed(number)), Cell::Int(index)]);
        }
        for opening in leaf.openings {
            openings.extend([
                Cell::Int(index),
                Cell::Text(Some(opening.field)),
                Cell::Text(opening.party.as_ref().map(ToString::to_string)),
                Cell::Bytes(opening.salt.to_vec()),
                Cell::Text(Some(opening.value)),
            ]);
        }
    }
    tile::grow(tx, origin, old_size, &hashes).await?;
    let parts = [(&ENTRY, rows), (&PARTY_ENTRY, counts), (&ENTRY_DATASET, about), (&OPENING, openings)];
    let small = parts.iter().all(|(table, cells)| cells.len() <= bulk::ROWS * table.columns.len());
    if tx.engine == Engine::Sqlite && small && old_size > 0 {
        let mut script = Script::default();
        for (table, cells) in parts {
            script.insert(table, cells);
        }
        let head = [
            Cell::Int(signed(head.frontier.size())),
            Cell::Bytes(head.frontier.to_bytes()),
            Cell::Text(Some(head.checkpoint.clone())),
            Cell::Text(Some(origin.to_owned())),
            Cell::Int(signed(old_size)),
        ];
        script.then(
            "UPDATE log_head SET size = ?, frontier = ?, checkpoint = ? WHERE origin = ? AND size = ?",
            head.into(),
        );
        let expected = script.rows + 1;
        return if script.run(tx).await? == expected { Ok(()) } else { Err(moved()) };
    }
    for (table, cells) in parts {
        bulk::insert(tx, table, cells).await?;
    }
    advance(tx, origin, old_size, head).await
}

fn moved() -> Error {
    Error::internal("the log's head moved under the writer")
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

/// Writes the tiles that an earlier version did not keep, in a transaction of its own.
pub(super) async fn catch_up(tx: &mut Tx, origin: &str) -> Result<()> {
    let size = head(tx, origin).await?.frontier.size();
    let kept: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(n), -1) FROM tile WHERE origin = $1 AND level = 0")
        .bind(origin)
        .fetch_one(tx.conn())
        .await
        .map_err(failed)?;
    if kept + 1 == signed(tile::full_tiles(size)) {
        return Ok(());
    }
    tracing::info!(entries = size, "the log is being cut into tiles, once");
    let begin = tx.engine.begin();
    sqlx::query(begin).execute(tx.conn()).await.map_err(failed)?;
    let size = head(tx, origin).await?.frontier.size();
    let done = tile::catch_up(tx, origin, size).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(AssertSqlSafe(end)).execute(tx.conn()).await.map_err(failed)?;
    done
}

/// Compares the log's right edge with its signed head, and both with the last checkpoint kept outside the database.
///
/// Reads a handful of rows whatever the size of the log; `odh audit fsck` reads all of them.
pub(super) async fn check_against_file(tx: &mut Tx, signer: &dyn CheckpointSigner, file: &Path) -> Result<()> {
    let origin = signer.origin();
    let head = head(tx, origin).await?;
    let size = head.frontier.size();
    let last: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(idx), -1) FROM entry").fetch_one(tx.conn()).await.map_err(failed)?;
    let pruned_whole = last == -1 && head.min_index == size;
    if last != signed(size) - 1 && !pruned_whole {
        return Err(refuse_to_sign("its entries and its head disagree"));
    }
    let edge = tile::root(tx, origin, size).await.map_err(|_| refuse_to_sign("a tile of its tree is missing"))?;
    if edge != head.frontier.root() {
        return Err(refuse_to_sign("its entries and its head disagree"));
    }
    let key = audit::VerifierKey::of(signer)?;
    if size > 0 {
        let own = audit::Checkpoint::verify(&head.checkpoint, &key)
            .map_err(|_| refuse_to_sign("the checkpoint in it is not one that this hub has signed"))?;
        if (own.size, own.root) != (size, edge) {
            return Err(refuse_to_sign("its entries and its signed checkpoint disagree"));
        }
    }
    let known = match std::fs::read_to_string(file) {
        Ok(known) => known,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if size > 0 {
                tracing::warn!(file = %file.display(), "no checkpoint outside the database to compare the log with");
            }
            return Ok(());
        }
        Err(_) => return Err(refuse_to_sign("the checkpoint file beside the keys cannot be read")),
    };
    let known = audit::Checkpoint::verify(&known, &key)
        .map_err(|_| refuse_to_sign("the checkpoint file beside the keys is not one that this hub has signed"))?;
    if known.size > size {
        return Err(refuse_to_sign("it is older than the last checkpoint beside the keys (a restored backup?)"));
    }
    if tile::root(tx, origin, known.size).await? == known.root {
        return Ok(());
    }
    Err(refuse_to_sign(if known.size == size {
        "its root is not that of the last checkpoint beside the keys"
    } else {
        "it does not continue the last checkpoint beside the keys"
    }))
}

fn refuse_to_sign(why: &str) -> Error {
    Error::invalid(
        "audit log",
        format!(
            "{why}. The hub refuses to sign, because it would contradict itself: restore the newest database, or see \
             \"Recovery\" in docs/audit-log.md"
        ),
    )
}

/// Sizes and indices are far below 2^63.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
