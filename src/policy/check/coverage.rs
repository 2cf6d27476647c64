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
    /// What it is, for example `mask prefix`.
    pub term: String,
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
    fn enforced(&mut self, path: String, term: &str) {
        self.0.push(Covered { path, term: term.to_owned(), coverage: Coverage::Enforced });
    }

    fn refused(&mut self, path: String, term: &str) {
        self.0.push(Covered { path, term: term.to_owned(), coverage: Coverage::Refused });
    }

    fn rule(&mut self, path: &str, rule: &Rule) {
        let Rule { id: _, effect: _, actions, who, columns, purposes, legal_basis, when, how, duties, text } = rule;
        let Text { fr: _, en: _ } = text;
        let Who { organisations, kinds, sectors, countries, accreditations, roles } = who;
        let asked = [
            ("actions", "actions", actions.is_empty()),
            ("who.organisations", "organisations", organisations.is_empty()),
            ("who.kinds", "kinds", kinds.is_empty()),
            ("who.sectors", "sectors", sectors.is_empty()),
            ("who.countries", "countries", countries.is_empty()),
            ("who.accreditations", "accreditations", accreditations.is_empty()),
            ("who.roles", "roles", roles.is_empty()),
            ("columns", "columns", columns.is_all()),
            ("purposes", "purposes", purposes.is_empty()),
            ("legal_basis", "legal basis", legal_basis.is_none()),
            ("when", "validity", when.is_empty()),
        ];
        for (field, term, _) in asked.into_iter().filter(|(.., absent)| !absent) {
            self.enforced(format!("{path}.{field}"), term);
        }
        self.how(&format!("{path}.how"), how);
        for (index, duty) in duties.iter().enumerate() {
            let term = match duty {
                Duty::Attribute(_) => "attribute",
                Duty::DeleteAfterDays(_) => "delete after days",
                Duty::NoReidentification => "no re-identification",
                Duty::Notify(_) => "notify",
                Duty::ShareAlike => "share alike",
            };
            let path = format!("{path}.duties[{index}]");
            self.0.push(Covered { path, term: term.to_owned(), coverage: Coverage::Duty });
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
            self.enforced(format!("{path}.row_filter"), "row filter");
        }
        for (column, mask) in masks {
            let term = match mask {
                Mask::Null => "mask null",
                Mask::Constant(_) => "mask constant",
                Mask::Hmac => "mask hmac",
                Mask::Prefix(_) => "mask prefix",
                Mask::Year => "mask year",
                Mask::Bucket(_) => "mask bucket",
            };
            self.enforced(format!("{path}.masks{}", key(column)), term);
        }
        if aggregate_only.is_some() {
            self.enforced(format!("{path}.aggregate_only"), "aggregates only, smallest group");
        }
        if max_rows.is_some() {
            self.enforced(format!("{path}.max_rows"), "rows per answer");
        }
        for (field, term, given) in [
            ("privacy", "differential privacy", privacy.is_some()),
            ("max_queries", "queries under one grant", max_queries.is_some()),
            ("rate", "queries in a span of time", !rate.is_empty()),
            ("no_join_on", "columns that no query joins on", !no_join_on.is_empty()),
            ("templates", "only approved queries", templates.is_some()),
        ] {
            if given {
                self.enforced(format!("{path}.{field}"), term);
            }
        }
        if *difference_check {
            self.refused(format!("{path}.difference_check"), "difference from earlier answers");
        }
        if *consent_required {
            self.enforced(format!("{path}.consent_required"), "consent required");
        }
        if *certificate_required {
            self.enforced(format!("{path}.certificate_required"), "certificate required");
        }
    }
}
