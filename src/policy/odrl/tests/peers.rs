//! What peers get: one Offer a permission, an Agreement for a grant, and the owner's warnings.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{super::*, *};
use crate::domain::{
    AccessRequestId, Action, Columns, Duty, Effect, Grant, GrantId, GrantState, LegalBasis, MemberId, Timestamp,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn grant(policy: &Policy) -> Grant {
    let made = at("2026-02-01T09:30:00Z");
    Grant {
        id: GrantId::generate(made),
        access_request: AccessRequestId::generate(made),
        grantee: "irit".parse().unwrap(),
        dataset: policy.dataset.clone(),
        policy: policy.digest(),
        rule: "research".parse().unwrap(),
        action: Action::Aggregate,
        columns: Columns::Only(BTreeSet::from(["age".to_owned()])),
        purpose: "scientific_research".parse().unwrap(),
        legal_basis: LegalBasis::Consent,
        duties: vec![Duty::NoReidentification],
        valid_from: at("2026-06-01"),
        valid_until: at("2028-06-01"),
        state: GrantState::Active,
        decided_by: MemberId::generate(made),
        jws: String::new(),
        revision: 1,
    }
}

/// Every name that stands where a term is expected.
fn terms<'a>(json: &'a Json, found: &mut Vec<&'a str>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| terms(item, found)),
        Json::Object(fields) if fields.get("@type").is_none_or(|kind| kind != "@json") => {
            for (key, value) in fields {
                found.push(key);
                if key == "leftOperand" || key == "action" {
                    found.extend(value.as_str());
                }
                terms(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn each_permission_of_a_use_is_an_offer_of_its_own_with_every_prohibition() {
    let Offers { offers, .. } = to_offers(&rich(), rich().digest(), &VOCABULARY).unwrap();
    assert_eq!(offers.len(), 1, "discovery alone is no offer");
    let offer = &offers[0];
    assert_eq!(offer["@id"], format!("urn:odh:policy:{}#research", rich().digest()));
    assert_eq!((offer["permission"].as_array().unwrap().len(), offer["prohibition"].as_array().unwrap().len()), (2, 3));
    let constrained = offer["prohibition"].as_array().unwrap().iter().filter_map(|rule| rule.get("constraint"));
    for constraint in constrained {
        assert!(
            constraint.as_array().unwrap().len() == 1 && constraint[0].get("and").is_some(),
            "EDC takes a list for an `or`"
        );
    }
    let text = offer.to_string();
    assert!(text.contains("patient"), "the floor is joined in");
}

#[test]
fn an_offer_needs_no_context_beyond_that_of_the_dataspace_protocol() {
    // The terms of its context inside a policy, and the keywords.
    let known = [
        "@id",
        "@type",
        "@value",
        "@language",
        "profile",
        "target",
        "assigner",
        "permission",
        "prohibition",
        "duty",
        "constraint",
        "and",
        "or",
        "action",
        "leftOperand",
        "operator",
        "rightOperand",
    ];
    for offer in to_offers(&rich(), rich().digest(), &VOCABULARY).unwrap().offers {
        let mut found = Vec::new();
        terms(&offer, &mut found);
        for name in found {
            assert!(known.contains(&name) || name.starts_with("http") || name.starts_with("urn:odh:"), "{name}");
        }
    }
}

#[test]
fn the_owner_is_told_what_such_a_peer_will_not_hold() {
    let Offers { warnings, .. } = to_offers(&rich(), rich().digest(), &VOCABULARY).unwrap();
    let said = |path: &str, what: &str| warnings.iter().any(|w| w.path == path && w.message_en.contains(what));
    assert!(said("rules[2]", "ignores a prohibition without constraints"));
    assert!(said("rules[0]", "does not compare actions"));
    assert!(said("rules[1]", "enforced where the hub answers"));
    assert!(
        said("rules[1]", "urn:odh:odrl#organisationKind") && said("rules[0]", "http://www.w3.org/ns/odrl/2/industry")
    );
    assert!(said("rules[1]", "neither the hub nor EDC"));
    assert!(said("rules[3]", "no offer"));
    assert!(warnings.iter().all(|warning| !warning.message_fr.is_empty()));
    let open = Policy {
        rules: vec![crate::domain::Rule { actions: [Action::Read].into(), ..rich().rules[3].clone() }],
        floor: crate::domain::How::default(),
        ..rich()
    };
    let quiet = to_offers(&open, open.digest(), &VOCABULARY).unwrap();
    assert_eq!((quiet.offers.len(), quiet.warnings.len()), (1, 1), "a window alone: {:?}", quiet.warnings);
}

#[test]
fn an_agreement_states_the_terms_as_agreed() {
    let policy = rich();
    let grant = grant(&policy);
    let agreement = to_agreement(&grant, &policy, &VOCABULARY).unwrap();
    assert_eq!(agreement["@type"], "Agreement");
    assert_eq!(agreement["assigner"], "urn:odh:participant:chu");
    assert_eq!(agreement["assignee"], "urn:odh:participant:irit");
    assert_eq!(agreement["timestamp"], "2026-02-01T09:30:00.000000Z");
    assert_eq!(agreement["policy"], format!("urn:odh:policy:{}#research", policy.digest()));
    let permissions = agreement["permission"].as_array().unwrap();
    assert_eq!((permissions.len(), &permissions[0]["action"]), (1, &"odh:aggregate".into()));
    let text = permissions[0].to_string();
    for said in ["2026-06-01T00:00:00", "2027-01-01T00:00:00", "2028-01-01T00:00:00", "2028-06-01T00:00:00", "patient"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("AcademicResearch") && !text.contains("2026-01-01"));
    assert_eq!(agreement["prohibition"].as_array().unwrap().len(), 3);
}

#[test]
fn an_agreement_outside_the_times_of_its_rule_is_not_one_for_ever() {
    let policy = rich();
    let elsewhere = Grant { valid_from: at("2027-02-01"), valid_until: at("2027-03-01"), ..grant(&policy) };
    assert_eq!(pointer(&to_agreement(&elsewhere, &policy, &VOCABULARY).unwrap_err()), "when");
    let of_a_deny = Grant { rule: "closed".parse().unwrap(), ..grant(&policy) };
    assert_eq!(policy.rule("closed").unwrap().effect, Effect::Deny);
    assert!(to_agreement(&of_a_deny, &policy, &VOCABULARY).is_err());
}
