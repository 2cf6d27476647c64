//! Policies with limits over all queries, and what the scenarios need around them.

use odh::grpc::pb;
use tonic::Status;

use crate::{
    personas::{Requester, Steward, reason},
    policies::{only, permit, policy},
    world::RESEARCH,
};

/// A rule for rows of the stays under these limits.
pub(super) fn rows(how: pb::How) -> pb::Rule {
    pb::Rule {
        columns: Some(only(&["pid", "commune", "age", "cost"])),
        legal_basis: pb::LegalBasis::PublicInterest.into(),
        how: Some(how),
        ..permit("rows", &[pb::Action::Read], &[RESEARCH])
    }
}

/// A rule for aggregates of the stays under these limits.
pub(super) fn groups(how: pb::How) -> pb::Rule {
    pb::Rule { id: "groups".to_owned(), actions: vec![pb::Action::Aggregate.into()], ..rows(how) }
}

/// Puts one rule in force on the stays and gives a grant under it.
pub(super) async fn granted(steward: &Steward, requester: &Requester, rule: pb::Rule) -> pb::Grant {
    granted_on(steward, requester, "stays", rule).await
}

/// The same on another dataset of the steward.
pub(super) async fn granted_on(steward: &Steward, requester: &Requester, dataset: &str, rule: pb::Rule) -> pb::Grant {
    let action = pb::Action::try_from(rule.actions[0]).unwrap();
    steward.publish(policy(&steward.dataset(dataset), vec![rule])).await.unwrap();
    let table = format!("{}.{dataset}", steward.participant);
    let asked = requester.request_access(&table, action, RESEARCH).await.unwrap();
    steward.approve(&asked).await.unwrap()
}

/// The privacy of the scenarios: half a unit of loss for each query, two queries of a grant, three of everybody.
pub(super) fn privacy() -> pb::Privacy {
    let number = |number| pb::Value { value: Some(pb::value::Value::Int64Value(number)) };
    let communes = (31_001..31_011).map(number).collect();
    pb::Privacy {
        epsilon: "0.5".to_owned(),
        budget: "1".to_owned(),
        total: "1.5".to_owned(),
        delta: None,
        max_groups: 1,
        max_rows: 4,
        bounds: [("cost".to_owned(), pb::Bounds { lower: 0, upper: 1_000 })].into(),
        groups: [("commune".to_owned(), pb::Values { values: communes })].into(),
    }
}

/// What is left of a grant, as a party of it sees it.
pub(super) async fn left(persona: &crate::personas::Persona, grant: &pb::Grant) -> pb::GrantUse {
    let request = pb::GetGrantUseRequest { name: grant.name.clone() };
    persona.client.privacy().get_grant_use(request).await.unwrap().into_inner().grant_use.unwrap()
}

/// What was spent on the stays, as their owner sees it.
pub(super) async fn ledger(steward: &Steward) -> pb::PrivacyBudget {
    let request = pb::GetPrivacyBudgetRequest { dataset: steward.dataset("stays") };
    steward.client.privacy().get_privacy_budget(request).await.unwrap().into_inner().budget.unwrap()
}

/// Runs a query until the hub has a place for it; with others, as many at a time as a connection carries.
pub(super) async fn patiently(requester: &Requester, sql: &str) -> Result<crate::personas::Answer, Status> {
    static CARRIED: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(16);
    let _place = CARRIED.acquire().await.unwrap();
    loop {
        match requester.query(RESEARCH, sql).await {
            Err(status) if is_busy(&status) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => return other,
        }
    }
}

/// Whether the hub, or the connection, has no place for one more call.
fn is_busy(status: &Status) -> bool {
    // What the connection refuses by itself carries no details.
    status.message().contains("Too many active requests") || reason(status) == "OVERLOADED"
}
