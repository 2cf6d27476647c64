//! Policies of the suite, and the pieces to vary them.

use odh::grpc::pb;

use crate::world::{K, RESEARCH};

/// The policy of the restricted dataset: rows and aggregates for research, of subjects who consented; the diagnosis is
/// cut to its first letter and the date of admission is out of reach.
pub(crate) fn stays_policy(dataset: &str) -> pb::Policy {
    let limits = pb::How { masks: [("diagnosis".to_owned(), prefix(1))].into(), ..pb::How::default() };
    let rows = pb::Rule {
        columns: Some(only(&["pid", "commune", "age", "diagnosis", "cost"])),
        legal_basis: pb::LegalBasis::Consent.into(),
        how: Some(limits),
        duties: vec![no_reidentification()],
        ..permit("rows", &[pb::Action::Read], &[RESEARCH])
    };
    let groups = pb::Rule {
        columns: Some(only(&["pid", "commune", "age", "cost"])),
        legal_basis: pb::LegalBasis::Consent.into(),
        how: Some(pb::How { aggregate_only: Some(pb::AggregateOnly { k: K }), ..pb::How::default() }),
        ..permit("groups", &[pb::Action::Aggregate], &[RESEARCH])
    };
    policy(dataset, vec![rows, groups])
}

/// Anyone may read, for anything.
pub(crate) fn open_policy(dataset: &str) -> pb::Policy {
    policy(dataset, vec![permit("anyone", &[pb::Action::Read, pb::Action::Aggregate], &[])])
}

/// A policy of these rules, without a floor.
pub(crate) fn policy(dataset: &str, rules: Vec<pb::Rule>) -> pb::Policy {
    pb::Policy { dataset: dataset.to_owned(), rules, floor: None }
}

/// A rule that permits these actions for these purposes on data that is not personal.
pub(crate) fn permit(id: &str, actions: &[pb::Action], purposes: &[&str]) -> pb::Rule {
    pb::Rule {
        id: id.to_owned(),
        effect: pb::Effect::Permit.into(),
        actions: actions.iter().map(|action| (*action).into()).collect(),
        purposes: purposes.iter().map(|&slug| slug.to_owned()).collect(),
        legal_basis: pb::LegalBasis::NotPersonal.into(),
        ..pb::Rule::default()
    }
}

/// These columns.
pub(crate) fn only(names: &[&str]) -> pb::Columns {
    // The canonical form of a set.
    let names = names.iter().map(|&name| name.to_owned()).collect::<std::collections::BTreeSet<_>>();
    let names = names.into_iter().collect();
    pb::Columns { selection: Some(pb::columns::Selection::Only(pb::ColumnNames { names })) }
}

/// The mask that keeps the first characters.
pub(crate) const fn prefix(length: u32) -> pb::Mask {
    pb::Mask { mask: Some(pb::mask::Mask::PrefixLength(length)) }
}

/// Rows whose integer column is at least this.
pub(crate) fn at_least(column: &str, least: i64) -> pb::Filter {
    let comparison = pb::Comparison {
        column: column.to_owned(),
        op: pb::CompareOp::Ge.into(),
        value: Some(pb::Value { value: Some(pb::value::Value::Int64Value(least)) }),
    };
    pb::Filter { condition: Some(pb::filter::Condition::Comparison(comparison)) }
}

/// The duty not to re-identify.
pub(crate) fn no_reidentification() -> pb::Duty {
    pb::Duty { duty: Some(pb::duty::Duty::NoReidentification(pb::NoReidentificationDuty {})) }
}
