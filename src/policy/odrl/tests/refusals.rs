//! What ODRL has and the profile has not, refused where it stands.

use serde_json::{Value as Json, json};

use super::{super::*, mutations::document, *};

/// The first permission alone of its rule, with one member put in.
fn with(key: &str, value: Json) -> Json {
    let mut document = document(&rich());
    let first = document["permission"][0].clone();
    let rest = document["permission"].as_array().unwrap().iter().filter(|node| node["@id"] != first["@id"]);
    document["permission"] = std::iter::once(&first).chain(rest).cloned().collect();
    document["permission"][0][key] = value;
    document
}

fn refused_at(document: &Json, place: &str) {
    let error = from_odrl(&document.to_string(), &VOCABULARY).unwrap_err();
    assert_eq!(pointer(&error), place, "{error}");
}

fn atom(left: &str, operator: &str, right: impl Into<Json>) -> Json {
    json!({ "leftOperand": left, "operator": operator, "rightOperand": right.into() })
}

fn typed(kind: &str, value: &str) -> Json {
    json!({ "@type": kind, "@value": value })
}

#[test]
fn other_kinds_strategies_profiles_contexts_and_parents_of_a_policy_are_refused() {
    for (key, value) in [
        ("conflict", json!("perm")),
        ("conflict", json!("invalid")),
        ("inheritFrom", json!("urn:x")),
        ("obligation", json!([])),
        ("assignee", json!("urn:odh:participant:irit")),
        ("profile", json!("http://www.w3.org/ns/odrl/2/core")),
        ("profile", json!([])),
        ("@type", json!("Set")),
        ("@type", json!("Agreement")),
        ("@context", json!("http://www.w3.org/ns/odrl.jsonld")),
        ("@context", json!(["https://w3id.org/dspace/2025/1/context.jsonld"])),
        ("assigner", json!("urn:odh:participant:irit")),
        ("target", json!("urn:odh:dataset:stays")),
        ("@id", json!("policy")),
        ("@id", json!("urn:x#y")),
    ] {
        let mut document = document(&rich());
        document[key] = value;
        refused_at(&document, &format!("/{key}"));
    }
}

#[test]
fn other_targets_parties_actions_and_duties_of_a_rule_are_refused() {
    for (key, value, below) in [
        ("target", json!("urn:odh:dataset:chu.stays"), ""),
        ("assignee", json!("urn:odh:participant:irit"), ""),
        ("remedy", json!([]), ""),
        ("action", json!("use"), ""),
        ("action", json!("odrl:aggregate"), ""),
        ("action", json!({ "rdf:value": { "@id": "odrl:read" }, "refinement": [] }), ""),
        ("duty", json!([{ "action": "compensate" }]), "/0/action"),
        ("duty", json!([{ "action": "odh:noReidentification", "consequence": [] }]), "/0/consequence"),
        ("duty", json!([{ "action": "delete", "constraint": [] }]), "/0/constraint"),
        ("description", json!({ "de": "Forschung" }), "/de"),
        ("legalBasis", json!("eu-gdpr:A9-2-j"), ""),
        ("position", json!(7), ""),
        ("constraint", json!([]), ""),
    ] {
        refused_at(&with(key, value), &format!("/permission/0/{key}{below}"));
    }
}

#[test]
fn other_operands_operators_and_connectives_are_refused() {
    let one = || typed("xsd:integer", "1");
    let dpv = |name: &str| json!({ "@id": format!("https://w3id.org/dpv#{name}") });
    for (constraint, below) in [
        (atom("spatial", "eq", json!("FR")), "leftOperand"),
        (atom("count", "lt", one()), "operator"),
        (atom("count", "lteq", json!(1)), "rightOperand"),
        (atom("count", "lteq", typed("xsd:integer", "01")), "rightOperand/@value"),
        (atom("count", "lteq", typed("xsd:decimal", "1")), "rightOperand/@type"),
        (atom("dateTime", "lteq", typed("xsd:dateTime", "2026-01-01T00:00:00.000000Z")), "operator"),
        (atom("dateTime", "lt", typed("xsd:dateTime", "2026-01-01")), "rightOperand/@value"),
        (atom("purpose", "isA", dpv("NoSuchPurpose")), "rightOperand/@id"),
        (atom("purpose", "neq", dpv("Marketing")), "operator"),
        (atom("purpose", "isAnyOf", json!([dpv("Marketing")])), "operator"),
        (atom("odh:column", "isAnyOf", json!(["a", "a"])), "rightOperand/1"),
        (atom("odh:organisationKind", "isAnyOf", json!(["laboratory"])), "rightOperand/0"),
        (atom("recipient", "isAnyOf", json!([{ "@id": "urn:x" }])), "rightOperand/0/@id"),
        (atom("odh:consentRequired", "eq", typed("xsd:boolean", "false")), "rightOperand/@value"),
        (json!({ "leftOperand": "count", "operator": "lteq", "rightOperand": one(), "unit": "x" }), "unit"),
        (json!({ "xone": [] }), "xone"),
        (json!({ "andSequence": [] }), "andSequence"),
        (json!({ "and": [] }), "and"),
        (json!({ "or": [] }), "or"),
        (json!({ "or": [{ "and": [atom("count", "lteq", one())] }] }), "or/0/and/0/leftOperand"),
    ] {
        refused_at(&with("constraint", json!([constraint])), &format!("/permission/0/constraint/0/{below}"));
    }
}

#[test]
fn a_refusal_points_into_a_filter_or_mask() {
    let literal = |value: Json| json!({ "@type": "@json", "@value": value });
    let compare = |op: &str, value: Json| json!({ "compare": { "column": "a", "op": op, "value": value } });
    for (left, value, below) in [
        ("odh:rowFilter", json!({ "all": [{ "sql": "1 = 1" }] }), "all/0/sql"),
        ("odh:rowFilter", compare("like", json!(1)), "compare/op"),
        ("odh:rowFilter", compare("eq", json!(1.5)), "compare/value"),
        ("odh:rowFilter", json!({ "not": { "is_null": { "column": "a", "x": 1 } } }), "not/is_null/x"),
        ("odh:mask", json!({ "column": "a", "mask": "blur" }), "mask"),
        ("odh:mask", json!({ "column": "a", "mask": { "prefix": -1 } }), "mask/prefix"),
    ] {
        let document = with("constraint", json!([atom(left, "eq", literal(value))]));
        refused_at(&document, &format!("/permission/0/constraint/0/rightOperand/@value/{below}"));
    }
}

#[test]
fn the_plain_list_of_a_prohibition_is_refused_since_readers_differ() {
    let mut document = document(&rich());
    let inside = document["prohibition"][0]["constraint"][0]["and"].clone();
    document["prohibition"][0]["constraint"] = inside;
    refused_at(&document, "/prohibition/0/constraint/1");
    document["prohibition"][0]["constraint"] = json!([atom("odh:maxRows", "lteq", typed("xsd:integer", "1"))]);
    refused_at(&document, "/prohibition/0/constraint");
}
