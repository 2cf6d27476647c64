//! Comparisons and simulations of policies between the API and the use cases.

use super::{
    convert::{self, messages},
    names, pb,
    policy::pointer,
    policy_document as document,
};
use crate::{
    domain::Text,
    error::Result,
    policy::{Difference, DifferenceKind},
    service::{Comparison, PolicyChoice},
};

messages! {
    /// Sorts of differences.
    kind_message DifferenceKind => pb::DifferenceKind {
        Gained => Gained, Lost => Lost, Tightened => Tightened, Loosened => Loosened, Changed => Changed,
    }
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
