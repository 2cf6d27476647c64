//! Datasets, their snapshots and the ordinals of their subjects.

use std::collections::HashMap;

use sqlx::any::AnyRow;

use super::{
    Topic, Tx, exists, failed,
    log::signed,
    require_one,
    row::{RowExt as _, json},
};
use crate::{
    domain::{
        Dataset, DatasetId, DatasetState, Name, Page, PageRequest, ParticipantId, Snapshot, SnapshotId, SubjectKey,
    },
    error::Result,
};

/// Which datasets a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Words that must all occur in title, description or keywords, without case or accents.
    pub words: Vec<String>,
    /// Only of this owner.
    pub owner: Option<ParticipantId>,
    /// Whose drafts may be shown: published ones are shown to all.
    pub viewer: Option<ParticipantId>,
}

/// Inserts a new dataset.
pub async fn add(tx: &mut Tx, dataset: &Dataset) -> Result<()> {
    let sql = "INSERT INTO dataset (id, owner, title, description, licence, attribution, keywords, synthetic, access,
                                    subject_column, subject_namespace, column_notes, state, snapshot, search_text,
                                    created_at, revision)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    sqlx::query(sql)
        .bind(dataset.id.to_string())
        .bind(dataset.id.owner.as_str())
        .bind(&dataset.title)
        .bind(&dataset.description)
        .bind(&dataset.licence)
        .bind(&dataset.attribution)
        .bind(json(&dataset.keywords)?)
        .bind(i64::from(dataset.synthetic))
        .bind(dataset.access.as_str())
        .bind(dataset.subject_key.as_ref().map(|key| key.column.as_str()))
        .bind(dataset.subject_key.as_ref().map(|key| key.namespace.as_str()))
        .bind(json(&dataset.column_notes)?)
        .bind(dataset.state.as_str())
        .bind(dataset.snapshot.as_ref().map(|snapshot| snapshot.id.to_string()))
        .bind(search_text(dataset))
        .bind(dataset.created_at.micros())
        .bind(dataset.revision)
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("dataset `{}`", dataset.id)))?;
    tx.bump(&Topic::Dataset(&dataset.id)).await
}

/// Writes everything that may change; the revision must be the one that was read.
pub async fn update(tx: &mut Tx, dataset: &Dataset) -> Result<()> {
    let sql = "UPDATE dataset SET title = $2, description = $3, licence = $4, attribution = $5, keywords = $6,
                      access = $7, column_notes = $8, state = $9, snapshot = $10, search_text = $11,
                      revision = revision + 1
               WHERE id = $1 AND revision = $12";
    let done = sqlx::query(sql)
        .bind(dataset.id.to_string())
        .bind(&dataset.title)
        .bind(&dataset.description)
        .bind(&dataset.licence)
        .bind(&dataset.attribution)
        .bind(json(&dataset.keywords)?)
        .bind(dataset.access.as_str())
        .bind(json(&dataset.column_notes)?)
        .bind(dataset.state.as_str())
        .bind(dataset.snapshot.as_ref().map(|snapshot| snapshot.id.to_string()))
        .bind(search_text(dataset))
        .bind(dataset.revision)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    require_one(&done, format_args!("dataset `{}`", dataset.id))?;
    tx.bump(&Topic::Dataset(&dataset.id)).await
}

/// The dataset with this id and its current snapshot.
pub async fn lookup(tx: &mut Tx, id: &DatasetId) -> Result<Option<Dataset>> {
    let row = sqlx::query("SELECT * FROM dataset WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    match row {
        Some(row) => Ok(Some(dataset(tx, &row).await?)),
        None => Ok(None),
    }
}

/// Datasets by id.
pub async fn list(tx: &mut Tx, filter: &Filter, page: &PageRequest) -> Result<Page<Dataset>> {
    let sql = "SELECT * FROM dataset
               WHERE id > $1 AND ($2 = '' OR owner = $2) AND (state = $3 OR owner = $4)
                 AND ($5 = '' OR search_text LIKE $5 ESCAPE '\\')
               ORDER BY id LIMIT $6";
    let words: Vec<String> = filter.words.iter().map(|word| fold(word)).collect();
    let longest = words.iter().max_by_key(|word| word.len()).map(|word| format!("%{}%", escape_like(word)));
    let mut after = page.after.clone().unwrap_or_default();
    let mut found = Vec::new();
    // The longest word narrows in SQL; the others are compared here, page by page.
    loop {
        let limit = i64::from(page.size) + 1;
        let rows = sqlx::query(sql)
            .bind(after.as_str())
            .bind(filter.owner.as_ref().map_or("", Name::as_str))
            .bind(DatasetState::Published.as_str())
            .bind(filter.viewer.as_ref().map_or("", Name::as_str))
            .bind(longest.as_deref().unwrap_or(""))
            .bind(limit)
            .fetch_all(tx.conn())
            .await
            .map_err(failed)?;
        for row in &rows {
            let text: String = row.col("search_text")?;
            if words.iter().all(|word| text.contains(word)) {
                found.push(dataset(tx, row).await?);
            }
        }
        let ended = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
        match rows.last() {
            Some(last) if !ended && found.len() <= page.size as usize => after = last.col("id")?,
            _ => break,
        }
    }
    Ok(Page::from_rows(found, page.size, |dataset| dataset.id.to_string()))
}

/// Inserts a snapshot.
pub async fn add_snapshot(tx: &mut Tx, snapshot: &Snapshot) -> Result<()> {
    let sql =
        "INSERT INTO snapshot (id, dataset, columns, row_count, bytes, subjects, digest, source_digest, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(sql)
        .bind(snapshot.id.to_string())
        .bind(snapshot.dataset.to_string())
        .bind(json(&snapshot.columns)?)
        .bind(signed(snapshot.rows))
        .bind(signed(snapshot.bytes))
        .bind(snapshot.subjects.map(signed))
        .bind(snapshot.digest.to_string())
        .bind(snapshot.source_digest.to_string())
        .bind(snapshot.created_at.micros())
        .execute(tx.conn())
        .await
        .map_err(exists(format_args!("snapshot {}", snapshot.id)))?;
    Ok(())
}

/// Snapshots of a dataset, newest first.
pub async fn snapshots(tx: &mut Tx, id: &DatasetId, page: &PageRequest) -> Result<Page<Snapshot>> {
    let sql = "SELECT * FROM snapshot WHERE dataset = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(id.to_string())
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(i64::from(page.size) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    let items = rows.iter().map(snapshot).collect::<Result<_>>()?;
    Ok(Page::from_rows(items, page.size, |snapshot| snapshot.id.to_string()))
}

/// The ordinals of a dataset's subjects so far.
pub async fn subjects(tx: &mut Tx, id: &DatasetId) -> Result<HashMap<String, u32>> {
    let rows = sqlx::query("SELECT ordinal, pseudonym FROM subject WHERE dataset = $1")
        .bind(id.to_string())
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let ordinal = u32::try_from(row.count("ordinal")?).unwrap_or(u32::MAX);
            Ok((row.col("pseudonym")?, ordinal))
        })
        .collect()
}

/// Adds subjects with their ordinals; part of an upload that is not visible yet.
pub async fn add_subjects(tx: &mut Tx, id: &DatasetId, subjects: &[(u32, String)]) -> Result<()> {
    let sql = tx.engine.insert_subjects();
    sqlx::query(sql)
        .bind(id.to_string())
        .bind(json(&subjects)?)
        .execute(tx.conn())
        .await
        .map_err(exists("one of the subjects (another upload to the same dataset is under way)"))?;
    Ok(())
}

async fn dataset(tx: &mut Tx, row: &AnyRow) -> Result<Dataset> {
    let current = match row.parsed_opt::<SnapshotId>("snapshot")? {
        Some(id) => {
            let found = sqlx::query("SELECT * FROM snapshot WHERE id = $1")
                .bind(id.to_string())
                .fetch_one(tx.conn())
                .await
                .map_err(failed)?;
            Some(snapshot(&found)?)
        }
        None => None,
    };
    let subject_key = match (row.col::<Option<String>>("subject_column")?, row.parsed_opt("subject_namespace")?) {
        (Some(column), Some(namespace)) => Some(SubjectKey { column, namespace }),
        _ => None,
    };
    Ok(Dataset {
        id: row.parsed("id")?,
        title: row.col("title")?,
        description: row.col("description")?,
        licence: row.col("licence")?,
        attribution: row.col("attribution")?,
        keywords: row.json("keywords")?,
        synthetic: row.col::<i64>("synthetic")? != 0,
        access: row.parsed("access")?,
        subject_key,
        column_notes: row.json("column_notes")?,
        state: row.parsed("state")?,
        snapshot: current,
        created_at: row.time("created_at")?,
        revision: row.col("revision")?,
    })
}

fn snapshot(row: &AnyRow) -> Result<Snapshot> {
    Ok(Snapshot {
        id: row.parsed("id")?,
        dataset: row.parsed("dataset")?,
        columns: row.json("columns")?,
        rows: row.count("row_count")?,
        bytes: row.count("bytes")?,
        subjects: row.col::<Option<i64>>("subjects")?.and_then(|n| u64::try_from(n).ok()),
        digest: row.parsed("digest")?,
        source_digest: row.parsed("source_digest")?,
        created_at: row.time("created_at")?,
    })
}

fn search_text(dataset: &Dataset) -> String {
    fold(&format!("{} {} {} {}", dataset.id, dataset.title, dataset.description, dataset.keywords.join(" ")))
}

/// Lower case without the accents of French, Occitan and Catalan, so that `energie` finds `Énergie`.
fn fold(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .map(|c| match c {
            'à' | 'â' | 'ä' | 'á' => 'a',
            'ç' => 'c',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'î' | 'ï' | 'í' => 'i',
            'ô' | 'ö' | 'ó' | 'ò' => 'o',
            'û' | 'ù' | 'ü' | 'ú' => 'u',
            'ÿ' => 'y',
            other => other,
        })
        .collect()
}

fn escape_like(word: &str) -> String {
    word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
