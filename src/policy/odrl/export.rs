//! From a policy to its one document of the profile.

use serde_json::{Map, Value as Json, json};

use super::{
    constraints, duties, limits,
    node::refuse,
    terms::{DATASET, LEGAL_BASES, PARTICIPANT, PROFILE, context, policy_iri},
};
use crate::{
    domain::{Action, Effect, Policy, Rule, Text, Vocabulary},
    error::Result,
};

/// The policy as a document of the profile, an ODRL Offer. `POLICY_INVALID` with the path of the term that ODRL has no
/// words for (a deny with limits, a rule without action, no rule, an id twice), which `check` refuses as well;
/// `PURPOSE_UNKNOWN` for a purpose that the vocabulary does not have.
pub fn to_odrl(policy: &Policy, vocabulary: &Vocabulary) -> Result<Json> {
    let Policy { dataset, rules, floor } = policy;
    if rules.is_empty() {
        return Err(refuse("rules", "ODRL has no policy without rules"));
    }
    let id = policy_iri(policy.digest());
    let mut document = Map::new();
    document.insert("@context".to_owned(), context().clone());
    document.insert("@id".to_owned(), id.as_str().into());
    document.extend(heading("Offer", policy));
    for (key, effect) in [("permission", Effect::Permit), ("prohibition", Effect::Deny)] {
        let mut nodes = Vec::new();
        for (position, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.effect == effect) {
            let path = format!("rules[{position}]");
            require_expressible(&path, rule)?;
            if rules[..position].iter().any(|earlier| earlier.id == rule.id) {
                return Err(refuse(path + ".id", "the id of an earlier rule"));
            }
            for mut node in nodes_of(rule, vocabulary)? {
                node.insert("@id".to_owned(), format!("{id}#{}", rule.id).into());
                node.insert("position".to_owned(), position.into());
                nodes.push(Json::Object(node));
            }
        }
        // The Dataspace Protocol's schema knows no empty list.
        if !nodes.is_empty() {
            document.insert(key.to_owned(), nodes.into());
        }
    }
    debug_assert!(document.contains_key("permission") || document.contains_key("prohibition"), "of {dataset}");
    if !floor.is_empty() {
        document.insert("floor".to_owned(), limits::write(floor)?.into());
    }
    Ok(Json::Object(document))
}

/// What every kind of document says first.
pub(super) fn heading(kind: &str, policy: &Policy) -> Map<String, Json> {
    let dataset = &policy.dataset;
    let fields = json!({
        "@type": kind,
        "profile": PROFILE,
        "conflict": "prohibit",
        "target": format!("{DATASET}{dataset}"),
        "assigner": format!("{PARTICIPANT}{}", dataset.owner),
    });
    if let Json::Object(fields) = fields { fields } else { Map::new() }
}

/// One node for each action of a rule, alike in all else: the schema knows no rule of several actions. In RDF they are
/// one rule, since they share their id.
pub(super) fn nodes_of(rule: &Rule, vocabulary: &Vocabulary) -> Result<Vec<Map<String, Json>>> {
    let Rule { id: _, effect: _, actions, legal_basis, duties, text, .. } = rule;
    let mut common = Map::new();
    let constraints = constraints::write(rule, vocabulary)?;
    if !constraints.is_empty() {
        common.insert("constraint".to_owned(), constraints.into());
    }
    if !duties.is_empty() {
        common.insert("duty".to_owned(), duties.iter().map(duties::write).collect());
    }
    if let Some((_, name)) = LEGAL_BASES.iter().find(|(basis, _)| Some(basis) == legal_basis.as_ref()) {
        common.insert("legalBasis".to_owned(), (*name).into());
    }
    let Text { fr, en } = text;
    let said = [("en", en), ("fr", fr)].into_iter().filter(|(_, text)| !text.is_empty());
    let description: Map<_, _> = said.map(|(language, text)| (language.to_owned(), text.as_str().into())).collect();
    if !description.is_empty() {
        common.insert("description".to_owned(), description.into());
    }
    let with_action = |action: &Action| {
        let mut node = common.clone();
        node.insert("action".to_owned(), action_name(*action).into());
        node
    };
    Ok(actions.iter().map(with_action).collect())
}

/// ODRL's own `aggregate` is about collections and not about statistics, so only reading is its word.
pub(super) const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Discover => "odh:discover",
        Action::Read => "read",
        Action::Aggregate => "odh:aggregate",
        Action::Download => "odh:download",
    }
}

fn require_expressible(path: &str, rule: &Rule) -> Result<()> {
    if rule.actions.is_empty() {
        return Err(refuse(format_args!("{path}.actions"), "ODRL has no rule without action"));
    }
    // Its constraints would narrow the prohibition instead of limiting a use.
    let limited = [("how", !rule.how.is_empty()), ("duties", !rule.duties.is_empty())];
    let idle = limited.into_iter().chain([("legal_basis", rule.legal_basis.is_some())]).find(|(_, given)| *given);
    match idle.filter(|_| rule.effect == Effect::Deny) {
        Some((term, _)) => Err(refuse(format_args!("{path}.{term}"), format_args!("a prohibition has no `{term}`"))),
        None => Ok(()),
    }
}
