//! Approved queries: which of them a query is, and the text of one that is asked for by name.

use std::collections::BTreeMap;

use super::{Services, resolve::Resolved};
use crate::{
    domain::{Access, Action, Caller, Dataset, DatasetId, GrantId, Name, PolicyState, Template},
    error::{Error, Reason, Result},
    policy::{Act, Family},
    query::Admitted,
    service::policy::Question,
    store::{Tx, access, policy},
};

/// A query that the caller may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedQuery {
    /// Its name within the dataset's policy.
    pub name: Name,
    /// What it is.
    pub template: Template,
    /// The grant that it belongs to; none for an open dataset and for one's own.
    pub grant: Option<GrantId>,
    /// The rule.
    pub rule: Name,
}

impl Services {
    /// As which of its templates each dataset approves a query. One that has templates and approves it as none refuses
    /// it, so that a joint query needs the consent of every owner.
    pub(super) async fn approved(&self, query: &Admitted, resolved: &Resolved) -> Result<BTreeMap<DatasetId, Name>> {
        let mut approved = BTreeMap::new();
        for governed in &resolved.governed {
            let Some(templates) = &governed.how.templates else { continue };
            let Some(name) = self.inner.engine.approved_as(query, templates).await? else {
                let names: Vec<_> = templates.keys().map(Name::as_str).collect();
                return Err(Error::new(Reason::PolicyDenied)
                    .with("dataset", &governed.id)
                    .with("clause", "templates")
                    .with("detail", format_args!("only approved queries are answered: [{}]", names.join(", "))));
            };
            approved.insert(governed.id.clone(), name);
        }
        Ok(approved)
    }

    /// The approved queries of a dataset that the caller may run.
    pub async fn approved_queries(&self, caller: &Caller, id: &DatasetId) -> Result<Vec<ApprovedQuery>> {
        let permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        let dataset = self.dataset(caller, id).await?;
        let mut tx = self.read_as(&permit).await?;
        let mut found = if dataset.access == Access::Restricted && id.owner != caller.participant {
            self.granted_queries(&mut tx, caller, &dataset).await?
        } else {
            self.queries_in_force(&mut tx, caller, &dataset).await?
        };
        found.sort_by(|a, b| (&a.name, a.grant, &a.rule).cmp(&(&b.name, b.grant, &b.rule)));
        Ok(found)
    }

    /// The text of the approved query of this name with these values, as the caller may run it.
    pub async fn approved_text(
        &self,
        caller: &Caller,
        id: &DatasetId,
        name: &Name,
        values: &BTreeMap<Name, String>,
    ) -> Result<String> {
        let all = self.approved_queries(caller, id).await?;
        let found = all.into_iter().find(|approved| approved.name == *name);
        let found = found.ok_or_else(|| Error::not_found(format_args!("template `{id}/{name}`")))?;
        self.inner.engine.bind_template(&found.template, values).await
    }

    async fn granted_queries(&self, tx: &mut Tx, caller: &Caller, dataset: &Dataset) -> Result<Vec<ApprovedQuery>> {
        let mut found = Vec::new();
        for grant in access::grants_on(tx, &caller.participant, &dataset.id).await? {
            if grant.require_in_force(self.now()).is_err() {
                continue;
            }
            let version = policy::by_digest(tx, &dataset.id, &grant.policy).await?;
            let Some(version) = version.filter(|version| version.state != PolicyState::Revoked) else { continue };
            let Some(rule) = version.policy.rule(grant.rule.as_str()) else { continue };
            let templates = rule.how.join(&version.policy.floor).templates.unwrap_or_default();
            found.extend(templates.into_iter().map(|(name, template)| ApprovedQuery {
                name,
                template,
                grant: Some(grant.id),
                rule: grant.rule.clone(),
            }));
        }
        Ok(found)
    }

    async fn queries_in_force(&self, tx: &mut Tx, caller: &Caller, dataset: &Dataset) -> Result<Vec<ApprovedQuery>> {
        let Some(version) = policy::in_force(tx, &dataset.id).await? else { return Ok(Vec::new()) };
        let own = dataset.id.owner == caller.participant;
        let mut found = Vec::new();
        for rule in &version.policy.rules {
            let permitted = |action| {
                let question = Question { action, purpose: None, columns: &rule.columns, rule: Some(&rule.id) };
                self.decide_use(caller, dataset, &version, &question).is_ok_and(|decision| decision.permit.is_some())
            };
            if !own && ![Action::Read, Action::Aggregate].into_iter().any(permitted) {
                continue;
            }
            let templates = rule.how.join(&version.policy.floor).templates.unwrap_or_default();
            found.extend(templates.into_iter().map(|(name, template)| ApprovedQuery {
                name,
                template,
                grant: None,
                rule: rule.id.clone(),
            }));
        }
        Ok(found)
    }
}
