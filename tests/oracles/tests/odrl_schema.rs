//! What the hub writes in ODRL, judged by the Dataspace Protocol's own JSON Schemas, by the profile's, and by a JSON-LD
//! processor.

#[path = "../../../src/policy/testing.rs"]
#[expect(dead_code, reason = "the analysis and the comparison of policies use the rest")]
mod testing;

mod conformance;

use boon::{Compiler, SchemaIndex, Schemas};
use odh::domain;
use odh::{
    domain::{Grant, GrantId, Policy, PurposeSlug, Timestamp, Vocabulary},
    policy::{
        assets::{ODRL_PROFILE, ODRL_SCHEMA, TEMPLATES},
        manifest,
        odrl::{from_odrl, to_agreement, to_odrl, to_offers},
        vocabulary,
    },
};
use oxjsonld::JsonLdParser;
use oxrdf::{Graph, NamedNode, NamedNodeRef, TermRef, vocab::rdf};
use oxttl::TurtleParser;
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use serde_json::{Value as Json, json};

const RICH: &str = include_str!("../../../src/policy/odrl/tests/rich.yaml");
const CONTRACT: &str = "https://w3id.org/dspace/2025/1/negotiation/contract-schema.json";

fn words() -> Vocabulary {
    vocabulary::load().unwrap()
}

fn purposes() -> Vec<PurposeSlug> {
    words().purposes().map(|purpose| purpose.slug.clone()).collect()
}

fn policies() -> Vec<Policy> {
    TEMPLATES.iter().map(|template| template.text).chain([RICH]).map(|text| manifest::parse(text).unwrap()).collect()
}

/// Schemas that have been compiled.
struct Judge {
    schemas: Schemas,
    indexes: Vec<SchemaIndex>,
}

impl Judge {
    fn new(resources: &[(&str, Json)], places: &[&str]) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        for (url, json) in resources {
            compiler.add_resource(url, json.clone()).unwrap();
        }
        let indexes = places.iter().map(|place| compiler.compile(place, &mut schemas).unwrap()).collect();
        Self { schemas, indexes }
    }

    /// The Dataspace Protocol's: any policy, an Offer of a message, an Offer of a catalog, an offer message, an
    /// agreement message. None if they are not at hand.
    fn of_the_dataspace_protocol() -> Option<Self> {
        let folder = conformance::folder("dataspace-protocol")?;
        let read = |path: &str| -> Json { serde_json::from_slice(&std::fs::read(folder.join(path)).unwrap()).unwrap() };
        let files = [
            "negotiation/contract-schema.json",
            "negotiation/contract-offer-message-schema.json",
            "negotiation/contract-agreement-message-schema.json",
            "common/context-schema.json",
        ]
        .map(read);
        let resources: Vec<_> = files.iter().map(|file| (file["$id"].as_str().unwrap(), file.clone())).collect();
        let message = format!("{CONTRACT}#/definitions/MessageOffer");
        let offer = format!("{CONTRACT}#/definitions/Offer");
        Some(Self::new(&resources, &[CONTRACT, &message, &offer, resources[1].0, resources[2].0]))
    }

    fn of_the_profile() -> Self {
        let schema: Json = serde_json::from_str(ODRL_SCHEMA).unwrap();
        let id = schema["$id"].as_str().unwrap().to_owned();
        Self::new(&[(&id, schema)], &[&id])
    }

    fn accepts(&self, index: usize, json: &Json) -> Result<(), String> {
        self.schemas.validate(json, self.indexes[index]).map_err(|error| format!("{error:#}\n{json:#}"))
    }
}

fn message(kind: &str, key: &str, policy: &Json) -> Json {
    json!({
        "@context": ["https://w3id.org/dspace/2025/1/context.jsonld"],
        "@type": kind,
        "providerPid": "urn:uuid:018f1e7c-0000-7000-8000-000000000001",
        "consumerPid": "urn:uuid:018f1e7c-0000-7000-8000-000000000002",
        key: policy,
    })
}

#[test]
fn every_export_is_valid_against_the_dataspace_protocol() {
    let Some(judge) = Judge::of_the_dataspace_protocol() else { return };
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() });
    let check = |policy: &Policy| -> Result<(), String> {
        let document = to_odrl(policy, &words()).unwrap();
        judge.accepts(0, &document)?;
        judge.accepts(1, &document)?;
        for mut offer in to_offers(policy, policy.digest(), &words()).unwrap().offers {
            judge.accepts(0, &offer)?;
            judge.accepts(3, &message("ContractOfferMessage", "offer", &offer))?;
            // A catalog's offers are about the dataset that they stand in.
            offer.as_object_mut().unwrap().remove("target");
            judge.accepts(2, &offer)?;
        }
        Ok(())
    };
    runner.run(&testing::any_policy(purposes()), |policy| check(&policy).map_err(TestCaseError::fail)).unwrap();
    policies().iter().try_for_each(check).unwrap();
}

#[test]
fn an_agreement_is_valid_against_the_dataspace_protocol() {
    let Some(judge) = Judge::of_the_dataspace_protocol() else { return };
    let policy = manifest::parse(RICH).unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let rule = policy.rule("research").unwrap();
    let grant = Grant {
        id: GrantId::generate(at("2026-02-01")),
        access_request: odh::domain::AccessRequestId::generate(at("2026-02-01")),
        grantee: "irit".parse().unwrap(),
        dataset: policy.dataset.clone(),
        policy: policy.digest(),
        rule: rule.id.clone(),
        action: odh::domain::Action::Read,
        columns: rule.columns.clone(),
        purpose: "scientific_research".parse().unwrap(),
        legal_basis: odh::domain::LegalBasis::Consent,
        duties: rule.duties.clone(),
        valid_from: at("2026-03-01"),
        valid_until: at("2026-09-01"),
        state: odh::domain::GrantState::Active,
        decided_by: odh::domain::MemberId::generate(at("2026-02-01")),
        jws: String::new(),
        revision: 1,
    };
    let agreement = to_agreement(&grant, &policy, &words()).unwrap();
    judge.accepts(0, &agreement).unwrap();
    judge.accepts(4, &message("ContractAgreementMessage", "agreement", &agreement)).unwrap();
}

#[test]
fn the_schemas_do_refuse_what_is_wrong() {
    let Some(judge) = Judge::of_the_dataspace_protocol() else { return };
    let good = to_odrl(&manifest::parse(RICH).unwrap(), &words()).unwrap();
    for (place, value) in [
        ("/@type", json!("Set")),
        ("/permission", json!([])),
        ("/permission/0/action", json!({ "@id": "odrl:read" })),
        ("/permission/0/constraint/0/operator", json!("is")),
        ("/permission/0/constraint/0/rightOperand", json!(1)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        assert!(judge.accepts(0, &bad).is_err(), "{place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_hub_writes_or_reads_the_profiles_schema_accepts(
        policy in testing::any_policy(purposes()),
        which: Index,
        other in testing::any_policy(purposes()),
        from: Index,
    ) {
        let judge = Judge::of_the_profile();
        let document = to_odrl(&policy, &words()).unwrap();
        judge.accepts(0, &document).map_err(TestCaseError::fail)?;
        // A part of another document in place of one of this one: if the hub reads that, the schema must.
        let mut mixed = document.clone();
        mixed["@id"] = json!("urn:x");
        let places = leaves(&mixed);
        let others = leaves(&to_odrl(&other, &words()).unwrap());
        let (place, _) = which.get(&places).clone();
        *mixed.pointer_mut(&place).unwrap() = from.get(&others).1.clone();
        if from_odrl(&mixed.to_string(), &words()).is_ok() {
            judge.accepts(0, &mixed).map_err(TestCaseError::fail)?;
        }
    }
}

/// Every value outside the context, with its pointer.
fn leaves(json: &Json) -> Vec<(String, Json)> {
    fn walk(json: &Json, pointer: String, out: &mut Vec<(String, Json)>) {
        out.push((pointer.clone(), json.clone()));
        match json {
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, format!("{pointer}/{index}"), out);
                }
            }
            Json::Object(fields) => {
                for (key, value) in fields.iter().filter(|(key, _)| *key != "@context") {
                    walk(value, format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), out);
                }
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(json, String::new(), &mut out);
    out.remove(0);
    out
}

#[test]
fn the_profiles_schema_refuses_what_the_hub_refuses() {
    let judge = Judge::of_the_profile();
    let good = to_odrl(&manifest::parse(RICH).unwrap(), &words()).unwrap();
    judge.accepts(0, &good).unwrap();
    for (place, value) in [
        ("/conflict", json!("perm")),
        ("/profile", json!("urn:x")),
        ("/permission/0/action", json!("use")),
        ("/permission/0/constraint/0/leftOperand", json!("spatial")),
        ("/permission/0/constraint/0/operator", json!("isAllOf")),
        ("/permission/0/duty/0", json!({ "action": "compensate" })),
        ("/prohibition/0/duty", json!([{ "action": "odh:noReidentification" }])),
        ("/floor/0/leftOperand", json!("purpose")),
        ("/inheritFrom", json!("urn:x")),
    ] {
        let mut bad = good.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match bad.pointer_mut(parent).unwrap() {
            Json::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            parent => parent[key] = value,
        }
        assert!(judge.accepts(0, &bad).is_err(), "{place}");
        assert!(from_odrl(&bad.to_string(), &words()).is_err(), "{place}");
    }
}

fn graph(json: &Json) -> Graph {
    let mut graph = Graph::new();
    for quad in JsonLdParser::new().for_slice(json.to_string().as_bytes()) {
        let quad = quad.unwrap();
        graph.insert(oxrdf::TripleRef::new(&quad.subject, &quad.predicate, &quad.object));
    }
    graph
}

fn odrl(term: &str) -> NamedNode {
    NamedNode::new(format!("http://www.w3.org/ns/odrl/2/{term}")).unwrap()
}

fn odh(term: &str) -> NamedNode {
    NamedNode::new(format!("urn:odh:odrl#{term}")).unwrap()
}

/// A processor that knows nothing of the hub reads every term: offline, as an IRI of ODRL or of the profile.
#[test]
fn a_json_ld_processor_reads_every_term_of_a_document() {
    for policy in policies() {
        let document = to_odrl(&policy, &words()).unwrap();
        let graph = graph(&document);
        let id = NamedNode::new(document["@id"].as_str().unwrap()).unwrap();
        assert!(graph.contains(oxrdf::TripleRef::new(&id, rdf::TYPE, &odrl("Offer"))));
        assert!(graph.contains(oxrdf::TripleRef::new(&id, &odrl("conflict"), &odrl("prohibit"))));
        let rules = |term: &str| graph.objects_for_subject_predicate(&id, &odrl(term)).count();
        assert_eq!(rules("permission") + rules("prohibition"), policy.rules.len(), "nodes of one rule are one rule");
        let left = odrl("leftOperand");
        let left: Vec<_> = graph.triples_for_predicate(&left).map(|triple| triple.object).collect();
        let written = document.to_string().matches("\"leftOperand\"").count();
        assert!(!left.is_empty() || written == 0);
        for term in left {
            let TermRef::NamedNode(name) = term else { panic!("{term}") };
            let known =
                ["http://www.w3.org/ns/odrl/2/", "urn:odh:odrl#"].iter().any(|ns| name.as_str().starts_with(ns));
            assert!(known, "{name}");
        }
        for triple in &graph {
            let known = ["http://www.w3.org/", "urn:odh:odrl#", "http://purl.org/dc/terms/", "https://w3id.org/dpv#"];
            assert!(known.iter().any(|ns| triple.predicate.as_str().starts_with(ns)), "{triple}");
        }
        assert_eq!(graph.triples_for_predicate(&odh("position")).count(), policy.rules.len());
    }
}

/// The profile is RDF, and says of each term of a document what it is.
#[test]
fn the_profile_declares_every_term_that_is_not_of_odrl() {
    let mut profile = Graph::new();
    for triple in TurtleParser::new().for_slice(ODRL_PROFILE) {
        profile.insert(&triple.unwrap());
    }
    let is_a =
        |term: NamedNodeRef<'_>, class: &NamedNode| profile.contains(oxrdf::TripleRef::new(term, rdf::TYPE, class));
    let document = graph(&to_odrl(&manifest::parse(RICH).unwrap(), &words()).unwrap());
    let mut seen = 0;
    for (predicate, class) in [(odrl("leftOperand"), odrl("LeftOperand")), (odrl("action"), odrl("Action"))] {
        for triple in document.triples_for_predicate(&predicate) {
            let TermRef::NamedNode(term) = triple.object else { panic!("{triple}") };
            if term.as_str().starts_with("urn:odh:") {
                assert!(is_a(term, &class), "{term}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}
