//! `odh dataset budget`: the ledger of a dataset with differential privacy.

use crate::{
    cli::{
        Session,
        failure::Failure,
        names,
        output::{Column, Format, to_json},
    },
    grpc::pb,
};

const COLUMNS: &[Column] = &[
    Column::new("SCOPE", "/scope"),
    Column::new("QUERIES", "/spent/queries"),
    Column::new("EPSILON", "/spent/epsilon"),
    Column::new("DELTA", "/spent/delta"),
    Column::new("BUDGET", "/spent/budget"),
];

/// Shows what was spent, in all and by whom and what for.
pub(super) async fn budget(dataset: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = pb::GetPrivacyBudgetRequest { dataset: names::dataset(dataset)? };
    let response = session.client().await?.privacy().get_privacy_budget(request).await?.into_inner();
    let budget = response.budget.ok_or_else(|| Failure::protocol("it lacks the budget"))?;
    if session.out.format != Format::Table {
        return session.out.show(&budget);
    }
    let all = pb::PrivacyScope { scope: session.out.lang.pick("all", "tous").to_owned(), spent: budget.total };
    let rows = std::iter::once(&all).chain(&budget.scopes).map(to_json).collect::<Result<Vec<_>, _>>()?;
    session.out.rows(&rows, COLUMNS)
}
