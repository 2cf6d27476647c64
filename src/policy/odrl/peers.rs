//! What a peer's connector gets to see: one Offer for each permission, and a grant as an Agreement.
//!
//! EDC reads ODRL in its own way: every permission of a policy must hold, actions and targets are never compared, a
//! prohibition without constraints is ignored, several constraints of one are an `or`, and a constraint whose left
//! operand no function is bound to is dropped. So each permission is an Offer of its own with every prohibition of the
//! policy, and the owner is told what such a peer will not hold. The hub itself never decides by these documents.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::{
    constraints,
    export::{heading, nodes_of},
    node::refuse,
    terms::{GRANT, PARTICIPANT, context, iri, policy_iri, without_context},
};
use crate::{
    domain::{Action, Digest, Effect, Grant, LegalBasis, Policy, Rule, Timestamp, Vocabulary, Window},
    error::Result,
    policy::{
        check::{Finding, Severity},
        explain::as_read_by,
    },
};

/// What a connector of a peer can be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// One Offer for each rule that permits a use, in the policy's order, to be put into a message of the Dataspace
    /// Protocol: without a context, every term that is not that protocol's an absolute IRI.
    pub offers: Vec<Json>,
    /// What a peer that decides by EDC's rules will not hold, and other things that its owner should know.
    pub warnings: Vec<Finding>,
}

/// The policy as Offers for peers; one-way, since the floor is joined into each of them.
///
/// `digest` is that of the whole policy, of which `policy` may be what a participant may read.
pub fn to_offers(policy: &Policy, digest: Digest, vocabulary: &Vocabulary) -> Result<Offers> {
    let id = policy_iri(digest);
    let prohibitions = prohibitions(policy, vocabulary)?;
    let (mut offers, mut warnings) = (Vec::new(), Vec::new());
    for (position, rule) in policy.rules.iter().enumerate() {
        let path = format!("rules[{position}]");
        warnings.extend(self::warnings(&path, rule, policy, vocabulary)?);
        let mut offered = Rule { how: rule.how.join(&policy.floor), ..rule.clone() };
        offered.actions.remove(&Action::Discover);
        if rule.effect == Effect::Deny || offered.actions.is_empty() {
            continue;
        }
        let mut offer = heading("Offer", policy);
        offer.insert("@id".to_owned(), format!("{id}#{}", rule.id).into());
        add(&mut offer, "permission", nodes_of(&offered, vocabulary)?);
        add(&mut offer, "prohibition", prohibitions.clone());
        offers.push(without_context(&Json::Object(offer)));
    }
    Ok(Offers { offers, warnings })
}

/// A grant as an ODRL Agreement between its parties: the terms as agreed, which are narrower than the rule's, with
/// every prohibition of its policy that is about the grantee. Other participants are none of the parties' matter. A document of the profile, not signed: the grant's own signed form is its JWS.
pub fn to_agreement(grant: &Grant, policy: &Policy, vocabulary: &Vocabulary) -> Result<Json> {
    let rules = policy.rules.iter().filter_map(|rule| as_read_by(&grant.grantee, rule.clone())).collect();
    let policy = &Policy { rules, ..policy.clone() };
    let rule = policy.rule(grant.rule.as_str()).filter(|rule| rule.effect == Effect::Permit).cloned();
    let rule = rule.ok_or_else(|| refuse("rules", "the policy has no such permission"))?;
    let agreed = Rule {
        actions: [grant.action].into(),
        columns: grant.columns.clone(),
        purposes: [grant.purpose.clone()].into(),
        legal_basis: Some(grant.legal_basis),
        when: within(&rule.when, Window { from: Some(grant.valid_from), until: Some(grant.valid_until) })?,
        how: rule.how.join(&policy.floor),
        duties: grant.duties.clone(),
        ..rule
    };
    let mut agreement = heading("Agreement", policy);
    agreement.insert("@context".to_owned(), context().clone());
    agreement.insert("@id".to_owned(), format!("{GRANT}{}", grant.id).into());
    agreement.insert("assignee".to_owned(), format!("{PARTICIPANT}{}", grant.grantee).into());
    agreement.insert("timestamp".to_owned(), agreed_at(grant).to_string().into());
    agreement.insert("policy".to_owned(), format!("{}#{}", policy_iri(grant.policy), grant.rule).into());
    add(&mut agreement, "permission", nodes_of(&agreed, vocabulary)?);
    add(&mut agreement, "prohibition", prohibitions(policy, vocabulary)?);
    Ok(Json::Object(agreement))
}

fn prohibitions(policy: &Policy, vocabulary: &Vocabulary) -> Result<Vec<Map<String, Json>>> {
    let denies = policy.rules.iter().filter(|rule| rule.effect == Effect::Deny);
    Ok(denies.map(|rule| nodes_of(rule, vocabulary)).collect::<Result<Vec<_>>>()?.concat())
}

fn add(document: &mut Map<String, Json>, key: &str, nodes: Vec<Map<String, Json>>) {
    if !nodes.is_empty() {
        document.insert(key.to_owned(), nodes.into_iter().map(Json::Object).collect());
    }
}

/// When the grant was made: the instant in its id (UUIDv7).
fn agreed_at(grant: &Grant) -> Timestamp {
    let made = grant.id.uuid().get_timestamp().map(|made| made.to_unix());
    let micros = made.and_then(|(seconds, nanos)| {
        i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
    });
    micros.map_or(grant.valid_from, Timestamp::from_micros)
}

/// The parts of the windows that lie in `span`.
fn within(windows: &[Window], span: Window) -> Result<Vec<Window>> {
    if windows.is_empty() {
        return Ok(vec![span]);
    }
    let cut = |window: &Window| Window {
        from: window.from.max(span.from),
        until: [window.until, span.until].into_iter().flatten().min(),
    };
    let left: Vec<_> = windows.iter().map(cut).filter(|w| w.from.zip(w.until).is_none_or(|(a, b)| a < b)).collect();
    // An empty list would mean always.
    if left.is_empty() { Err(refuse("when", "the rule applies at no time of the grant")) } else { Ok(left) }
}

/// What a peer that decides by EDC's rules makes of one rule.
fn warnings(path: &str, rule: &Rule, policy: &Policy, vocabulary: &Vocabulary) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut warn = |message_en: String, message_fr: String| {
        found.push(Finding { severity: Severity::Warning, path: path.to_owned(), message_en, message_fr });
    };
    let asks = rule.who.is_anyone() && rule.columns.is_all() && rule.purposes.is_empty() && rule.when.is_empty();
    match rule.effect {
        Effect::Deny if asks => {
            warn(
                "EDC ignores a prohibition without constraints: such a peer will not hold it".to_owned(),
                "EDC ignore une interdiction sans contrainte : un tel pair ne l'appliquera pas".to_owned(),
            );
        }
        Effect::Deny => {
            warn(
                "EDC does not compare actions: such a peer applies this prohibition to every use".to_owned(),
                "EDC ne compare pas les actions : un tel pair étend cette interdiction à tout usage".to_owned(),
            );
        }
        Effect::Permit if rule.actions.iter().all(|action| *action == Action::Discover) => {
            warn(
                "it permits discovery alone, so it is no offer: a peer says that in the access policy of its catalog"
                    .to_owned(),
                "elle ne permet que la découverte, ce n'est donc pas une offre : un pair le dit dans la politique \
                 d'accès de son catalogue"
                    .to_owned(),
            );
            return Ok(found);
        }
        Effect::Permit => {}
    }
    let how = rule.how.join(&policy.floor);
    if rule.effect == Effect::Permit && (!how.is_empty() || rule.legal_basis == Some(LegalBasis::Consent)) {
        warn(
            "filters, masks, group sizes, caps, privacy and consent are enforced where the hub answers queries; a peer \
             that hands out the bytes enforces none of them"
                .to_owned(),
            "filtres, masques, tailles de groupe, plafonds, confidentialité et consentement s'appliquent là où le hub \
             répond ; un pair qui livre les octets n'en applique aucun"
                .to_owned(),
        );
    }
    let mut operands = BTreeSet::new();
    let constraints = constraints::write(&Rule { how, ..rule.clone() }, vocabulary)?;
    for constraint in &constraints {
        left_operands(constraint, &mut operands);
    }
    if !operands.is_empty() {
        let names = operands.into_iter().collect::<Vec<_>>().join(", ");
        warn(
            format!("EDC drops constraints that no function is bound to; a peer must bind: {names}"),
            format!(
                "EDC abandonne les contraintes qu'aucune fonction ne traite ; un pair doit en lier une à : {names}"
            ),
        );
    }
    if !rule.duties.is_empty() {
        warn(
            "duties are recorded: neither the hub nor EDC enforces them".to_owned(),
            "les devoirs sont consignés : ni le hub ni EDC ne les font respecter".to_owned(),
        );
    }
    Ok(found)
}

/// The left operands of some constraints, as absolute IRIs.
fn left_operands(json: &Json, names: &mut BTreeSet<String>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| left_operands(item, names)),
        Json::Object(fields) => match fields.get("leftOperand").and_then(Json::as_str) {
            Some(name) => {
                names.insert(iri(name));
            }
            None => fields.values().for_each(|value| left_operands(value, names)),
        },
        _ => {}
    }
}
