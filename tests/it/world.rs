//! The smallest world in which everything can happen: an owner with a restricted and an open dataset, a lab with
//! grants on the first, subjects who consented and some who did not.

use std::fmt::Write as _;

use odh::grpc::pb;

use crate::{
    harness::{Hub, Site},
    personas::{Admin, Auditor, Operator, Requester, Steward},
    policies::{open_policy, stays_policy},
};

/// What the lab's grants are for.
pub(crate) const RESEARCH: &str = "scientific_research";
/// The restricted dataset in SQL.
pub(crate) const STAYS: &str = "chu.stays";
/// The open dataset in SQL.
pub(crate) const COMMUNES: &str = "chu.communes";
/// Rows of the restricted dataset.
pub(crate) const ROWS: usize = 2_000;
/// Subjects that its rows are about: four rows each.
pub(crate) const SUBJECTS: usize = 500;
/// Communes that its rows lie in.
pub(crate) const PLACES: usize = 10;
/// The smallest group of an aggregate.
pub(crate) const K: u32 = 5;

/// The personas of a small world and what they hold.
pub(crate) struct World {
    /// Runs the hub.
    pub(crate) operator: Operator,
    /// Audits all of it.
    pub(crate) auditor: Auditor,
    /// Administers the owner, `chu`.
    pub(crate) owner: Admin,
    /// Manages the owner's datasets.
    pub(crate) steward: Steward,
    /// Administers the lab, `lab`.
    pub(crate) lab: Admin,
    /// Queries for the lab.
    pub(crate) requester: Requester,
    /// The policy in force of the restricted dataset.
    pub(crate) policy: pb::PolicyVersion,
    /// The lab's grant for rows of it.
    pub(crate) grant: pb::Grant,
}

/// Builds it in a fresh hub.
pub(crate) async fn small(hub: &mut Hub) -> World {
    let token = hub.operator_token();
    at(&hub.site(), &token).await
}

/// Builds it in the fresh hub at `site`, whose first operator enrols with `token`.
pub(crate) async fn at(site: &Site, token: &str) -> World {
    let operator = Operator::first(site, token).await;
    let auditor = operator.auditor().await;
    let owner = operator.welcome("chu", pb::ParticipantKind::PublicBody).await;
    let steward = owner.steward().await;
    let lab = operator.welcome("lab", pb::ParticipantKind::Lab).await;
    let requester = lab.requester().await;

    steward.create_noted("stays", &[("commune", pb::ColumnRole::Key), ("age", pb::ColumnRole::Dimension)]).await;
    steward.upload("stays", stays()).await.unwrap();
    let policy = steward.publish(stays_policy(&steward.dataset("stays"))).await.unwrap();
    steward.import_consents("stays", consents()).await.unwrap();

    steward.create_dataset("communes", pb::AccessLevel::Open, None).await.unwrap();
    steward.upload("communes", communes()).await.unwrap();
    steward.publish(open_policy(&steward.dataset("communes"))).await.unwrap();

    let asked = requester.request_access(STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    let grant = steward.approve(&asked).await.unwrap();
    World { operator, auditor, owner, steward, lab, requester, policy, grant }
}

/// The pseudonym of a subject.
pub(crate) fn subject(number: usize) -> String {
    format!("s{number:05}")
}

/// Every tenth subject has not consented.
pub(crate) const fn consented(number: usize) -> bool {
    !number.is_multiple_of(10)
}

/// Subjects who consented.
pub(crate) fn consenting() -> usize {
    (0..SUBJECTS).filter(|number| consented(*number)).count()
}

/// The restricted dataset: four stays of each subject, spread over the communes.
pub(crate) fn stays() -> String {
    let mut csv = "pid,commune,age,diagnosis,cost,admitted\n".to_owned();
    for row in 0..ROWS {
        let number = row % SUBJECTS;
        writeln!(
            csv,
            "{},{},{},{},{}.50,2026-{:02}-{:02}",
            subject(number),
            31_001 + number % PLACES,
            18 + number % 70,
            ["J45", "E11", "I10"][row % 3],
            100 + row % 900,
            1 + row % 12,
            1 + row % 28
        )
        .unwrap();
    }
    csv
}

fn consents() -> String {
    let mut csv = "subject,purpose,status\n".to_owned();
    for number in (0..SUBJECTS).filter(|number| consented(*number)) {
        writeln!(csv, "{},{RESEARCH},given", subject(number)).unwrap();
    }
    csv
}

fn communes() -> String {
    let mut csv = "code,name\n".to_owned();
    for place in 0..PLACES {
        writeln!(csv, "{},Commune {place}", 31_001 + place).unwrap();
    }
    csv
}
