//! The words of the profile: names, namespaces, and the spelling that needs no context.
//!
//! A document of the profile carries its context and uses its short names. A peer that knows only the Dataspace
//! Protocol's context gets the same words as absolute IRIs, since it drops or misreads a name that it has no IRI for.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json, json};

use crate::{
    domain::{Digest, LegalBasis},
    policy::assets::ODRL_CONTEXT,
};

/// The profile, as `profile` names it.
pub(super) const PROFILE: &str = "urn:odh:odrl:profile:1";
/// Where the hub's own terms live.
const ODH: &str = "urn:odh:odrl#";
/// The ODRL vocabulary.
const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
/// The Data Privacy Vocabulary.
const DPV: &str = "https://w3id.org/dpv#";
/// Its terms for the GDPR.
const GDPR: &str = "https://w3id.org/dpv/legal/eu/gdpr#";
/// Creative Commons, whose actions ODRL names among its own.
const CC: &str = "http://creativecommons.org/ns#";
/// A description in words, as a property without context.
const DESCRIPTION: &str = "http://purl.org/dc/terms/description";

/// A dataset, followed by `owner.name`.
pub(super) const DATASET: &str = "urn:odh:dataset:";
/// A participant, followed by its id.
pub(super) const PARTICIPANT: &str = "urn:odh:participant:";
/// A grant, followed by its UUID.
pub(super) const GRANT: &str = "urn:odh:grant:";
/// A policy, followed by its digest.
const POLICY: &str = "urn:odh:policy:";

/// The policy of this digest.
pub(super) fn policy_iri(digest: Digest) -> String {
    format!("{POLICY}{digest}")
}

/// The digest that a policy's IRI states; none if it is an IRI of another kind.
pub(super) fn stated_digest(iri: &str) -> Option<&str> {
    iri.strip_prefix(POLICY)
}

/// Declares the left operands with their spelling in the profile.
macro_rules! left_operands {
    ($($variant:ident $name:literal;)+) => {
        /// What a constraint is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Left { $($variant,)+ }

        impl Left {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

left_operands! {
    Recipient "recipient";
    Kind "odh:organisationKind";
    Industry "industry";
    Country "odh:organisationCountry";
    Accreditation "odh:accreditation";
    Role "odh:personRole";
    Column "odh:column";
    Purpose "purpose";
    DateTime "dateTime";
    RowFilter "odh:rowFilter";
    Mask "odh:mask";
    MinimumGroupSize "odh:minimumGroupSize";
    DifferentialPrivacy "odh:differentialPrivacy";
    MaxRows "odh:maxRows";
    Count "count";
    QueriesPerMinute "odh:queriesPerMinute";
    QueriesPerHour "odh:queriesPerHour";
    QueriesPerDay "odh:queriesPerDay";
    JoinColumn "odh:joinColumn";
    DifferenceCheck "odh:differenceCheck";
    Template "odh:template";
    ConsentRequired "odh:consentRequired";
    CertificateRequired "odh:certificateRequired";
}

impl Left {
    /// The left operand of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|left| left.as_str() == name)
    }
}

/// The legal basis in the words of DPV, which has none for data that is not personal.
pub(super) const LEGAL_BASES: [(LegalBasis, &str); 7] = [
    (LegalBasis::Consent, "eu-gdpr:A6-1-a"),
    (LegalBasis::Contract, "eu-gdpr:A6-1-b"),
    (LegalBasis::LegalObligation, "eu-gdpr:A6-1-c"),
    (LegalBasis::VitalInterests, "eu-gdpr:A6-1-d"),
    (LegalBasis::PublicInterest, "eu-gdpr:A6-1-e"),
    (LegalBasis::LegitimateInterests, "eu-gdpr:A6-1-f"),
    (LegalBasis::NotPersonal, "odh:NotPersonalData"),
];

/// The context that every document of the profile carries, so that any JSON-LD 1.1 processor reads it offline.
pub(super) fn context() -> &'static Json {
    static CONTEXT: LazyLock<Json> = LazyLock::new(|| {
        let file: Json = serde_json::from_str(ODRL_CONTEXT).unwrap_or_default();
        file.get("@context").cloned().unwrap_or_default()
    });
    &CONTEXT
}

/// A name of the profile as an absolute IRI; one that is absolute stays as it is.
pub(super) fn iri(name: &str) -> String {
    match name.split_once(':') {
        None => format!("{ODRL}{name}"),
        Some(("odh", local)) => format!("{ODH}{local}"),
        Some(("dpv", local)) => format!("{DPV}{local}"),
        Some(("eu-gdpr", local)) => format!("{GDPR}{local}"),
        Some(("cc", local)) => format!("{CC}{local}"),
        Some(_) => name.to_owned(),
    }
}

/// The same rule or policy for a reader that has the Dataspace Protocol's context and not the profile's.
pub(super) fn without_context(json: &Json) -> Json {
    match json {
        Json::Array(items) => items.iter().map(without_context).collect(),
        // A JSON literal is data: nothing inside it is a term.
        Json::Object(fields) if fields.get("@type").is_some_and(|kind| kind == "@json") => json.clone(),
        Json::Object(fields) => Json::Object(fields.iter().filter_map(|(key, value)| field(key, value)).collect()),
        other => other.clone(),
    }
}

fn field(key: &str, value: &Json) -> Option<(String, Json)> {
    let name = || Json::from(iri(value.as_str().unwrap_or_default()));
    Some(match key {
        // Only the hub counts places.
        "@context" | "position" => return None,
        "leftOperand" | "action" => (key.to_owned(), name()),
        "conflict" => (iri(key), json!({ "@id": name() })),
        "legalBasis" => (iri("dpv:hasLegalBasis"), json!({ "@id": name() })),
        "policy" => (iri("odh:policy"), json!({ "@id": name() })),
        "description" => (DESCRIPTION.to_owned(), languages(value.as_object())),
        _ => (key.to_owned(), without_context(value)),
    })
}

fn languages(map: Option<&Map<String, Json>>) -> Json {
    map.into_iter().flatten().map(|(language, text)| json!({ "@language": language, "@value": text })).collect()
}
