//! Reads `policies/hub`: role templates and the decisions that must hold after each load.
//!
//! Lines are split at commas and trimmed; nothing is quoted. A family, act or effect that the hub does not know
//! is refused, since a misspelt line would otherwise silently never match.

use std::{collections::BTreeSet, fmt};

use super::acts::{Act, Family};
use crate::error::{Error, Result};

/// What one template says of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Row {
    /// With its prefix.
    role: String,
    family: Family,
    act: Act,
    /// False is a deny.
    pub(in crate::policy) allows: bool,
}

impl Row {
    /// The columns of `policy_definition`.
    pub(super) fn cells(&self) -> Vec<String> {
        let effect = if self.allows { "allow" } else { "deny" };
        [&self.role, self.family.as_str(), self.act.as_str(), effect].map(str::to_owned).to_vec()
    }

    /// Whether it says something about an act of somebody with these roles.
    pub(in crate::policy) fn is_about(&self, roles: &BTreeSet<String>, family: Family, act: Act) -> bool {
        self.family == family && self.act == act && roles.contains(&self.role)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.role.trim_start_matches("role:"), self.act, self.family)
    }
}

/// The lines `p, role, family, act, effect`.
pub(super) fn rows(text: &str) -> Result<Vec<Row>> {
    lines(text)
        .map(|(number, fields)| {
            let ["p", role, family, act, effect] = fields[..] else {
                return Err(malformed(number, "not `p, role, family, act, effect`"));
            };
            if !role.starts_with("role:") || !matches!(effect, "allow" | "deny") {
                return Err(malformed(number, "role or effect"));
            }
            Ok(Row { role: role.to_owned(), family: family.parse()?, act: act.parse()?, allows: effect == "allow" })
        })
        .collect()
}

/// One decision that must hold.
#[derive(Debug)]
pub(super) struct Case {
    /// The templates' names without prefix.
    pub(super) roles: Vec<String>,
    /// `hub`, `selftest` or another domain.
    pub(super) domain: String,
    pub(super) family: Family,
    pub(super) act: Act,
    pub(super) allowed: bool,
}

/// The lines `roles, domain, family, act, effect`.
pub(super) fn cases(text: &str) -> Result<Vec<Case>> {
    lines(text)
        .map(|(number, fields)| {
            let [roles, domain, family, act, effect] = fields[..] else {
                return Err(malformed(number, "not `roles, domain, family, act, effect`"));
            };
            Ok(Case {
                roles: roles.split('+').map(str::to_owned).collect(),
                domain: domain.to_owned(),
                family: family.parse()?,
                act: act.parse()?,
                allowed: match effect {
                    "allow" => true,
                    "deny" => false,
                    _ => return Err(malformed(number, "effect")),
                },
            })
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| (number, line.split(',').map(str::trim).collect()))
}

fn malformed(line: usize, what: &str) -> Error {
    Error::invalid("hub policy", format!("line {line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_line_is_refused() {
        for bad in [
            "p, role:steward, dataset, create",
            "p, steward, dataset, create, allow",
            "p, role:steward, datasets, create, allow",
            "p, role:steward, dataset, make, allow",
            "p, role:steward, dataset, create, Allow",
            "p, role:steward, dataset, create, allow, ",
            "g, role:steward, dataset, create, allow",
        ] {
            assert!(rows(bad).is_err(), "{bad}");
        }
        assert_eq!(rows("# a\n\n p, role:steward, dataset,create ,allow").unwrap().len(), 1);
    }
}
