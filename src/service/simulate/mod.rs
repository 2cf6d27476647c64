//! What a policy would have changed: the asks, grants and queries of a period, decided by a draft.
//!
//! Each use of the past is asked of the policy that binds it now (its grant's, else the one in force) and of the draft,
//! as if it were asked today. What comes out otherwise is a flip. The records hold neither the attributes of a
//! participant nor the member behind a query, so today's are taken, and the answer says so. Only the owner may ask; that
//! it did, and each count of its rows, is in the log before the answer is given (P1).

mod history;
mod replay;
mod rows;

use std::sync::Arc;

use super::{Services, compare::PolicyChoice, decide::Judge};
use crate::{
    audit::Committed,
    domain::{
        AccessRequestId, Action, Caller, Dataset, Digest, EntryDraft, EntryKind, GrantId, How, Name, ParticipantId,
        Policy, PolicyVersion, PurposeSlug, Text, Timestamp,
    },
    error::{Error, Result},
    policy::{Act, CompiledPolicy, Family, diff::TermChange},
    store::policy,
};

/// What to replay.
#[derive(Debug, Clone)]
pub struct SimulationRequest {
    /// The policy to try.
    pub policy: PolicyChoice,
    /// From when on.
    pub since: Timestamp,
    /// Until when; none means now.
    pub until: Option<Timestamp>,
    /// The instant at which everything is asked again; none means now.
    pub at: Option<Timestamp>,
}

/// What would come out otherwise.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Digest of the policy that was tried.
    pub policy: Digest,
    /// The policy in force.
    pub in_force: Option<PolicyVersion>,
    /// What would come out otherwise, by participant.
    pub flips: Vec<Flip>,
    /// How many uses would not.
    pub unchanged: usize,
    /// How much was replayed.
    pub replayed: Replayed,
    /// What the records do not say and was taken instead.
    pub assumptions: Vec<Text>,
}

/// How much was replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Access requests.
    pub requests: usize,
    /// Grants in force.
    pub grants: usize,
    /// Decisions on queries, denials included.
    pub queries: usize,
    /// True if there was more than is replayed at a time.
    pub truncated: bool,
}

/// Which way a use comes out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlipKind {
    /// It would be permitted and is not.
    Gains,
    /// It is permitted and would not be.
    Loses,
    /// It stays permitted, on other terms.
    Changes,
}

/// A use that comes out otherwise.
#[derive(Debug, Clone)]
pub struct Flip {
    /// Whose.
    pub participant: ParticipantId,
    /// Which way.
    pub kind: FlipKind,
    /// What is done.
    pub action: Action,
    /// Whether it is the owner's use of its own data, which takes no rule: the policy's floor alone binds it.
    pub own: bool,
    /// What for; none for discovery.
    pub purpose: Option<PurposeSlug>,
    /// From when on: at once, or when this grant ends, which goes on under its own policy.
    pub after: Option<Timestamp>,
    /// The rule that permits now.
    pub rule_before: Option<Name>,
    /// The rule that would.
    pub rule_after: Option<Name>,
    /// Columns that come within reach.
    pub columns_gained: Vec<String>,
    /// Columns that get out of reach.
    pub columns_lost: Vec<String>,
    /// Limits and duties that change.
    pub terms: Vec<TermChange>,
    /// Rows of the current snapshot within reach now; none if they are not counted.
    pub rows_before: Option<u64>,
    /// Rows that would be.
    pub rows_after: Option<u64>,
    /// Where it was seen.
    pub evidence: Evidence,
}

/// Where a use was seen.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// In these access requests.
    pub requests: Vec<AccessRequestId>,
    /// In these grants.
    pub grants: Vec<GrantId>,
    /// In so many decisions that permitted a query.
    pub permitted: u64,
    /// In so many that denied one.
    pub denied: u64,
    /// When last.
    pub last: Option<Timestamp>,
}

impl Services {
    /// Replays the past of a dataset against a policy. For a steward of its owner. Recorded as `policy.simulated`.
    pub async fn simulate_policy(&self, caller: &Caller, ask: SimulationRequest) -> Result<(Simulation, Committed)> {
        let (draft, _) = self.chosen(caller, ask.policy).await?;
        let id = draft.dataset.clone();
        let permit = self
            .authorise(caller, &id.owner, Family::Policy, Act::Check)
            .await
            .map_err(|e| Self::hide(e, caller, &id))?;
        let dataset = self.dataset(caller, &id).await?;
        let now = self.now();
        let (until, at) = (ask.until.unwrap_or(now), ask.at.unwrap_or(now));
        if ask.since >= until {
            return Err(Error::invalid("since", "the period is empty: it ends before it begins"));
        }
        let (tried, of) = (draft.clone(), dataset.clone());
        self.aside(move |services| {
            crate::policy::require_no_error(&crate::policy::check(&tried, &of, services.vocabulary()))
        })
        .await?;
        let in_force = policy::in_force(&mut self.read_as(&permit).await?, &id).await?;
        let history = self.history(&dataset, ask.since, until).await?;
        let binding = self.binding(in_force.as_ref(), &history).await?;
        let trial = Arc::new(Trial { dataset, draft: CompiledPolicy::new(draft)?, in_force, at });
        let history = Arc::new(history);
        let (tried, past) = (Arc::clone(&trial), Arc::clone(&history));
        let (mut flips, unchanged) = self.aside(move |services| services.replay(&tried, &past, &binding)).await?;
        let entry = EntryDraft::by(EntryKind::PolicySimulated, caller)
            .about(&id)
            .fact("policy", trial.draft.digest().to_string())
            .fact("since", ask.since.to_string())
            .fact("until", until.to_string())
            .fact("flips", flips.len().to_string());
        let ((), committed) = self.change(&permit, move |_| Box::pin(async move { Ok(((), vec![entry])) })).await?;
        self.count_rows(&permit, caller, &trial, &mut flips).await?;
        let simulation = Simulation {
            policy: trial.draft.digest(),
            in_force: trial.in_force.clone(),
            flips: flips.into_iter().map(|candidate| candidate.flip).collect(),
            unchanged,
            replayed: history.replayed,
            assumptions: history.assumptions(at),
        };
        Ok((simulation, committed))
    }
}

/// What is tried on what.
struct Trial {
    dataset: Dataset,
    draft: CompiledPolicy,
    in_force: Option<PolicyVersion>,
    at: Timestamp,
}

impl Trial {
    /// What binds everybody: the floor of the policy in force joined with that of the draft, so that no draft loosens it.
    fn floor(&self) -> How {
        let draft = &self.policy().floor;
        self.in_force.as_ref().map_or_else(|| draft.clone(), |version| version.policy.floor.join(draft))
    }

    fn policy(&self) -> &Policy {
        self.draft.policy()
    }

    fn is_own(&self, past: &history::Past) -> bool {
        past.who.participant == self.dataset.id.owner
    }

    fn judge<'a>(
        &'a self,
        compiled: &'a CompiledPolicy,
        who: &'a crate::policy::Attributes,
        services: &'a Services,
    ) -> Judge<'a> {
        Judge { compiled, who, at: self.at, dataset: &self.dataset, services }
    }
}
