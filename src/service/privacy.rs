//! What queries have used up of the limits of policies, for those whom the limits concern.

use super::{
    Services,
    query::limits::{ALL, count_scope, holder, rate_scope},
};
use crate::{
    domain::{Caller, DatasetId, Epsilon, Grant, GrantId, Interval, Timestamp},
    error::Result,
    policy::{Act, Family},
    store::{
        limit, policy,
        privacy::{self, Spent},
    },
};

/// Queries of an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateUse {
    /// How long it is.
    pub interval: Interval,
    /// How many are allowed.
    pub limit: u32,
    /// How many were run in the one that runs now.
    pub queries: u64,
    /// When that one ends; none if none runs.
    pub until: Option<Timestamp>,
}

/// What was spent of a budget of privacy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyUse {
    /// What was spent, and where.
    pub spent: Spent,
    /// What may be.
    pub budget: Option<Epsilon>,
}

/// What is left of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantUse {
    /// The grant.
    pub grant: GrantId,
    /// How many queries may be run under it.
    pub max_queries: Option<u64>,
    /// How many were.
    pub queries: u64,
    /// How often they may be run.
    pub rates: Vec<RateUse>,
    /// What they may reveal.
    pub privacy: Option<PrivacyUse>,
}

/// What was spent on a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyBudget {
    /// By everybody together.
    pub total: PrivacyUse,
    /// By grant, participant and purpose.
    pub scopes: Vec<Spent>,
}

impl Services {
    /// What is left of a grant, for both of its parties.
    pub async fn grant_use(&self, caller: &Caller, id: GrantId) -> Result<GrantUse> {
        let Grant { grantee, dataset, policy: digest, rule, .. } = self.grant(caller, id).await?;
        let mut tx = self.read().await?;
        let version = policy::by_digest(&mut tx, &dataset, &digest).await?;
        let how = version
            .and_then(|version| Some(version.policy.rule(rule.as_str())?.how.join(&version.policy.floor)))
            .unwrap_or_default();
        let holder = holder(Some(id), &grantee);
        let mut rates = Vec::with_capacity(how.rate.len());
        for (interval, limit) in how.rate {
            let counted = limit::counted_in(&mut tx, &rate_scope(&grantee, &dataset), interval).await?;
            let length = i64::from(interval.seconds()) * 1_000_000;
            let running = counted
                .map(|counted| (counted.queries, Timestamp::from_micros(counted.since.micros() + length)))
                .filter(|(_, until)| *until > self.now());
            rates.push(RateUse {
                interval,
                limit,
                queries: running.map_or(0, |(queries, _)| queries),
                until: running.map(|(_, until)| until),
            });
        }
        let privacy = match &how.privacy {
            Some(it) => {
                let spent = privacy::spent(&mut tx, &dataset).await?;
                Some(PrivacyUse { spent: of(&spent, &holder), budget: Some(it.budget) })
            }
            None => None,
        };
        let queries = limit::counted(&mut tx, &count_scope(&holder, &dataset)).await?;
        Ok(GrantUse { grant: id, max_queries: how.max_queries, queries, rates, privacy })
    }

    /// What was spent of the privacy of a dataset's individuals, for its owner.
    pub async fn privacy_budget(&self, caller: &Caller, id: &DatasetId) -> Result<PrivacyBudget> {
        let permit = self
            .authorise(caller, &id.owner, Family::Grant, Act::Read)
            .await
            .map_err(|error| Self::hide(error, caller, id))?;
        self.dataset(caller, id).await?;
        let mut tx = self.read_as(&permit).await?;
        let version = policy::in_force(&mut tx, id).await?;
        // Rules and floor may state different totals; what all have spent together is held against each query's own.
        let budget = version.and_then(|version| {
            let policy = version.policy;
            let hows = policy.rules.iter().map(|rule| rule.how.join(&policy.floor));
            hows.filter_map(|how| how.privacy).map(|privacy| privacy.total).max()
        });
        let spent = privacy::spent(&mut tx, id).await?;
        let total = PrivacyUse { spent: of(&spent, ALL), budget };
        Ok(PrivacyBudget { total, scopes: spent.into_iter().filter(|spent| spent.scope != ALL).collect() })
    }
}

fn of(all: &[Spent], scope: &str) -> Spent {
    let none = || Spent { scope: scope.to_owned(), queries: 0, epsilon: 0, delta: 0 };
    all.iter().find(|spent| spent.scope == scope).cloned().unwrap_or_else(none)
}
