//! Reads `policies/hub`: role templates and the decisions that must hold after each load.
//!
//! Lines are split at commas and trimmed; nothing is quoted. A family, act or effect that the hub does not know
//! is refused, since a misspelt line would otherwise silently never match.

use super::acts::{Act, Family};
use crate::error::{Error, Result};

/// One line `p, role, family, act, effect`, as casbin wants it.
pub(super) fn rows(text: &str) -> Result<Vec<Vec<String>>> {
    lines(text)
        .map(|(number, fields)| {
            let ["p", role, family, act, effect] = fields[..] else {
                return Err(malformed(number, "not `p, role, family, act, effect`"));
            };
            if !role.starts_with("role:") || !matches!(effect, "allow" | "deny") {
                return Err(malformed(number, "role or effect"));
            }
            let (family, act): (Family, Act) = (family.parse()?, act.parse()?);
            Ok([role, family.as_str(), act.as_str(), effect].map(str::to_owned).to_vec())
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
