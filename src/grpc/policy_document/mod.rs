//! Policies between the API and the domain: rules here, their limits in `how`.

mod how;

use super::{
    convert::{self, enums},
    names, pb,
};
use crate::{
    domain::{Effect, Policy, Rule, Text, Who, Window},
    error::{Error, Reason, Result},
};

pub(super) use how::{limits_message, mask_message, template_message};

/// An interval for the wire.
pub(super) fn interval_message(interval: crate::domain::Interval) -> i32 {
    how::interval_message(interval)
}

/// Most rules of a policy, windows and duties of a rule, and members of a list.
const MOST_RULES: usize = crate::policy::check::MAX_RULES;
const MOST_WINDOWS: usize = 100;
const MOST_DUTIES: usize = 32;
const MOST_MEMBERS: usize = 1_000;

enums! {
    /// Effects of rules.
    effect_message effect Effect = pb::Effect { Permit => Permit, Deny => Deny }
}

/// A policy from the wire.
pub fn policy(policy: pb::Policy) -> Result<Policy> {
    if policy.rules.is_empty() || policy.rules.len() > MOST_RULES {
        return Err(invalid("/rules", format_args!("not between 1 and {MOST_RULES} rules")));
    }
    Ok(Policy {
        dataset: names::dataset("policy.dataset", &policy.dataset)?,
        rules: policy.rules.into_iter().map(rule).collect::<Result<_>>()?,
        floor: policy.floor.map(how::how).transpose()?.unwrap_or_default(),
    })
}

/// A policy for the wire.
pub fn policy_message(policy: Policy) -> pb::Policy {
    pb::Policy {
        dataset: names::dataset_name(&policy.dataset),
        rules: policy.rules.into_iter().map(rule_message).collect(),
        floor: (!policy.floor.is_empty()).then(|| how::how_message(policy.floor)),
    }
}

fn rule(rule: pb::Rule) -> Result<Rule> {
    if rule.windows.len() > MOST_WINDOWS || rule.duties.len() > MOST_DUTIES {
        let detail = format_args!("more than {MOST_WINDOWS} windows or {MOST_DUTIES} duties");
        return Err(invalid("/rules", detail));
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
        how: rule.how.map(how::how).transpose()?.unwrap_or_default(),
        duties: rule.duties.into_iter().map(convert::duty).collect::<Result<_>>()?,
        text: text(rule.text)?,
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
        how: (!rule.how.is_empty()).then(|| how::how_message(rule.how)),
        duties: rule.duties.into_iter().map(convert::duty_message).collect(),
        text: text_message(rule.text),
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

fn text(text: Option<pb::LocalizedText>) -> Result<Text> {
    let text = text.unwrap_or_default();
    if text.fr.chars().count() > 2_000 || text.en.chars().count() > 2_000 {
        return Err(invalid("/rules", "a text is longer than 2,000 characters"));
    }
    Ok(Text { fr: text.fr, en: text.en })
}

fn text_message(text: Text) -> Option<pb::LocalizedText> {
    (!text.is_empty()).then_some(pb::LocalizedText { fr: text.fr, en: text.en })
}

fn invalid(path: &'static str, detail: impl std::fmt::Display) -> Error {
    Error::new(Reason::PolicyInvalid).with("path", path).with("detail", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Bounds, ColumnType, CompareOp, Duty, Filter, How, Interval, LegalBasis, Mask, Privacy, Role, Template, Value,
    };

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
            privacy: Some(Privacy {
                epsilon: "0.5".parse().unwrap(),
                budget: "5".parse().unwrap(),
                total: "50".parse().unwrap(),
                delta: Some("0.000001".parse().unwrap()),
                max_groups: 3,
                max_rows: 2,
                bounds: [("pay".to_owned(), Bounds { lower: -5, upper: 100 })].into(),
                groups: [("sex".to_owned(), vec![Value::Text("f".to_owned())])].into(),
            }),
            max_rows: Some(1_000),
            max_queries: Some(7),
            rate: [(Interval::Minute, 2), (Interval::Day, 50)].into(),
            no_join_on: ["zip".to_owned()].into(),
            difference_check: true,
            templates: Some(
                [(
                    "by_ward".parse().unwrap(),
                    Template {
                        sql: "select count(*) from chu.stays where ward = $ward".to_owned(),
                        parameters: [("ward".parse().unwrap(), ColumnType::Decimal { precision: 5, scale: 2 })].into(),
                        text: Text { fr: "par service".to_owned(), en: "by ward".to_owned() },
                    },
                )]
                .into(),
            ),
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
