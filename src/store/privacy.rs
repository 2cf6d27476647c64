//! The ledger of privacy that was spent, and the answers that were bought with it.
//!
//! A charge is one conditional statement per scope inside the transaction of the decision. Nothing here takes anything
//! back: a failed query that was refunded would be a free one, and its failure would tell something.

use super::{Tx, failed, row::RowExt as _};
use crate::{
    domain::{DatasetId, Delta, Epsilon, QueryId, Timestamp},
    error::Result,
};

/// What was spent in a scope of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// `all`, `grant/{uuid}`, `participant/{id}` or `purpose/{slug}`.
    pub scope: String,
    /// Queries that were charged.
    pub queries: u64,
    /// In billionths.
    pub epsilon: u64,
    /// In billionths.
    pub delta: u64,
}

/// Charges one query to a scope of a dataset if that makes `most` at most; false if it does not, and nothing is
/// charged. Without `most` it is only counted.
pub async fn charge(
    tx: &mut Tx,
    dataset: &DatasetId,
    scope: &str,
    loss: (Epsilon, Delta),
    most: Option<Epsilon>,
) -> Result<bool> {
    let most = most.map_or(i64::MAX, |most| i64::try_from(most.get()).unwrap_or(i64::MAX));
    let (Ok(epsilon), Ok(delta)) = (i64::try_from(loss.0.get()), i64::try_from(loss.1.get())) else { return Ok(false) };
    if epsilon > most {
        return Ok(false);
    }
    let sql = "INSERT INTO privacy_budget (dataset, scope, queries, epsilon, delta) VALUES ($1, $2, 1, $3, $4)
               ON CONFLICT (dataset, scope) DO UPDATE SET
                   queries = privacy_budget.queries + 1,
                   epsilon = privacy_budget.epsilon + $3,
                   delta = privacy_budget.delta + $4
               WHERE privacy_budget.epsilon <= $5 - $3";
    let done = sqlx::query(sql)
        .bind(dataset.to_string())
        .bind(scope)
        .bind(epsilon)
        .bind(delta)
        .bind(most)
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// What was spent on a dataset, by scope.
pub async fn spent(tx: &mut Tx, dataset: &DatasetId) -> Result<Vec<Spent>> {
    let sql = "SELECT scope, queries, epsilon, delta FROM privacy_budget WHERE dataset = $1 ORDER BY scope";
    let rows = sqlx::query(sql).bind(dataset.to_string()).fetch_all(tx.conn()).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Spent {
                scope: row.col("scope")?,
                queries: row.count("queries")?,
                epsilon: row.count("epsilon")?,
                delta: row.count("delta")?,
            })
        })
        .collect()
}

/// An answer that was bought before.
#[derive(Debug, Clone)]
pub struct KeptAnswer {
    /// The query that bought it.
    pub query: QueryId,
    /// The whole of it, one Arrow IPC stream.
    pub answer: Vec<u8>,
}

/// The answer to a question that was answered before.
pub async fn kept_answer(tx: &mut Tx, question: &str) -> Result<Option<KeptAnswer>> {
    let row = sqlx::query("SELECT query, answer FROM private_answer WHERE question = $1")
        .bind(question)
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?;
    row.map(|row| Ok(KeptAnswer { query: row.parsed("query")?, answer: row.col("answer")? })).transpose()
}

/// Keeps an answer for the next time; the first one stays.
pub async fn keep_answer(
    tx: &mut Tx,
    question: &str,
    dataset: &DatasetId,
    kept: &KeptAnswer,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO private_answer (question, dataset, query, answer, created_at) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (question) DO NOTHING";
    sqlx::query(sql)
        .bind(question)
        .bind(dataset.to_string())
        .bind(kept.query.to_string())
        .bind(kept.answer.as_slice())
        .bind(now.micros())
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}
