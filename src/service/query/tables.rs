//! The tables that exist for a caller and a purpose: what it has grants on, open data, and its own.
//!
//! A table is listed if, and only if, a query for that purpose would be allowed to read it: the decision is the one
//! that the query gets, so that a list shows nothing that may not be asked.

use std::collections::BTreeSet;

use super::{QueryRequest, Services};
use crate::{
    domain::{Access, Caller, Column, DatasetId, PageRequest, ParticipantId},
    error::{Code, Error, Reason, Result},
    policy::{Act, Family},
    store::dataset,
};

/// Datasets that are read at a time.
const PAGE: u32 = 500;
/// Most tables of one list.
const MOST: usize = 10_000;

/// A table that the caller may query.
#[derive(Debug, Clone)]
pub struct VisibleTable {
    /// Owner and name.
    pub dataset: DatasetId,
    /// The dataset's title.
    pub title: String,
    /// The columns that exist for the caller.
    pub columns: Vec<Column>,
    /// Only groups of that many subjects are shown; none if rows may be read.
    pub k: Option<u32>,
}

impl Services {
    /// The tables that the caller may query for a purpose, of one owner or of all, by name. `ask` gives the purpose
    /// and the grants to use; its text is not looked at.
    pub async fn visible_tables(
        &self,
        caller: &Caller,
        ask: &QueryRequest,
        owner: Option<ParticipantId>,
    ) -> Result<Vec<VisibleTable>> {
        let permit = self.authorise(caller, &caller.participant, Family::Query, Act::Explain).await?;
        self.inner.vocabulary.require(&ask.purpose)?;
        let granted: BTreeSet<DatasetId> =
            self.grants_in_force(caller).await?.into_iter().map(|grant| grant.dataset).collect();
        let filter = dataset::Filter { words: Vec::new(), owner, viewer: Some(caller.participant.clone()) };
        let mut page = PageRequest { size: PAGE, after: None };
        let mut tables = Vec::new();
        let mut tx = self.read_as(&permit).await?;
        loop {
            let found = dataset::list(&mut tx, &filter, &page).await?;
            for candidate in found.items {
                let own = candidate.id.owner == caller.participant;
                if !own && candidate.access == Access::Restricted && !granted.contains(&candidate.id) {
                    continue;
                }
                let usable = async {
                    let dataset = self.queryable(&mut tx, caller, &candidate.id).await?;
                    let terms = self.terms(&mut tx, caller, &dataset, ask).await?;
                    Ok((dataset, terms))
                };
                let (dataset, terms) = match usable.await {
                    Ok(found) => found,
                    Err(error) if is_refusal(&error) => continue,
                    Err(error) => return Err(error),
                };
                if tables.len() == MOST {
                    return Err(Error::new(Reason::QueryLimit).with("limit", format_args!("{MOST} tables")));
                }
                let visible = dataset.columns().iter().filter(|column| terms.columns.contains(&column.name));
                tables.push(VisibleTable {
                    columns: visible.cloned().collect(),
                    k: terms.how.aggregate_only.or_else(|| terms.aggregate.then_some(1)),
                    dataset: dataset.id,
                    title: dataset.title,
                });
            }
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok(tables),
            }
        }
    }
}

/// Whether a query of the table would be refused; anything else is a fault, and no reason to leave a table out.
fn is_refusal(error: &Error) -> bool {
    matches!(error.code(), Code::PermissionDenied | Code::NotFound | Code::InvalidArgument)
}
