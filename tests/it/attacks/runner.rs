//! How a query reaches a hub, and all that its caller can observe.

use std::fmt::Debug;

use odh::grpc::pb;
use tonic::Status;

use crate::{
    personas::{Answer, Requester, all_of, reason},
    world::RESEARCH,
};

/// Everything that a caller sees of one query, without ids, receipts and times.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The answer, or the refusal with all that it says.
    pub(super) answer: Result<Rows, String>,
    /// The explanation, or why there is none.
    pub(super) explanation: Result<String, String>,
}

/// An answer: its cells for people, its bytes for the comparison.
#[derive(PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) cells: Vec<Vec<String>>,
    pub(super) bytes: Vec<u8>,
}

impl Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.cells[..self.cells.len().min(6)];
        write!(f, "{:?} {shown:?} ({} rows, {} bytes)", self.columns, self.cells.len(), self.bytes.len())
    }
}

/// A protocol over which a requester asks.
pub(super) trait Runner: Sync {
    /// Whether what it refuses it refuses by the rule that the table names.
    const SAME_RULES: bool;

    /// Asks, and takes the answer to its end.
    fn run(&self, requester: &Requester, sql: &str) -> impl Future<Output = Seen> + Send;
}

/// `QueryService`: Execute and `ExplainQuery`.
pub(super) struct QueryService;

impl Runner for QueryService {
    const SAME_RULES: bool = true;

    async fn run(&self, requester: &Requester, sql: &str) -> Seen {
        let answer = requester.query(RESEARCH, sql).await;
        let explanation = requester.explain(RESEARCH, sql).await;
        Seen { answer: answer.map(|it| rows(&it)).map_err(|it| refusal(&it)), explanation: explained(explanation) }
    }
}

fn rows(answer: &Answer) -> Rows {
    Rows { columns: answer.columns(), cells: answer.rows(), bytes: answer.ipc.clone() }
}

/// All that a refusal says. A failure has an id of its own and must say nothing else.
pub(super) fn refusal(status: &Status) -> String {
    let all = all_of(status);
    if reason(status) == "QUERY_FAILED" { without_ids(&all) } else { all }
}

fn explained(answer: Result<pb::ExplainQueryResponse, Status>) -> Result<String, String> {
    use pb::explain_query_response::Result::{Explanation, Refusal};
    match answer.map_err(|status| refusal(&status))?.result {
        Some(Explanation(mut it)) => {
            for terms in &mut it.datasets {
                if let Some(used) = &mut terms.dataset_use {
                    used.snapshot.clear();
                    used.grant.clear();
                }
                // A map's order is that of its hashes.
                let masks: std::collections::BTreeMap<_, _> = std::mem::take(&mut terms.masks).into_iter().collect();
                terms.columns.push(format!("{masks:?}"));
            }
            Ok(format!("{it:?}"))
        }
        Some(Refusal(it)) => {
            let metadata: std::collections::BTreeMap<_, _> = it.metadata.iter().collect();
            Err(without_ids(&format!("{:?} {metadata:?} {:?}", it.reason(), it.message)))
        }
        None => panic!("neither an explanation nor a refusal"),
    }
}

/// Takes UUIDs out of a text.
fn without_ids(text: &str) -> String {
    let is_id = |word: &&str| word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(is_id).collect();
    words.into_iter().fold(text.to_owned(), |text, id| text.replace(id, "ID"))
}
