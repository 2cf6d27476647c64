//! The attacks: each a query and how it must end. Numbers are those of the catalogue of known attacks that the design
//! is measured against; a variant carries the number of what it varies.

mod escape;
mod groups;
mod joins;
mod rows;
mod small;

/// An attack.
#[derive(Debug)]
pub(super) struct Case {
    /// What it is a case of.
    pub(super) number: u8,
    /// How it ends, on every neighbour.
    pub(super) expected: Expected,
    /// The query.
    pub(super) sql: &'static str,
}

/// How a query ends.
#[derive(Debug)]
pub(super) enum Expected {
    /// With an answer, which is the same on every neighbour.
    Answer,
    /// With `QUERY_REJECTED`, naming this rule.
    Rejected(&'static str),
}

/// Every attack, by family.
pub(super) const CASES: [&[Case]; 8] = [
    rows::BELOW_THE_FILTER,
    rows::UNDER_THE_MASK,
    rows::HIDDEN_COLUMNS,
    groups::AGGREGATES_ONLY,
    groups::TOTAL,
    small::BELOW_K,
    joins::CROSSINGS,
    escape::ESCAPES,
];

/// An attack that gets an answer, and learns nothing from it.
const fn ok(number: u8, sql: &'static str) -> Case {
    Case { number, expected: Expected::Answer, sql }
}

/// An attack that is rejected by a rule.
const fn no(number: u8, rule: &'static str, sql: &'static str) -> Case {
    Case { number, expected: Expected::Rejected(rule), sql }
}
