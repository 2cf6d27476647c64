//! Which terms of a policy the hub enforces, and which are duties that it records and shows (P8).
//!
//! Every struct is taken apart field by field, so a term that is added to the model does not compile until it
//! is said here what becomes of it.

use crate::{
    domain::{Duty, How, Mask, Policy, Rule, Text, Who},
    policy::path::key,
};

/// What becomes of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// The hub enforces it.
    Enforced,
    /// The user must see to it; the hub records it in the grant and shows it.
    Duty,
    /// The hub can do neither: the policy cannot be published.
    Refused,
}

/// One term of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Where it stands, for example `rules[0].how.masks.age`.
    pub path: String,
    /// What it is, for example "mask: the first characters".
    pub term: Text,
    /// What becomes of it.
    pub coverage: Coverage,
}

/// Every term of `policy` in its order. Words that only describe (ids, texts) are no terms.
pub fn coverage(policy: &Policy) -> Vec<Covered> {
    let Policy { dataset: _, rules, floor } = policy;
    let mut terms = Terms(Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        terms.rule(&format!("rules[{index}]"), rule);
    }
    terms.how("floor", floor);
    terms.0
}

struct Terms(Vec<Covered>);

impl Terms {
    /// A term, in English and French.
    fn push(&mut self, path: String, (en, fr): (&str, &str), coverage: Coverage) {
        self.0.push(Covered { path, term: Text { en: en.to_owned(), fr: fr.to_owned() }, coverage });
    }

    fn rule(&mut self, path: &str, rule: &Rule) {
        let Rule { id: _, effect: _, actions, who, columns, purposes, legal_basis, when, how, duties, text } = rule;
        let Text { fr: _, en: _ } = text;
        let Who { organisations, kinds, sectors, countries, accreditations, roles } = who;
        for (field, term, absent) in [
            ("actions", ("actions", "actions"), actions.is_empty()),
            ("who.organisations", ("organisations", "organisations"), organisations.is_empty()),
            ("who.kinds", ("kinds of participants", "types de participants"), kinds.is_empty()),
            ("who.sectors", ("sectors", "secteurs"), sectors.is_empty()),
            ("who.countries", ("countries", "pays"), countries.is_empty()),
            ("who.accreditations", ("accreditations", "accréditations"), accreditations.is_empty()),
            ("who.roles", ("roles", "rôles"), roles.is_empty()),
            ("columns", ("columns", "colonnes"), columns.is_all()),
            ("purposes", ("purposes", "finalités"), purposes.is_empty()),
            ("legal_basis", ("legal basis", "base légale"), legal_basis.is_none()),
            ("when", ("validity", "période de validité"), when.is_empty()),
        ] {
            if !absent {
                self.push(format!("{path}.{field}"), term, Coverage::Enforced);
            }
        }
        self.how(&format!("{path}.how"), how);
        for (index, duty) in duties.iter().enumerate() {
            let term = match duty {
                Duty::Attribute(_) => ("attribution to carry along", "mention à porter"),
                Duty::DeleteAfterDays(_) => ("deletion after so many days", "effacement après tant de jours"),
                Duty::NoReidentification => ("no re-identification", "aucune réidentification"),
                Duty::Notify(_) => ("notification", "notification"),
                Duty::ShareAlike => ("share alike", "partage à l'identique"),
            };
            self.push(format!("{path}.duties[{index}]"), term, Coverage::Duty);
        }
    }

    fn how(&mut self, path: &str, how: &How) {
        let How {
            row_filter,
            masks,
            aggregate_only,
            privacy,
            max_rows,
            max_queries,
            rate,
            no_join_on,
            difference_check,
            templates,
            consent_required,
            certificate_required,
        } = how;
        if row_filter.is_some() {
            self.push(format!("{path}.row_filter"), ("row filter", "filtre de lignes"), Coverage::Enforced);
        }
        for (column, mask) in masks {
            let term = match mask {
                Mask::Null => ("mask: no value", "masque : aucune valeur"),
                Mask::Constant(_) => ("mask: a constant", "masque : une constante"),
                Mask::Hmac => ("mask: pseudonyms", "masque : des pseudonymes"),
                Mask::Prefix(_) => ("mask: the first characters", "masque : les premiers caractères"),
                Mask::Year => ("mask: the year", "masque : l'année"),
                Mask::Bucket(_) => ("mask: steps", "masque : des paliers"),
            };
            self.push(format!("{path}.masks{}", key(column)), term, Coverage::Enforced);
        }
        for (field, term, given) in [
            (
                "aggregate_only",
                ("aggregates only, smallest group", "agrégats seulement, plus petit groupe"),
                aggregate_only.is_some(),
            ),
            ("privacy", ("differential privacy", "confidentialité différentielle"), privacy.is_some()),
            ("max_rows", ("rows of an answer", "lignes par réponse"), max_rows.is_some()),
            ("max_queries", ("queries under one grant", "requêtes par accord"), max_queries.is_some()),
            ("rate", ("queries in a span of time", "requêtes par durée"), !rate.is_empty()),
            ("no_join_on", ("columns that no query joins on", "colonnes sans jointure"), !no_join_on.is_empty()),
            ("templates", ("only approved queries", "seulement des requêtes approuvées"), templates.is_some()),
            ("consent_required", ("consent", "consentement"), *consent_required),
            ("certificate_required", ("client certificate", "certificat client"), *certificate_required),
        ] {
            if given {
                self.push(format!("{path}.{field}"), term, Coverage::Enforced);
            }
        }
        if *difference_check {
            let term = ("check against earlier answers", "comparaison aux réponses précédentes");
            self.push(format!("{path}.difference_check"), term, Coverage::Refused);
        }
    }
}
