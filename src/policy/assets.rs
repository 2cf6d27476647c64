//! The files of `policies/` as the hub embeds them: one binary carries all it decides by.

/// The casbin model of hub roles.
pub const HUB_MODEL: &str = include_str!("../../policies/hub/model.conf");
/// The role templates.
pub const HUB_POLICY: &str = include_str!("../../policies/hub/policy.csv");
/// The decisions that must hold whenever memberships are loaded.
pub const HUB_CASES: &str = include_str!("../../policies/hub/cases.csv");
/// The casbin model of usage rules.
pub const USAGE_MODEL: &str = include_str!("../../policies/usage/model.conf");
/// The purposes of use.
pub const PURPOSES: &str = include_str!("../../policies/vocab/purposes.csv");
/// The text of the first charter, Markdown, French and English; its SHA-256 is what participants sign.
pub const CHARTER_V1: &str = include_str!("../../policies/charter/v1.md");

/// The JSON-LD context of the hub's ODRL profile.
pub const ODRL_CONTEXT: &str = include_str!("../../policies/profile/context.jsonld");
/// The profile itself: its terms and what they mean, RDF in Turtle.
pub const ODRL_PROFILE: &str = include_str!("../../policies/profile/profile.ttl");
/// The JSON Schema of a document of the profile.
pub const ODRL_SCHEMA: &str = include_str!("../../policies/profile/schema.json");

/// A usage policy to start from.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// Its name, for the CLI.
    pub name: &'static str,
    /// The manifest, YAML, for the dataset `owner.dataset`.
    pub text: &'static str,
}

/// Every template.
pub const TEMPLATES: [Template; 4] = [
    Template { name: "open_licence", text: include_str!("../../policies/templates/open_licence.yaml") },
    Template { name: "research_aggregates", text: include_str!("../../policies/templates/research_aggregates.yaml") },
    Template { name: "named_partner", text: include_str!("../../policies/templates/named_partner.yaml") },
    Template { name: "public_statistics", text: include_str!("../../policies/templates/public_statistics.yaml") },
];
