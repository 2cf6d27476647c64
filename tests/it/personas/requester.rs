//! The requester: asks for access and runs queries.

use odh::grpc::pb;
use tonic::{Response, Status, Streaming};

use super::{Answer, Persona, personas, receive};
use std::ops::Deref;

personas! {
    /// An analyst of a participant.
    Requester;
}

impl Requester {
    /// Asks for access to a dataset, `owner.name`, for a day.
    pub(crate) async fn request_access(
        &self,
        table: &str,
        action: pb::Action,
        purpose: &str,
    ) -> Result<pb::AccessRequest, Status> {
        let request = pb::CreateAccessRequestRequest {
            dataset: dataset_name(table),
            action: action.into(),
            purpose: purpose.to_owned(),
            justification: "a study of the suite".to_owned(),
            duration: Some(super::access_day()),
            ..Default::default()
        };
        let answer = self.client.access().create_access_request(request).await?.into_inner();
        Ok(answer.access_request.unwrap())
    }

    /// Runs a query to its end.
    pub(crate) async fn query(&self, purpose: &str, sql: &str) -> Result<Answer, Status> {
        ask(self, purpose, sql).await
    }

    /// Starts a query; the answer is read by the caller.
    pub(crate) async fn start(&self, purpose: &str, sql: &str) -> Result<Streaming<pb::ExecuteResponse>, Status> {
        self.client.queries().execute(execute(purpose, sql)).await.map(Response::into_inner)
    }

    /// What a query would do.
    pub(crate) async fn explain(&self, purpose: &str, sql: &str) -> Result<pb::ExplainQueryResponse, Status> {
        let request =
            pb::ExplainQueryRequest { sql: sql.to_owned(), purpose: purpose.to_owned(), ..Default::default() };
        self.client.queries().explain_query(request).await.map(Response::into_inner)
    }
}

/// Runs a query to its end, whoever asks.
pub(crate) async fn ask(persona: &Persona, purpose: &str, sql: &str) -> Result<Answer, Status> {
    receive(persona.client.queries().execute(execute(purpose, sql)).await?.into_inner()).await
}

fn execute(purpose: &str, sql: &str) -> pb::ExecuteRequest {
    pb::ExecuteRequest { sql: sql.to_owned(), purpose: purpose.to_owned(), ..Default::default() }
}

/// The resource name of `owner.name`.
pub(super) fn dataset_name(table: &str) -> String {
    let (owner, name) = table.split_once('.').unwrap();
    format!("participants/{owner}/datasets/{name}")
}
