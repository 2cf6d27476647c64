//! Comparisons and simulations of policies between the API and the use cases.

use super::{
    convert::{self, messages},
    names, pb, policy_document as document,
};
use crate::{
    audit::Committed,
    domain::Text,
    error::Result,
    policy::{
        Difference, DifferenceKind,
        diff::{Direction, TermChange},
        explain::{Step, Unlock},
        pointer,
    },
    service::{Comparison, Flip, FlipKind, PolicyChoice, Simulation, SimulationRequest},
};

messages! {
    /// Sorts of differences.
    kind_message DifferenceKind => pb::DifferenceKind {
        Gained => Gained, Lost => Lost, Tightened => Tightened, Loosened => Loosened, Changed => Changed,
    }
    /// Ways in which a use comes out otherwise.
    flip_kind_message FlipKind => pb::FlipKind { Gains => Gains, Loses => Loses, Changes => Changes }
}

/// Which policy is meant.
pub(super) fn choice(field: &'static str, choice: Option<pb::PolicyChoice>) -> Result<PolicyChoice> {
    use pb::policy_choice::Choice;
    Ok(match convert::present(field, choice.and_then(|choice| choice.choice))? {
        Choice::Name(name) => {
            let (dataset, version) = names::policy(field, &name)?;
            PolicyChoice::Version(dataset, Some(version))
        }
        Choice::InForceOf(dataset) => PolicyChoice::Version(names::dataset(field, &dataset)?, None),
        Choice::Policy(policy) => PolicyChoice::Document(Box::new(document::policy(policy)?)),
    })
}

/// A comparison for the wire.
pub(super) fn comparison_message(compared: Comparison) -> pb::ComparePoliciesResponse {
    pb::ComparePoliciesResponse {
        old_digest: compared.old.to_string(),
        new_digest: compared.new.to_string(),
        differences: compared.differences.into_iter().map(difference_message).collect(),
    }
}

/// A difference for the wire.
fn difference_message(difference: Difference) -> pb::Difference {
    pb::Difference {
        kind: kind_message(difference.kind),
        rule: difference.rule.map(|rule| rule.to_string()).unwrap_or_default(),
        path: pointer(&difference.path),
        message: Some(text_message(difference.text)),
    }
}

/// A text in both languages for the wire.
pub(super) fn text_message(text: Text) -> pb::LocalizedText {
    pb::LocalizedText { fr: text.fr, en: text.en }
}

/// What to simulate.
pub(super) fn simulation(asked: pb::SimulatePolicyRequest) -> Result<SimulationRequest> {
    let instant = |field, at: Option<prost_types::Timestamp>| at.map(|at| convert::instant(field, &at)).transpose();
    Ok(SimulationRequest {
        policy: choice("policy", asked.policy)?,
        since: convert::present("since_time", instant("since_time", asked.since_time)?)?,
        until: instant("until_time", asked.until_time)?,
        at: instant("evaluate_time", asked.evaluate_time)?,
    })
}

/// A simulation for the wire.
pub(super) fn simulation_message(simulated: Simulation, committed: &Committed) -> pb::SimulatePolicyResponse {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let in_force = simulated.in_force.map(|version| names::policy_name(&version.policy.dataset, version.version));
    pb::SimulatePolicyResponse {
        policy_digest: simulated.policy.to_string(),
        in_force: in_force.unwrap_or_default(),
        flips: simulated.flips.into_iter().map(flip_message).collect(),
        unchanged: count(simulated.unchanged),
        access_requests: count(simulated.replayed.requests),
        grants: count(simulated.replayed.grants),
        queries: count(simulated.replayed.queries),
        truncated: simulated.replayed.truncated,
        assumptions: simulated.assumptions.into_iter().map(text_message).collect(),
        receipt: Some(convert::receipt_of(committed)),
    }
}

fn flip_message(flip: Flip) -> pb::Flip {
    let rule = flip.rule_after.as_ref().or(flip.rule_before.as_ref()).map(ToString::to_string).unwrap_or_default();
    pb::Flip {
        participant: names::participant_name(&flip.participant),
        kind: flip_kind_message(flip.kind),
        action: convert::action_message(flip.action),
        purpose: flip.purpose.map(|purpose| purpose.to_string()).unwrap_or_default(),
        effective_time: flip.after.map(convert::timestamp),
        terms: flip.terms.into_iter().map(|change| term_message(change, &rule)).collect(),
        rule_before: flip.rule_before.map(|rule| rule.to_string()).unwrap_or_default(),
        rule_after: flip.rule_after.map(|rule| rule.to_string()).unwrap_or_default(),
        columns_gained: flip.columns_gained,
        columns_lost: flip.columns_lost,
        rows_before: flip.rows_before,
        rows_after: flip.rows_after,
        access_requests: flip.evidence.requests.iter().map(|id| format!("accessRequests/{id}")).collect(),
        grants: flip.evidence.grants.iter().map(|id| format!("grants/{id}")).collect(),
        permitted_queries: flip.evidence.permitted,
        denied_queries: flip.evidence.denied,
        last_time: flip.evidence.last.map(convert::timestamp),
    }
}

fn term_message(change: TermChange, rule: &str) -> pb::Difference {
    let kind = match change.direction {
        Direction::Tighter => DifferenceKind::Tightened,
        Direction::Looser => DifferenceKind::Loosened,
        Direction::Other => DifferenceKind::Changed,
    };
    pb::Difference {
        kind: kind_message(kind),
        rule: rule.to_owned(),
        path: pointer(&change.path),
        message: Some(text_message(change.text)),
    }
}

/// What would unlock a use, for the wire.
pub(super) fn unlock_message(unlock: Unlock) -> pb::Unlock {
    let mut message = pb::Unlock {
        message: Some(text_message(unlock.text())),
        rule: unlock.rule.to_string(),
        ..pb::Unlock::default()
    };
    for step in unlock.steps {
        match step {
            Step::Action(action) => message.action = convert::action_message(action),
            Step::Accreditations(all) => message.accreditations = all.into_iter().collect(),
            Step::Roles(roles) => message.roles = roles.into_iter().map(convert::role_message).collect(),
            Step::Columns(columns) => message.columns = columns.into_iter().collect(),
            Step::Purposes(purposes) => message.purposes = purposes.iter().map(ToString::to_string).collect(),
            Step::From(at) => message.from_time = Some(convert::timestamp(at)),
        }
    }
    message
}
