//! A policy as it was read from a manifest, in the form of the API.

use prost_types::Timestamp as WireTimestamp;

use crate::{
    domain::{
        Action, Columns, CompareOp, Duty, Effect, Filter, How, Kind, LegalBasis, Mask, Policy, Role, Rule, Timestamp,
        Value, Who, Window,
    },
    grpc::pb,
};

/// The policy as a message.
pub(super) fn policy(policy: &Policy) -> pb::Policy {
    let Policy { dataset, rules, floor } = policy;
    pb::Policy {
        dataset: format!("participants/{}/datasets/{}", dataset.owner, dataset.name),
        rules: rules.iter().map(rule).collect(),
        floor: (!floor.is_empty()).then(|| how(floor)),
    }
}

fn rule(rule: &Rule) -> pb::Rule {
    let Rule { id, effect, actions, who, columns, purposes, legal_basis, when, how, duties, text } = rule;
    let effect = match effect {
        Effect::Permit => pb::Effect::Permit,
        Effect::Deny => pb::Effect::Deny,
    };
    pb::Rule {
        id: id.to_string(),
        effect: effect.into(),
        actions: actions.iter().map(|action| self::action(*action).into()).collect(),
        who: (!who.is_anyone()).then(|| self::who(who)),
        columns: self::columns(columns),
        purposes: purposes.iter().map(|purpose| purpose.as_str().to_owned()).collect(),
        legal_basis: legal_basis.map_or(pb::LegalBasis::Unspecified, self::legal_basis).into(),
        windows: when.iter().map(window).collect(),
        how: (!how.is_empty()).then(|| self::how(how)),
        duties: duties.iter().map(duty).collect(),
        text: (!text.is_empty()).then(|| pb::LocalizedText { fr: text.fr.clone(), en: text.en.clone() }),
    }
}

const fn action(action: Action) -> pb::Action {
    match action {
        Action::Discover => pb::Action::Discover,
        Action::Read => pb::Action::Read,
        Action::Aggregate => pb::Action::Aggregate,
    }
}

fn who(who: &Who) -> pb::Who {
    let Who { organisations, kinds, sectors, countries, accreditations, roles } = who;
    let kind = |kind: &Kind| match kind {
        Kind::Company => pb::ParticipantKind::Company.into(),
        Kind::Lab => pb::ParticipantKind::Lab.into(),
        Kind::PublicBody => pb::ParticipantKind::PublicBody.into(),
    };
    let role = |role: &Role| match role {
        Role::Operator => pb::Role::Operator.into(),
        Role::ParticipantAdmin => pb::Role::ParticipantAdmin.into(),
        Role::Steward => pb::Role::Steward.into(),
        Role::Requester => pb::Role::Requester.into(),
        Role::Auditor => pb::Role::Auditor.into(),
    };
    pb::Who {
        organisations: organisations.iter().map(|id| format!("participants/{id}")).collect(),
        kinds: kinds.iter().map(kind).collect(),
        sectors: sectors.iter().cloned().collect(),
        countries: countries.iter().cloned().collect(),
        accreditations: accreditations.iter().cloned().collect(),
        roles: roles.iter().map(role).collect(),
    }
}

fn columns(columns: &Columns) -> Option<pb::Columns> {
    match columns {
        Columns::All => None,
        Columns::Only(names) => {
            let names = pb::ColumnNames { names: names.iter().cloned().collect() };
            Some(pb::Columns { selection: Some(pb::columns::Selection::Only(names)) })
        }
    }
}

const fn legal_basis(basis: LegalBasis) -> pb::LegalBasis {
    match basis {
        LegalBasis::Consent => pb::LegalBasis::Consent,
        LegalBasis::Contract => pb::LegalBasis::Contract,
        LegalBasis::LegalObligation => pb::LegalBasis::LegalObligation,
        LegalBasis::VitalInterests => pb::LegalBasis::VitalInterests,
        LegalBasis::PublicInterest => pb::LegalBasis::PublicInterest,
        LegalBasis::LegitimateInterests => pb::LegalBasis::LegitimateInterests,
        LegalBasis::NotPersonal => pb::LegalBasis::NotPersonal,
    }
}

fn window(window: &Window) -> pb::Window {
    let Window { from, until } = window;
    pb::Window { from_time: from.map(timestamp), until_time: until.map(timestamp) }
}

fn timestamp(at: Timestamp) -> WireTimestamp {
    let nanos = at.micros().rem_euclid(1_000_000) * 1_000;
    WireTimestamp { seconds: at.seconds(), nanos: i32::try_from(nanos).unwrap_or_default() }
}

fn how(how: &How) -> pb::How {
    let How { row_filter, masks, aggregate_only, max_rows, certificate_required, consent_required } = how;
    pb::How {
        row_filter: row_filter.as_ref().map(filter),
        masks: masks.iter().map(|(column, mask)| (column.clone(), self::mask(mask))).collect(),
        aggregate_only: aggregate_only.map(|k| pb::AggregateOnly { k }),
        max_rows: *max_rows,
        certificate_required: *certificate_required,
        consent_required: *consent_required,
    }
}

fn mask(mask: &Mask) -> pb::Mask {
    use pb::mask::Mask as Wire;
    let mask = match mask {
        Mask::Null => Wire::Null(pb::NullMask {}),
        Mask::Constant(value) => Wire::Constant(self::value(value)),
        Mask::Hmac => Wire::Hmac(pb::HmacMask {}),
        Mask::Prefix(length) => Wire::PrefixLength(*length),
        Mask::Year => Wire::Year(pb::YearMask {}),
        Mask::Bucket(width) => Wire::BucketWidth(*width),
    };
    pb::Mask { mask: Some(mask) }
}

fn filter(filter: &Filter) -> pb::Filter {
    use pb::filter::Condition;
    let several = |filters: &[Filter]| pb::Filters { filters: filters.iter().map(self::filter).collect() };
    let condition = match filter {
        Filter::Compare { column, op, value } => Condition::Comparison(pb::Comparison {
            column: column.clone(),
            op: compare_op(*op).into(),
            value: Some(self::value(value)),
        }),
        Filter::In { column, values } => {
            Condition::InList(pb::InList { column: column.clone(), values: values.iter().map(value).collect() })
        }
        Filter::StartsWith { column, prefix } => {
            Condition::StartsWith(pb::StartsWith { column: column.clone(), prefix: prefix.clone() })
        }
        Filter::IsNull { column } => Condition::IsNull(column.clone()),
        Filter::IsNotNull { column } => Condition::IsNotNull(column.clone()),
        Filter::All(filters) => Condition::AllOf(several(filters)),
        Filter::Any(filters) => Condition::AnyOf(several(filters)),
        Filter::Not(filter) => Condition::Negation(Box::new(self::filter(filter))),
    };
    pb::Filter { condition: Some(condition) }
}

const fn compare_op(op: CompareOp) -> pb::CompareOp {
    match op {
        CompareOp::Eq => pb::CompareOp::Eq,
        CompareOp::Ne => pb::CompareOp::Ne,
        CompareOp::Lt => pb::CompareOp::Lt,
        CompareOp::Le => pb::CompareOp::Le,
        CompareOp::Gt => pb::CompareOp::Gt,
        CompareOp::Ge => pb::CompareOp::Ge,
    }
}

fn value(value: &Value) -> pb::Value {
    use pb::value::Value as Wire;
    let value = match value {
        Value::Bool(value) => Wire::BoolValue(*value),
        Value::Int(value) => Wire::Int64Value(*value),
        Value::Text(text) => Wire::StringValue(text.clone()),
    };
    pb::Value { value: Some(value) }
}

fn duty(duty: &Duty) -> pb::Duty {
    use pb::duty::Duty as Wire;
    let duty = match duty {
        Duty::Attribute(text) => Wire::Attribute(text.clone()),
        Duty::DeleteAfterDays(days) => Wire::DeleteAfterDays(*days),
        Duty::NoReidentification => Wire::NoReidentification(pb::NoReidentificationDuty {}),
        Duty::Notify(event) => Wire::Notify(event.clone()),
        Duty::ShareAlike => Wire::ShareAlike(pb::ShareAlikeDuty {}),
    };
    pb::Duty { duty: Some(duty) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cli::output::to_json, policy::manifest};

    const RICH: &str = r"
dataset: chu.stays
rules:
  - id: research
    effect: permit
    actions: [read, aggregate]
    who: {organisations: [lab], kinds: [lab], countries: [EU], roles: [requester]}
    columns: {only: [age, commune]}
    purposes: [scientific_research]
    legal_basis: consent
    when: [{from: 1969-12-31T23:59:59.5Z}]
    how:
      row_filter: {all: [{compare: {column: age, op: ge, value: 18}}, {not: {is_null: {column: commune}}}]}
      masks: {commune: {prefix: 2}, age: {bucket: 5}}
      aggregate_only: 10
      certificate_required: true
    duties: [no_reidentification, {delete_after_days: 30}]
floor: {max_rows: 1000, consent_required: true}
";

    #[test]
    fn every_term_of_a_manifest_reaches_the_message() {
        let json = to_json(&policy(&manifest::parse(RICH).unwrap())).unwrap();
        let rule = &json["rules"][0];
        assert_eq!(json["dataset"], "participants/chu/datasets/stays");
        assert_eq!(rule["actions"], json!(["read", "aggregate"]));
        assert_eq!(rule["who"]["organisations"], json!(["participants/lab"]));
        assert_eq!(rule["who"]["kinds"], json!(["lab"]));
        assert_eq!(rule["columns"]["only"]["names"], json!(["age", "commune"]));
        assert_eq!(rule["legal_basis"], "consent");
        assert_eq!(rule["windows"][0]["from_time"], "1969-12-31T23:59:59.500000Z");
        let how = &rule["how"];
        assert_eq!(how["row_filter"]["all_of"]["filters"][0]["comparison"]["value"]["int64_value"], 18);
        assert_eq!(how["row_filter"]["all_of"]["filters"][1]["negation"]["is_null"], "commune");
        assert_eq!(how["masks"], json!({"age": {"bucket_width": 5}, "commune": {"prefix_length": 2}}));
        assert_eq!(how["aggregate_only"]["k"], 10);
        assert_eq!(how["certificate_required"], true);
        assert_eq!(rule["duties"], json!([{"no_reidentification": {}}, {"delete_after_days": 30}]));
        assert_eq!((&json["floor"]["max_rows"], &json["floor"]["consent_required"]), (&json!(1_000), &json!(true)));
    }

    #[test]
    fn what_is_not_said_stays_unset() {
        let text = "dataset: a.b\nrules: [{id: r, effect: deny, actions: [read]}]";
        let policy = policy(&manifest::parse(text).unwrap());
        let rule = &policy.rules[0];
        assert!(policy.floor.is_none() && rule.who.is_none() && rule.columns.is_none() && rule.how.is_none());
        assert_eq!((rule.effect(), rule.legal_basis()), (pb::Effect::Deny, pb::LegalBasis::Unspecified));
    }
}
