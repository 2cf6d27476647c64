//! From a document of the profile back to the policy; whatever lies outside is refused where it stands.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{
    constraints::{self, Asked, local_name},
    duties,
    export::action_name,
    json,
    node::{Fields, Node, difference, shown},
    terms::{DATASET, LEGAL_BASES, PARTICIPANT, PROFILE, context, policy_iri, stated_digest},
};
use crate::{
    domain::{Action, DatasetId, Effect, LegalBasis, Name, Policy, Rule, Text, Vocabulary},
    error::Result,
};

/// Reads a document of the profile. Refused with `POLICY_INVALID`: `path` is the JSON pointer to the first term that
/// is unknown, missing, out of place or without effect. That it can be read says nothing about its sense; `check` does.
///
/// A document that names a policy's digest as its `@id` must hold that very policy; any other absolute IRI will do.
pub fn from_odrl(text: &str, vocabulary: &Vocabulary) -> Result<Policy> {
    let document = json::parse(text)?;
    let root = Node::root(&document);
    let mut fields = root.fields()?;
    let written = fields.need("@context")?;
    if let Some(pointer) = difference(written.json, context()) {
        return Err(written.refuse_below(&pointer, "not the context of the profile, the only one that is known"));
    }
    let id = fields.need("@id")?;
    require_iri(&id)?;
    fields.need("@type")?.must_be("Offer")?;
    fields.need("profile")?.must_be(PROFILE)?;
    fields.need("conflict")?.must_be("prohibit")?;
    let dataset: DatasetId = local_name(&fields.need("target")?, DATASET)?;
    fields.need("assigner")?.must_be(&format!("{PARTICIPANT}{}", dataset.owner))?;
    let rules = rules(&mut fields, id.text()?, vocabulary)?;
    let floor = fields.take("floor").map(|list| constraints::read_limits(&list)).transpose()?.unwrap_or_default();
    fields.finish()?;
    if rules.is_empty() {
        return Err(root.refuse_below("/permission", "is missing, and so is a prohibition"));
    }
    let policy = Policy { dataset, rules, floor };
    let own = policy_iri(policy.digest());
    if stated_digest(id.text()?).is_some() && id.text()? != own {
        return Err(id.refuse(format_args!("the content is that of `{own}`: a changed policy takes another id")));
    }
    Ok(policy)
}

/// Whether a text looks like ODRL in JSON-LD and not like a manifest.
pub fn is_odrl(text: &str) -> bool {
    text.trim_start().starts_with('{') && text.contains("\"@context\"")
}

fn require_iri(id: &Node<'_>) -> Result<()> {
    let text = id.text()?;
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let absolute = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`#".contains(&b));
    if absolute { Ok(()) } else { Err(id.refuse("an absolute IRI without fragment is expected")) }
}

/// A rule that is being put together from its nodes.
struct Draft<'a> {
    position: u64,
    node: Node<'a>,
    rule: Rule,
}

fn rules(fields: &mut Fields<'_>, policy: &str, vocabulary: &Vocabulary) -> Result<Vec<Rule>> {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for (key, effect) in [("permission", Effect::Permit), ("prohibition", Effect::Deny)] {
        let Some(list) = fields.take(key) else { continue };
        let nodes = list.items()?;
        if nodes.is_empty() {
            return Err(list.refuse("an empty list: leave it out"));
        }
        for node in nodes {
            let id = rule_id(&node, policy)?;
            match drafts.iter_mut().find(|draft| draft.rule.id == id) {
                Some(draft) => another_action(draft, &node, effect)?,
                None => drafts.push(draft(id, node, effect, vocabulary)?),
            }
        }
    }
    let mut taken = vec![false; drafts.len()];
    for draft in &drafts {
        let place = usize::try_from(draft.position).ok().and_then(|position| taken.get_mut(position));
        if place.is_none_or(|place| std::mem::replace(place, true)) {
            return Err(draft.node.refuse_below("/position", "positions count from 0, each once"));
        }
    }
    drafts.sort_by_key(|draft| draft.position);
    Ok(drafts.into_iter().map(|draft| draft.rule).collect())
}

/// The rule's name: what follows the policy's id and `#`.
fn rule_id(node: &Node<'_>, policy: &str) -> Result<Name> {
    let id = node.fields()?.need("@id")?;
    let name = id.text()?.strip_prefix(policy).and_then(|rest| rest.strip_prefix('#'));
    name.and_then(|name| name.parse().ok())
        .ok_or_else(|| id.refuse("not the id of the policy, `#` and the name of a rule"))
}

fn draft<'a>(id: Name, node: Node<'a>, effect: Effect, vocabulary: &Vocabulary) -> Result<Draft<'a>> {
    let mut fields = node.fields()?;
    fields.need("@id")?;
    let action = action(&fields.need("action")?)?;
    let place = fields.need("position")?;
    let position = place.json.as_u64().ok_or_else(|| place.refuse("a number from 0 is expected"))?;
    let constraint = fields.take("constraint");
    let Asked { who, columns, purposes, when, how } = constraints::read(constraint.as_ref(), effect, vocabulary)?;
    if effect == Effect::Deny && !how.is_empty() {
        let place = constraint.unwrap_or_else(|| node.clone());
        return Err(place.refuse("a prohibition limits no use: it has neither filter, mask nor cap"));
    }
    let (mut duties, mut legal_basis) = (Vec::new(), None);
    if effect == Effect::Permit {
        if let Some(list) = fields.take("duty") {
            duties = list.items()?.iter().map(duties::read).collect::<Result<_>>()?;
            if duties.is_empty() {
                return Err(list.refuse("an empty list: leave it out"));
            }
        }
        legal_basis = fields.take("legalBasis").map(|node| self::legal_basis(&node)).transpose()?;
    }
    let text = fields.take("description").map(|node| description(&node)).transpose()?.unwrap_or_default();
    fields.finish()?;
    let actions = BTreeSet::from([action]);
    let rule = Rule { id, effect, actions, who, columns, purposes, legal_basis, when, how, duties, text };
    Ok(Draft { position, node, rule })
}

/// A further node of a rule differs from its first one in the action alone.
fn another_action(draft: &mut Draft<'_>, node: &Node<'_>, effect: Effect) -> Result<()> {
    let action_node = node.fields()?.need("action")?;
    let action = action(&action_node)?;
    if draft.rule.effect != effect {
        return Err(node.refuse_below("/@id", "the name of a permission"));
    }
    let without_action = |json: &Json| {
        let mut fields = json.as_object().cloned().unwrap_or_default();
        fields.remove("action");
        Json::Object(fields)
    };
    if let Some(pointer) = difference(&without_action(node.json), &without_action(draft.node.json)) {
        return Err(node.refuse_below(&pointer, "differs from the same rule with another action"));
    }
    if draft.rule.actions.insert(action) {
        return Ok(());
    }
    Err(action_node.refuse("this rule has this action already"))
}

fn action(node: &Node<'_>) -> Result<Action> {
    let name = node.text()?;
    let known = Action::ALL.into_iter().find(|action| action_name(*action) == name);
    known.ok_or_else(|| node.refuse(format_args!("`{}` is no action of the profile", shown(name))))
}

fn legal_basis(node: &Node<'_>) -> Result<LegalBasis> {
    let name = node.text()?;
    let known = LEGAL_BASES.iter().find(|(_, known)| *known == name).map(|(basis, _)| *basis);
    known.ok_or_else(|| node.refuse(format_args!("`{}` is no legal basis of the profile", shown(name))))
}

fn description(node: &Node<'_>) -> Result<Text> {
    let mut fields = node.fields()?;
    let said = |node: Option<Node<'_>>| -> Result<String> {
        let Some(node) = node else { return Ok(String::new()) };
        match node.text()? {
            "" => Err(node.refuse("an empty text: leave it out")),
            text => Ok(text.to_owned()),
        }
    };
    let text = Text { fr: said(fields.take("fr"))?, en: said(fields.take("en"))? };
    fields.finish()?;
    if text.is_empty() { Err(node.refuse("an empty text: leave it out")) } else { Ok(text) }
}
