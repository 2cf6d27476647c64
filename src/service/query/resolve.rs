//! From the tables that a query names to what governs each: grant, policy rule, limits, consents.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::json;

use super::{
    QueryRequest, Services,
    limits::{Limits, question},
};
use crate::{
    domain::{
        Access, Action, Caller, Columns, Credential, Dataset, DatasetId, DatasetState, Digest, Duty, Filter, Grant,
        GrantId, GrantState, How, LegalBasis, Mask, Name, Permit, PolicyState, PolicyVersion, SnapshotId,
    },
    error::{Error, Reason, Result},
    policy::Attributes,
    query::GovernedDataset,
    service::{
        decide::{Governing, for_owner},
        policy::Question,
    },
    store::{Topic, Tx, access, consent, dataset, policy},
};

/// What governs the use of one dataset; shown by an explanation and recorded with the decision.
#[derive(Debug, Clone)]
pub struct DatasetUse {
    /// The dataset.
    pub dataset: DatasetId,
    /// The snapshot that is read.
    pub snapshot: SnapshotId,
    /// The policy.
    pub policy: Digest,
    /// Its rule; none for one's own dataset.
    pub rule: Option<Name>,
    /// The grant; none for an open dataset and for one's own.
    pub grant: Option<GrantId>,
    /// Why personal data may be processed.
    pub legal_basis: Option<LegalBasis>,
    /// The columns that exist for the caller.
    pub columns: Vec<String>,
    /// The row filter.
    pub row_filter: Option<Filter>,
    /// The masks of these columns.
    pub masks: BTreeMap<String, Mask>,
    /// Smallest group that is shown, if only aggregates are.
    pub k: Option<u32>,
    /// Most rows of an answer.
    pub max_rows: Option<u64>,
    /// Only rows of subjects who consented.
    pub consent_filter: bool,
    /// Which state of the consents was read: their revision.
    pub consents: Option<i64>,
    /// What the user must do besides.
    pub duties: Vec<Duty>,
}

/// What the decision on a query rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) topics: Vec<String>,
    pub(super) values: Vec<i64>,
}

/// A query's datasets, ready for the engine.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) governed: Vec<GovernedDataset>,
    pub(super) uses: Vec<DatasetUse>,
    pub(super) limits: Vec<Limits>,
    pub(super) fence: Fence,
    /// The query in the form that it shares with those that ask the same.
    pub(super) canonical: String,
    /// As which of its templates each dataset that has some approves the query.
    pub(super) approved: BTreeMap<DatasetId, Name>,
}

/// The terms on which a dataset may be used.
pub(super) struct Terms {
    version: PolicyVersion,
    grant: Option<Grant>,
    permit: Option<Permit>,
    pub(super) how: How,
    pub(super) columns: Columns,
    pub(super) aggregate: bool,
}

impl Services {
    pub(super) async fn resolve(
        &self,
        caller: &Caller,
        tables: &BTreeSet<DatasetId>,
        ask: &QueryRequest,
    ) -> Result<Resolved> {
        let topics = fence_topics(caller, tables);
        // The revisions are read first: a change after this is noticed when the decision is recorded.
        let mut tx = self.read().await?;
        let values = tx.revisions(&topics).await?;
        let mut governed = Vec::with_capacity(tables.len());
        let mut uses = Vec::with_capacity(tables.len());
        let mut limits = Vec::with_capacity(tables.len());
        for id in tables {
            let dataset = self.queryable(&mut tx, caller, id).await?;
            let terms = self.terms(&mut tx, caller, &dataset, ask).await?;
            let (table, mut one) = self.govern(&mut tx, caller, &dataset, terms, ask).await?;
            let consents = Topic::Consents(id).key();
            one.consents = topics.iter().position(|topic| *topic == consents).and_then(|at| values.get(at)).copied();
            one.consents = one.consents.filter(|_| one.consent_filter);
            limits.push(Limits::new(caller, &one, &table));
            governed.push(table);
            uses.push(one);
        }
        let fence = Fence { topics, values };
        Ok(Resolved { governed, uses, limits, fence, canonical: String::new(), approved: BTreeMap::new() })
    }

    /// A dataset with data that the caller may see, or once had a grant on: what became of the grant is then said.
    /// Anything else is a table that does not exist.
    pub(super) async fn queryable(&self, tx: &mut Tx, caller: &Caller, id: &DatasetId) -> Result<Dataset> {
        let unknown = || {
            Error::new(Reason::QueryRejected).with("rule", "unknown_table").with_words(
                "detail",
                format_args!("no table `{id}`"),
                format_args!("pas de table `{id}`"),
            )
        };
        let dataset = dataset::lookup(tx, id).await?.ok_or_else(unknown)?;
        let readable = dataset.snapshot.is_some() && dataset.state != DatasetState::Retired;
        let known = readable
            && (self.is_shown(tx, caller, &dataset).await?
                || !access::grants_on(tx, &caller.participant, id).await?.is_empty());
        if known { Ok(dataset) } else { Err(unknown()) }
    }

    pub(super) async fn terms(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        dataset: &Dataset,
        ask: &QueryRequest,
    ) -> Result<Terms> {
        let in_force = policy::in_force(tx, &dataset.id).await?;
        let terms = match dataset.access {
            _ if dataset.id.owner == caller.participant => own_terms(dataset, in_force, ask)?,
            Access::Open => self.open_terms(caller, dataset, in_force, ask)?,
            Access::Restricted => self.granted_terms(tx, caller, dataset, in_force, ask).await?,
        };
        if terms.how.certificate_required && matches!(caller.credential, Credential::UnboundToken { .. }) {
            return Err(Error::new(Reason::PolicyDenied)
                .with("dataset", &dataset.id)
                .with_words("clause", "certificate", "certificat")
                .with_words(
                    "detail",
                    "it refuses tokens that are not bound to a certificate",
                    "elle refuse les jetons qui ne sont pas liés à un certificat",
                ));
        }
        Ok(terms)
    }

    /// An open dataset: the first rule that permits reading, or else aggregating.
    fn open_terms(
        &self,
        caller: &Caller,
        dataset: &Dataset,
        in_force: Option<PolicyVersion>,
        ask: &QueryRequest,
    ) -> Result<Terms> {
        let version = in_force.ok_or_else(|| no_policy(&dataset.id))?;
        let compiled = self.compiled(&version)?;
        let who = Attributes::from(caller);
        let judge = self.judge(&compiled, &who, dataset)?;
        match judge.open(ask.actions(), &ask.purpose)? {
            Governing::Rule(action, rule, decision) => {
                let permit = decision.permit.ok_or_else(|| no_policy(&dataset.id))?;
                let (how, columns) = (permit.how.clone(), rule.columns.clone());
                let aggregate = action == Action::Aggregate || how.aggregate_only.is_some();
                Ok(Terms { version, grant: None, permit: Some(permit), how, columns, aggregate })
            }
            Governing::Nothing(None) => Err(no_policy(&dataset.id)),
            Governing::Nothing(Some(decision)) => {
                let question = Question {
                    action: if ask.download { Action::Download } else { Action::Aggregate },
                    purpose: Some(&ask.purpose),
                    columns: &Columns::All,
                    rule: None,
                };
                Err(self.refusal(caller, dataset, &version, &question, &decision))
            }
        }
    }

    /// A restricted dataset: the grant that fits, under the policy and the rule it cites.
    async fn granted_terms(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        dataset: &Dataset,
        in_force: Option<PolicyVersion>,
        ask: &QueryRequest,
    ) -> Result<Terms> {
        let grants = access::grants_on(tx, &caller.participant, &dataset.id).await?;
        let grant = self
            .choose(grants, &dataset.id, ask)
            .map_err(|error| self.advise(error, caller, dataset, in_force.as_ref(), &ask.purpose))?;
        let version = policy::by_digest(tx, &dataset.id, &grant.policy).await?;
        let version = version
            .filter(|version| version.state != PolicyState::Revoked)
            .ok_or_else(|| Error::new(Reason::GrantRevoked).with("dataset", &dataset.id))?;
        let question = Question {
            action: grant.action,
            purpose: Some(&ask.purpose),
            columns: &grant.columns,
            rule: Some(&grant.rule),
        };
        let decision = self.decide_use(caller, dataset, &version, &question)?;
        let refused = || self.refusal(caller, dataset, &version, &question, &decision);
        let permit = decision.permit.clone().ok_or_else(refused)?;
        let how = permit.how.clone();
        let aggregate = grant.action == Action::Aggregate || how.aggregate_only.is_some();
        let columns = grant.columns.clone();
        Ok(Terms { version, grant: Some(grant), permit: Some(permit), how, columns, aggregate })
    }

    /// Of the grants that are in force and cover the purpose, the one that lasts longest. Otherwise the reason that
    /// is nearest to success: purpose, expiry, revocation, none at all.
    fn choose(&self, grants: Vec<Grant>, dataset: &DatasetId, ask: &QueryRequest) -> Result<Grant> {
        let now = self.now();
        let wanted: Vec<Grant> = grants
            .into_iter()
            .filter(|grant| ask.grants.is_empty() || ask.grants.contains(&grant.id))
            .filter(|grant| !ask.download || grant.action == Action::Download)
            .collect();
        let covers = |grant: &Grant| self.inner.vocabulary.covers(&grant.purpose, &ask.purpose);
        let fits = |grant: &&Grant| grant.require_in_force(now).is_ok() && covers(grant);
        if let Some(best) = wanted.iter().filter(fits).max_by_key(|grant| grant.valid_until) {
            return Ok(best.clone());
        }
        if wanted.iter().any(|grant| grant.require_in_force(now).is_ok()) {
            return Err(Error::new(Reason::PurposeNotPermitted).with("purpose", &ask.purpose).with("dataset", dataset));
        }
        let ended = |state| wanted.iter().find(|grant: &&Grant| grant.state == state && covers(grant));
        match ended(GrantState::Active).or_else(|| ended(GrantState::Revoked)) {
            Some(grant) => Err(grant.require_in_force(now).err().unwrap_or_else(|| no_grant(dataset, ask))),
            None => Err(no_grant(dataset, ask)),
        }
    }

    async fn govern(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        dataset: &Dataset,
        terms: Terms,
        ask: &QueryRequest,
    ) -> Result<(GovernedDataset, DatasetUse)> {
        let snapshot = dataset.snapshot.as_ref().ok_or_else(|| no_policy(&dataset.id))?;
        let legal_basis = terms.permit.as_ref().map(|permit| permit.legal_basis);
        let consent_filter =
            dataset.subject_key.is_some() && (legal_basis == Some(LegalBasis::Consent) || terms.how.consent_required);
        let consent = if consent_filter {
            let purposes: Vec<_> = self.inner.vocabulary.ancestors(&ask.purpose).cloned().collect();
            let subjects = consent::effective(tx, &dataset.id, &purposes, &caller.participant, self.now()).await?;
            Some(Arc::new(subjects))
        } else {
            None
        };
        let mut how = terms.how;
        if terms.aggregate && how.privacy.is_none() {
            how.aggregate_only = Some(how.aggregate_only.unwrap_or(1).max(1));
        }
        let used = DatasetUse {
            dataset: dataset.id.clone(),
            snapshot: snapshot.id,
            policy: terms.version.digest,
            rule: terms.permit.as_ref().map(|permit| permit.rule.clone()),
            grant: terms.grant.as_ref().map(|grant| grant.id),
            legal_basis,
            columns: snapshot
                .columns
                .iter()
                .filter(|column| terms.columns.contains(&column.name))
                .map(|column| column.name.clone())
                .collect(),
            row_filter: how.row_filter.clone(),
            // A mask on a column that does not exist for the caller would tell that it exists.
            masks: how.masks.iter().filter(|(name, _)| terms.columns.contains(name)).map(clone_pair).collect(),
            k: how.aggregate_only,
            max_rows: how.max_rows,
            consent_filter,
            consents: None,
            duties: terms.permit.map(|permit| permit.duties).unwrap_or_default(),
        };
        let governed = GovernedDataset {
            id: dataset.id.clone(),
            object: self.object_path(snapshot.id),
            stored: snapshot.columns.clone(),
            columns: terms.columns,
            how,
            subject_key: dataset.subject_key.clone(),
            consent,
            mask_key: self.keys().mask_key(&caller.participant, &ask.purpose),
            rows: snapshot.rows,
            own: dataset.id.owner == caller.participant,
        };
        Ok((governed, used))
    }
}

impl Resolved {
    /// The largest k of any dataset.
    pub(super) fn k(&self) -> Option<u32> {
        self.uses.iter().filter_map(|one| one.k).max()
    }

    /// The question that this query is.
    pub(super) fn question(&self, caller: &Caller, ask: &QueryRequest) -> Digest {
        question(caller, &ask.purpose, &self.canonical, &self.uses, &self.governed)
    }
}

impl DatasetUse {
    /// The row filter as the caller may see it: not at all if it names a column that does not exist for the caller.
    pub fn shown_filter(&self) -> String {
        let exists = |name: &&str| self.columns.iter().any(|column| column == name);
        match &self.row_filter {
            None => String::new(),
            Some(filter) if filter.columns().iter().all(exists) => filter.to_string(),
            Some(_) => "(hidden)".to_owned(),
        }
    }

    /// What the decision's entry says of it.
    pub(super) fn to_fact(&self) -> serde_json::Value {
        json!({
            "dataset": self.dataset.to_string(),
            "snapshot": self.snapshot.to_string(),
            "policy": self.policy.to_string(),
            "rule": self.rule.as_ref().map(Name::as_str),
            "grant": self.grant.map(|id| id.to_string()),
            "basis": self.legal_basis.map(LegalBasis::as_str),
            "consent_filter": self.consent_filter,
            "consents": self.consents.map(|revision| revision.to_string()),
        })
    }
}

/// One's own dataset, which takes no rule: the floor alone.
fn own_terms(dataset: &Dataset, in_force: Option<PolicyVersion>, ask: &QueryRequest) -> Result<Terms> {
    let version = in_force.ok_or_else(|| no_policy(&dataset.id))?;
    let action = if ask.download { Action::Download } else { Action::Read };
    let how = for_owner(&version.policy, action)?;
    let aggregate = how.aggregate_only.is_some();
    Ok(Terms { version, grant: None, permit: None, how, columns: Columns::All, aggregate })
}

fn clone_pair<A: Clone, B: Clone>((a, b): (&A, &B)) -> (A, B) {
    (a.clone(), b.clone())
}

fn fence_topics(caller: &Caller, tables: &BTreeSet<DatasetId>) -> Vec<String> {
    let mut topics = vec![Topic::Participant(&caller.participant).key(), Topic::Grants(&caller.participant).key()];
    for id in tables {
        topics.push(Topic::Dataset(id).key());
        topics.push(Topic::Consents(id).key());
    }
    topics
}

fn no_grant(dataset: &DatasetId, ask: &QueryRequest) -> Error {
    Error::new(Reason::GrantRequired).with("dataset", dataset).with("purpose", &ask.purpose)
}

fn no_policy(dataset: &DatasetId) -> Error {
    Error::new(Reason::PolicyDenied).with("dataset", dataset).with_words("clause", "policy", "politique").with_words(
        "detail",
        "no policy is in force",
        "aucune politique n'est en vigueur",
    )
}
