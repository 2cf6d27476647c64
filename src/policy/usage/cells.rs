//! How a typed rule is written into the text columns of a casbin row.
//!
//! A cell is `*` (anything) or a list joined with `|`. Every text is escaped by an injective function to
//! `[A-Za-z0-9._:/-]` and `%XX`, so no text can end a cell, add a member, be a `*` or be read as code, whatever
//! it holds; both sides of each comparison are escaped and neither is ever unescaped.

use std::fmt::Write as _;

use crate::domain::{Columns, Effect, Rule, Window};

/// Anything.
pub(super) const ANY: &str = "*";
/// Between members of a list.
pub(super) const SEPARATOR: char = '|';
/// Between the two instants of a window.
pub(super) const SPAN: char = '~';
/// `p.eft` of a permit, in casbin's words.
pub(super) const ALLOW: &str = "allow";
/// `p.eft` of a deny.
pub(super) const DENY: &str = "deny";

/// The EU's member states (ISO 3166-1 alpha-2), which a rule names together as `EU`.
pub(in crate::policy) const EU: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// The row of a rule, in the order of `policy_definition` in `policies/usage/model.conf`.
pub(super) fn row(rule: &Rule) -> Vec<String> {
    let who = &rule.who;
    let countries = who.countries.iter().flat_map(|c| if c == "EU" { EU.to_vec() } else { vec![c.as_str()] });
    vec![
        escape(rule.id.as_str()),
        actions(rule),
        any_or(who.organisations.iter().map(|o| escape(o.as_str()))),
        any_or(who.kinds.iter().map(|kind| escape(kind.as_str()))),
        any_or(who.sectors.iter().map(|sector| escape(sector))),
        any_or(countries.map(escape)),
        any_or(who.accreditations.iter().map(|accreditation| escape(accreditation))),
        any_or(who.roles.iter().map(|role| escape(role.as_str()))),
        match &rule.columns {
            Columns::All => ANY.to_owned(),
            Columns::Only(names) => list(names.iter().map(|name| escape(name))),
        },
        any_or(rule.purposes.iter().map(|purpose| escape(purpose.as_str()))),
        any_or(rule.when.iter().map(window)),
        match rule.effect {
            Effect::Permit => ALLOW,
            Effect::Deny => DENY,
        }
        .to_owned(),
    ]
}

/// Injective: different texts stay different, and the result holds none of the characters that have a meaning.
pub(super) fn escape(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            let _ = write!(out, "{byte:02X}");
        }
    }
    out
}

fn actions(rule: &Rule) -> String {
    list(rule.effective_actions().iter().map(|action| action.as_str().to_owned()))
}

fn window(window: &Window) -> String {
    let micros = |bound: Option<crate::domain::Timestamp>| bound.map(|at| at.micros().to_string()).unwrap_or_default();
    format!("{}{SPAN}{}", micros(window.from), micros(window.until))
}

/// An empty set asks for nothing.
fn any_or(members: impl Iterator<Item = String>) -> String {
    let cell = list(members);
    if cell.is_empty() { ANY.to_owned() } else { cell }
}

fn list(members: impl Iterator<Item = String>) -> String {
    members.collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_text_has_no_meaning_and_stays_distinct() {
        let hostile = ["", "*", "|", "a|b", "a,b", "\"", "#", "r.q", "%", "%25", "~", "é", "a b", "\n", "`${x}`"];
        let escaped: std::collections::BTreeSet<_> = hostile.iter().map(|text| escape(text)).collect();
        assert_eq!(escaped.len(), hostile.len());
        for text in escaped {
            assert!(!text.is_empty() && text != ANY);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-%".contains(&b)), "{text}");
        }
    }
}
