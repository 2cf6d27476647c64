//! `QueryService`: governed queries. Nothing is released here without the receipt of its decision.

use std::{collections::BTreeMap, pin::Pin};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use tonic::{Request, Response, Status};

use super::{
    access::grant_id,
    call::Call,
    convert, names,
    pb::{self, execute_response::Part, explain_query_response, query_service_server::QueryService},
    policy_document::mask_message,
    status,
};
use crate::{
    error::{Error, Reason, Result},
    service::{DatasetUse, QueryRequest, QueryRun},
};

/// Most bytes of the answer in one message.
const PART: usize = 1 << 20;
/// Most grants that a query may name.
const MOST_GRANTS: usize = 16;

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl QueryService for Api {
    type ExecuteStream = Pin<Box<dyn Stream<Item = Result<pb::ExecuteResponse, Status>> + Send>>;

    async fn execute(&self, request: Request<pb::ExecuteRequest>) -> Result<Response<Self::ExecuteStream>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let sql = text(&call, asked.sql, &asked.template, &asked.parameters).await?;
            let query = query(sql, &asked.purpose, &asked.grants)?;
            call.services().run_query(call.caller()?, query).await
        };
        let run = call.answer(run).await?.into_inner();
        Ok(Response::new(Box::pin(parts(call, run).map_ok(|part| pb::ExecuteResponse { part: Some(part) }))))
    }

    type DownloadStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadResponse, Status>> + Send>>;

    async fn download(&self, request: Request<pb::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async { call.services().run_query(call.caller()?, download(&asked)?).await };
        let run = call.answer(run).await?.into_inner();
        Ok(Response::new(Box::pin(parts(call, run).map_ok(|part| pb::DownloadResponse { part: Some(part.into()) }))))
    }

    async fn explain_query(
        &self,
        request: Request<pb::ExplainQueryRequest>,
    ) -> Result<Response<pb::ExplainQueryResponse>, Status> {
        use explain_query_response::Result as Outcome;
        let (call, asked) = Call::split(request)?;
        let run = async {
            let sql = text(&call, asked.sql, &asked.template, &asked.parameters).await?;
            let query = query(sql, &asked.purpose, &asked.grants)?;
            let result = match call.services().explain_query(call.caller()?, &query).await {
                Ok(explained) => Outcome::Explanation(pb::QueryExplanation {
                    datasets: explained.datasets.into_iter().map(terms_message).collect(),
                    k: explained.k,
                    max_rows: explained.max_rows,
                    max_duration: prost_types::Duration::try_from(explained.max_duration).ok(),
                }),
                Err(error) if is_refusal(error.reason()) => Outcome::Refusal(status::refusal(&error)),
                Err(error) => return Err(error),
            };
            Ok(pb::ExplainQueryResponse { result: Some(result) })
        };
        call.answer(run).await
    }
}

/// Header, parts and receipt of a running query. Dropping the stream drops the run, which records that.
fn parts(call: Call, run: QueryRun) -> impl Stream<Item = Result<Part, Status>> + Send {
    let header = pb::ExecuteHeader {
        query_id: run.id.to_string(),
        datasets: run.uses.iter().map(use_message).collect(),
        decision: Some(convert::receipt(&run.decision)),
    };
    let state = State { call, run: Some(run), header: Some(header), rest: Bytes::new() };
    futures::stream::unfold(state, |mut state| async move {
        let next = state.next().await?;
        Some((next, state))
    })
}

/// How far an answer has been sent.
struct State {
    call: Call,
    /// None when the receipt or an error has been sent.
    run: Option<QueryRun>,
    header: Option<pb::ExecuteHeader>,
    /// What the last piece has left over.
    rest: Bytes,
}

impl State {
    async fn next(&mut self) -> Option<Result<Part, Status>> {
        match self.part().await? {
            Ok(part) => Some(Ok(part)),
            Err(error) => {
                self.run = None;
                Some(Err(self.call.refuse(error).await))
            }
        }
    }

    async fn part(&mut self) -> Option<Result<Part>> {
        if let Some(header) = self.header.take() {
            return Some(Ok(Part::Header(header)));
        }
        while self.rest.is_empty() {
            match self.run.as_mut()?.next().await {
                Some(Ok(bytes)) => self.rest = Bytes::from(bytes),
                Some(Err(error)) => return Some(Err(error)),
                None => return Some(receipt(self.run.take()?).await.map(Part::Receipt)),
            }
        }
        Some(Ok(Part::ArrowIpc(self.rest.split_to(self.rest.len().min(PART)))))
    }
}

async fn receipt(run: QueryRun) -> Result<pb::QueryReceipt> {
    let (query_id, decision) = (run.id.to_string(), convert::receipt(&run.decision));
    let summary = run.finish().await?;
    Ok(pb::QueryReceipt {
        query_id,
        rows: summary.rows,
        size_bytes: summary.bytes,
        decision: Some(decision),
        outcome: Some(convert::receipt(&summary.outcome)),
        duration: Some(convert::span(summary.duration)),
    })
}

/// The text to run: what was written, or the approved query of this name with its values.
async fn text(call: &Call, sql: String, template: &str, parameters: &BTreeMap<String, String>) -> Result<String> {
    if template.is_empty() {
        if !parameters.is_empty() {
            return Err(Error::invalid("parameters", "they are a template's"));
        }
        return Ok(sql);
    }
    if !sql.is_empty() {
        return Err(Error::invalid("template", "give it or `sql`, not both"));
    }
    let (dataset, name) = names::template("template", template)?;
    let values = parameters.iter().map(|(name, value)| Ok((name.parse()?, value.clone())));
    let values = values.collect::<Result<BTreeMap<_, _>>>()?;
    call.services().approved_text(call.caller()?, &dataset, &name, &values).await
}

fn query(sql: String, purpose: &str, grants: &[String]) -> Result<QueryRequest> {
    convert::required("sql", &sql)?;
    if grants.len() > MOST_GRANTS {
        return Err(Error::invalid("grants", format_args!("more than {MOST_GRANTS}")));
    }
    let grants = convert::unique("grants", grants.iter().map(|name| grant_id("grants", name)))?;
    Ok(QueryRequest { sql, purpose: convert::purpose("purpose", purpose)?, grants, download: false })
}

fn download(asked: &pb::DownloadRequest) -> Result<QueryRequest> {
    let dataset = names::dataset("dataset", &asked.dataset)?;
    let purpose = convert::purpose("purpose", &asked.purpose)?;
    let grant = (!asked.grant.is_empty()).then(|| grant_id("grant", &asked.grant)).transpose()?;
    convert::unique("columns", asked.columns.iter().map(Ok))?;
    Ok(QueryRequest::download(&dataset, &asked.columns, purpose, grant))
}

impl From<Part> for pb::download_response::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::Header(header) => Self::Header(header),
            Part::ArrowIpc(bytes) => Self::ArrowIpc(bytes),
            Part::Receipt(receipt) => Self::Receipt(receipt),
        }
    }
}

/// What an explanation answers, rather than fails with: what the query itself would be refused for.
const fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::QueryRejected
            | Reason::GrantRequired
            | Reason::GrantRevoked
            | Reason::GrantExpired
            | Reason::PurposeNotPermitted
            | Reason::PolicyDenied
            | Reason::QueryLimit
            | Reason::QueryBudgetSpent
            | Reason::QueryRateExceeded
            | Reason::PrivacyBudgetSpent
    )
}

fn use_message(used: &DatasetUse) -> pb::DatasetUse {
    pb::DatasetUse {
        dataset: names::dataset_name(&used.dataset),
        table: used.dataset.to_string(),
        snapshot: names::snapshot_name(&used.dataset, used.snapshot),
        policy_digest: used.policy.to_string(),
        rule: used.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
        grant: used.grant.map(|id| format!("grants/{id}")).unwrap_or_default(),
        legal_basis: used.legal_basis.map(convert::basis_message).unwrap_or_default(),
    }
}

fn terms_message(used: DatasetUse) -> pb::DatasetTerms {
    pb::DatasetTerms {
        dataset_use: Some(use_message(&used)),
        row_filter: used.shown_filter(),
        columns: used.columns,
        masks: used.masks.into_iter().map(|(column, mask)| (column, mask_message(mask))).collect(),
        k: used.k,
        max_rows: used.max_rows,
        consent_filter: used.consent_filter,
        duties: used.duties.into_iter().map(convert::duty_message).collect(),
    }
}
