//! Policies between the API and the domain: rules, limits, filters, masks, and a filter as text.

use std::collections::BTreeMap;

use super::{
    convert::{self, enums},
    names, pb,
};
use crate::{
    domain::{CompareOp, Effect, Filter, How, Mask, Policy, Rule, Text, Value, Who, Window},
    error::{Error, Reason, Result},
};

/// Most rules of a policy, windows and duties of a rule, and members of a list.
const MOST_RULES: usize = 100;
const MOST_WINDOWS: usize = 100;
const MOST_DUTIES: usize = 32;
const MOST_MEMBERS: usize = 1_000;

enums! {
    /// Effects of rules.
    effect_message effect Effect = pb::Effect { Permit => Permit, Deny => Deny }
    /// Comparisons.
    op_message op CompareOp = pb::CompareOp { Eq => Eq, Ne => Ne, Lt => Lt, Le => Le, Gt => Gt, Ge => Ge }
}

/// A policy from the wire.
pub(super) fn policy(policy: pb::Policy) -> Result<Policy> {
    if policy.rules.is_empty() || policy.rules.len() > MOST_RULES {
        return Err(invalid("/rules", format_args!("not between 1 and {MOST_RULES} rules")));
    }
    Ok(Policy {
        dataset: names::dataset("policy.dataset", &policy.dataset)?,
        rules: policy.rules.into_iter().map(rule).collect::<Result<_>>()?,
        floor: policy.floor.map(how).transpose()?.unwrap_or_default(),
    })
}

/// A policy for the wire.
pub(super) fn policy_message(policy: Policy) -> pb::Policy {
    pb::Policy {
        dataset: names::dataset_name(&policy.dataset),
        rules: policy.rules.into_iter().map(rule_message).collect(),
        floor: (!policy.floor.is_empty()).then(|| how_message(policy.floor)),
    }
}

fn rule(rule: pb::Rule) -> Result<Rule> {
    if rule.windows.len() > MOST_WINDOWS || rule.duties.len() > MOST_DUTIES {
        let detail = format_args!("more than {MOST_WINDOWS} windows or {MOST_DUTIES} duties");
        return Err(invalid("/rules", detail));
    }
    let text = rule.text.unwrap_or_default();
    if text.fr.chars().count() > 2_000 || text.en.chars().count() > 2_000 {
        return Err(invalid("/rules", "a text is longer than 2,000 characters"));
    }
    let unstated = pb::LegalBasis::Unspecified as i32;
    Ok(Rule {
        id: rule.id.parse()?,
        effect: effect("effect", rule.effect)?,
        actions: convert::unique("actions", rule.actions.iter().map(|action| convert::action("actions", *action)))?,
        who: rule.who.map(who).transpose()?.unwrap_or_default(),
        columns: convert::columns("columns", rule.columns)?,
        purposes: convert::unique("purposes", rule.purposes.iter().map(|slug| convert::purpose("purposes", slug)))?,
        legal_basis: (rule.legal_basis != unstated)
            .then(|| convert::basis("legal_basis", rule.legal_basis))
            .transpose()?,
        when: rule.windows.iter().map(window).collect::<Result<_>>()?,
        how: rule.how.map(how).transpose()?.unwrap_or_default(),
        duties: rule.duties.into_iter().map(convert::duty).collect::<Result<_>>()?,
        text: Text { fr: text.fr, en: text.en },
    })
}

fn rule_message(rule: Rule) -> pb::Rule {
    pb::Rule {
        id: rule.id.to_string(),
        effect: effect_message(rule.effect),
        actions: rule.actions.into_iter().map(convert::action_message).collect(),
        who: (!rule.who.is_anyone()).then(|| who_message(rule.who)),
        columns: Some(convert::columns_message(rule.columns)),
        purposes: rule.purposes.iter().map(ToString::to_string).collect(),
        legal_basis: rule.legal_basis.map(convert::basis_message).unwrap_or_default(),
        windows: rule.when.iter().map(window_message).collect(),
        how: (!rule.how.is_empty()).then(|| how_message(rule.how)),
        duties: rule.duties.into_iter().map(convert::duty_message).collect(),
        text: (!rule.text.is_empty()).then_some(pb::LocalizedText { fr: rule.text.fr, en: rule.text.en }),
    }
}

fn who(who: pb::Who) -> Result<Who> {
    let lengths = [
        who.organisations.len(),
        who.kinds.len(),
        who.sectors.len(),
        who.countries.len(),
        who.accreditations.len(),
        who.roles.len(),
    ];
    if lengths.iter().any(|length| *length > MOST_MEMBERS) {
        return Err(invalid("/rules", format_args!("a list of `who` has more than {MOST_MEMBERS} members")));
    }
    let participants = who.organisations.iter().map(|name| names::participant("organisations", name));
    Ok(Who {
        organisations: convert::unique("organisations", participants)?,
        kinds: convert::unique("kinds", who.kinds.iter().map(|kind| convert::kind("kinds", *kind)))?,
        sectors: convert::unique("sectors", who.sectors.into_iter().map(Ok))?,
        countries: convert::unique("countries", who.countries.into_iter().map(Ok))?,
        accreditations: convert::unique("accreditations", who.accreditations.into_iter().map(Ok))?,
        roles: convert::unique("roles", who.roles.iter().map(|role| convert::role("roles", *role)))?,
    })
}

fn who_message(who: Who) -> pb::Who {
    pb::Who {
        organisations: who.organisations.iter().map(names::participant_name).collect(),
        kinds: who.kinds.into_iter().map(convert::kind_message).collect(),
        sectors: who.sectors.into_iter().collect(),
        countries: who.countries.into_iter().collect(),
        accreditations: who.accreditations.into_iter().collect(),
        roles: who.roles.into_iter().map(convert::role_message).collect(),
    }
}

fn window(window: &pb::Window) -> Result<Window> {
    let instant =
        |at: &Option<prost_types::Timestamp>| at.as_ref().map(|at| convert::instant("windows", at)).transpose();
    Ok(Window { from: instant(&window.from_time)?, until: instant(&window.until_time)? })
}

fn window_message(window: &Window) -> pb::Window {
    pb::Window { from_time: window.from.map(convert::timestamp), until_time: window.until.map(convert::timestamp) }
}

fn how(how: pb::How) -> Result<How> {
    let masks = how.masks.into_iter().map(|(column, one)| Ok((column, mask(one)?)));
    Ok(How {
        row_filter: how.row_filter.map(|row_filter| filter(row_filter, Filter::MAX_DEPTH)).transpose()?,
        masks: masks.collect::<Result<BTreeMap<_, _>>>()?,
        aggregate_only: how.aggregate_only.map(|only| only.k),
        max_rows: how.max_rows,
        consent_required: how.consent_required,
        certificate_required: how.certificate_required,
    })
}

fn how_message(how: How) -> pb::How {
    pb::How {
        row_filter: how.row_filter.map(filter_message),
        masks: how.masks.into_iter().map(|(column, mask)| (column, mask_message(mask))).collect(),
        aggregate_only: how.aggregate_only.map(|k| pb::AggregateOnly { k }),
        max_rows: how.max_rows,
        certificate_required: how.certificate_required,
        consent_required: how.consent_required,
    }
}

/// Limits for the wire; unset if there are none.
pub(super) fn limits_message(how: How) -> Option<pb::How> {
    (!how.is_empty()).then(|| how_message(how))
}

/// A filter of at most `depth` levels: the message could be nested more deeply than the hub looks.
fn filter(filter: pb::Filter, depth: usize) -> Result<Filter> {
    use pb::filter::Condition;
    let below = depth
        .checked_sub(1)
        .ok_or_else(|| invalid("/how/row_filter", format_args!("it is nested more than {} deep", Filter::MAX_DEPTH)))?;
    let many = |filters: pb::Filters| {
        if filters.filters.is_empty() {
            return Err(invalid("/how/row_filter", "a list of conditions is empty"));
        }
        filters.filters.into_iter().map(|one| self::filter(one, below)).collect::<Result<Vec<_>>>()
    };
    Ok(match convert::present("row_filter", filter.condition)? {
        Condition::Comparison(one) => {
            Filter::Compare { column: one.column, op: op("op", one.op)?, value: convert::value("value", one.value)? }
        }
        Condition::InList(list) => Filter::In {
            column: list.column,
            values: list.values.into_iter().map(|one| convert::value("values", Some(one))).collect::<Result<_>>()?,
        },
        Condition::StartsWith(one) => Filter::StartsWith { column: one.column, prefix: one.prefix },
        Condition::IsNull(column) => Filter::IsNull { column },
        Condition::IsNotNull(column) => Filter::IsNotNull { column },
        Condition::AllOf(filters) => Filter::All(many(filters)?),
        Condition::AnyOf(filters) => Filter::Any(many(filters)?),
        Condition::Negation(one) => Filter::Not(Box::new(self::filter(*one, below)?)),
    })
}

fn filter_message(filter: Filter) -> pb::Filter {
    use pb::filter::Condition;
    let many = |filters: Vec<Filter>| pb::Filters { filters: filters.into_iter().map(filter_message).collect() };
    let condition = match filter {
        Filter::Compare { column, op, value } => Condition::Comparison(pb::Comparison {
            column,
            op: op_message(op),
            value: Some(convert::value_message(value)),
        }),
        Filter::In { column, values } => {
            Condition::InList(pb::InList { column, values: values.into_iter().map(convert::value_message).collect() })
        }
        Filter::StartsWith { column, prefix } => Condition::StartsWith(pb::StartsWith { column, prefix }),
        Filter::IsNull { column } => Condition::IsNull(column),
        Filter::IsNotNull { column } => Condition::IsNotNull(column),
        Filter::All(filters) => Condition::AllOf(many(filters)),
        Filter::Any(filters) => Condition::AnyOf(many(filters)),
        Filter::Not(filter) => Condition::Negation(Box::new(filter_message(*filter))),
    };
    pb::Filter { condition: Some(condition) }
}

fn mask(mask: pb::Mask) -> Result<Mask> {
    use pb::mask::Mask as Wire;
    Ok(match convert::present("masks", mask.mask)? {
        Wire::Null(_) => Mask::Null,
        Wire::Constant(value) => Mask::Constant(convert::value("masks", Some(value))?),
        Wire::Hmac(_) => Mask::Hmac,
        Wire::PrefixLength(length) => Mask::Prefix(length),
        Wire::Year(_) => Mask::Year,
        Wire::BucketWidth(width) => Mask::Bucket(width),
    })
}

/// A mask for the wire.
pub(super) fn mask_message(mask: Mask) -> pb::Mask {
    use pb::mask::Mask as Wire;
    let mask = match mask {
        Mask::Null => Wire::Null(pb::NullMask {}),
        Mask::Constant(value) => Wire::Constant(convert::value_message(value)),
        Mask::Hmac => Wire::Hmac(pb::HmacMask {}),
        Mask::Prefix(length) => Wire::PrefixLength(length),
        Mask::Year => Wire::Year(pb::YearMask {}),
        Mask::Bucket(width) => Wire::BucketWidth(width),
    };
    pb::Mask { mask: Some(mask) }
}

/// A filter in the form of an SQL condition, for a person; never executed.
pub(super) fn filter_text(filter: &Filter) -> String {
    let join = |filters: &[Filter], word: &str| {
        let parts: Vec<String> = filters.iter().map(filter_text).collect();
        format!("({})", parts.join(word))
    };
    match filter {
        Filter::Compare { column, op, value } => format!("{column} {} {}", sign(*op), literal(value)),
        Filter::In { column, values } => {
            let values: Vec<String> = values.iter().map(literal).collect();
            format!("{column} IN ({})", values.join(", "))
        }
        Filter::StartsWith { column, prefix } => format!("starts_with({column}, {})", quoted(prefix)),
        Filter::IsNull { column } => format!("{column} IS NULL"),
        Filter::IsNotNull { column } => format!("{column} IS NOT NULL"),
        Filter::All(filters) => join(filters, " AND "),
        Filter::Any(filters) => join(filters, " OR "),
        Filter::Not(filter) => format!("NOT ({})", filter_text(filter)),
    }
}

const fn sign(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn invalid(path: &'static str, detail: impl std::fmt::Display) -> Error {
    Error::new(Reason::PolicyInvalid).with("path", path).with("detail", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Duty, LegalBasis, Role};

    fn full() -> Policy {
        let conditions = vec![
            Filter::Compare { column: "age".to_owned(), op: CompareOp::Ge, value: Value::Int(18) },
            Filter::In { column: "sex".to_owned(), values: vec![Value::Text("f".to_owned())] },
            Filter::Not(Box::new(Filter::IsNull { column: "ward".to_owned() })),
            Filter::StartsWith { column: "code".to_owned(), prefix: "o'c".to_owned() },
        ];
        let how = How {
            row_filter: Some(Filter::Any(vec![Filter::All(conditions)])),
            masks: [("name", Mask::Hmac), ("born", Mask::Year), ("zip", Mask::Prefix(2)), ("pay", Mask::Bucket(100))]
                .map(|(column, mask)| (column.to_owned(), mask))
                .into(),
            aggregate_only: Some(10),
            max_rows: Some(1_000),
            consent_required: true,
            certificate_required: true,
        };
        Policy {
            dataset: "chu.stays".parse().unwrap(),
            rules: vec![Rule {
                id: "research".parse().unwrap(),
                effect: Effect::Permit,
                actions: [crate::domain::Action::Aggregate].into(),
                who: Who { roles: [Role::Requester].into(), countries: ["FR".to_owned()].into(), ..Who::default() },
                columns: crate::domain::Columns::Only(["age".to_owned()].into()),
                purposes: ["scientific_research".parse().unwrap()].into(),
                legal_basis: Some(LegalBasis::PublicInterest),
                when: vec![Window { from: Some("2026-01-01".parse().unwrap()), until: None }],
                how: how.clone(),
                duties: vec![Duty::NoReidentification],
                text: Text { fr: "recherche".to_owned(), en: "research".to_owned() },
            }],
            floor: how,
        }
    }

    #[test]
    fn a_policy_round_trips_with_its_digest() {
        let read = policy(policy_message(full())).unwrap();
        assert_eq!(read, full());
        assert_eq!(read.digest(), full().digest());
    }

    #[test]
    fn a_filter_is_shown_as_a_condition() {
        let shown = filter_text(full().floor.row_filter.as_ref().unwrap());
        assert_eq!(shown, "((age >= 18 AND sex IN ('f') AND NOT (ward IS NULL) AND starts_with(code, 'o''c')))");
    }

    #[test]
    fn a_filter_that_is_nested_too_deeply_or_empty_is_refused() {
        let mut deep = Filter::IsNull { column: "a".to_owned() };
        for _ in 0..Filter::MAX_DEPTH {
            deep = Filter::Not(Box::new(deep));
        }
        assert!(filter(filter_message(deep), Filter::MAX_DEPTH).is_err());
        assert!(filter(filter_message(Filter::All(Vec::new())), Filter::MAX_DEPTH).is_err());
        assert!(filter(pb::Filter::default(), Filter::MAX_DEPTH).is_err());
    }

    #[test]
    fn what_is_not_stated_is_refused() {
        let mut message = policy_message(full());
        message.rules[0].effect = 0;
        assert!(policy(message).is_err());
        let mut message = policy_message(full());
        message.rules[0].how.as_mut().unwrap().masks.insert("age".to_owned(), pb::Mask::default());
        assert!(policy(message).is_err());
        assert!(policy(pb::Policy { rules: Vec::new(), ..policy_message(full()) }).is_err());
    }
}
