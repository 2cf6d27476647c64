//! Filters of lists: comparisons joined by `AND`, a subset of AIP-160 that leaves no room for surprises.
//!
//! What a list does not know is refused, never ignored. A list whose service cannot filter is filtered here, page by
//! page, so that a page may hold fewer items than asked for.

use std::str::FromStr;

use crate::{
    domain::Timestamp,
    error::{Error, Reason, Result},
};

/// Longest filter in characters.
const LONGEST: usize = 2_000;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Equal,
    /// `>=`
    NotBefore,
    /// `<`
    Before,
}

/// A field that is compared by `=`, and whether a text is a value that it can have.
pub type Field = (&'static str, fn(&str) -> bool);

/// Any text.
pub const fn any(_: &str) -> bool {
    true
}

/// What reads as a `T`.
pub fn is<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The field.
    pub field: &'static str,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: String,
}

/// A parsed filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Each of these holds.
    pub terms: Vec<Term>,
}

impl Filter {
    /// Reads a filter of a list that knows `fields`, each compared by `=`, and `times`, compared by `>=` and `<`.
    pub fn parse(text: &str, fields: &[Field], times: &[&'static str]) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if text.chars().count() > LONGEST {
            return Err(invalid(format_args!("it is longer than {LONGEST} characters")));
        }
        let mut rest = text.trim();
        let mut terms = Vec::new();
        loop {
            let (term, after) = Self::term(rest, fields, times)?;
            terms.push(term);
            let after = after.trim_start();
            if after.is_empty() {
                return Ok(Self { terms });
            }
            rest = after
                .strip_prefix("AND")
                .filter(|next| next.starts_with(char::is_whitespace))
                .ok_or_else(|| invalid("comparisons are joined by AND"))?
                .trim_start();
        }
    }

    /// Whether each term holds of an item, of which `holds` says whether a field has a value.
    pub fn admits(&self, holds: impl Fn(&str, &str) -> bool) -> bool {
        self.terms.iter().all(|term| holds(term.field, &term.value))
    }

    fn term<'a>(text: &'a str, fields: &[Field], times: &[&'static str]) -> Result<(Term, &'a str)> {
        let end = text.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let compared = fields.iter().find(|(field, _)| *field == name);
        let time = times.iter().copied().find(|field| *field == name);
        let (field, is_time) = match (compared, time) {
            (Some((field, _)), _) => (*field, false),
            (None, Some(field)) => (field, true),
            (None, None) => return Err(unknown_field(name, fields, times)),
        };
        let rest = rest.trim_start();
        let (op, rest) = [(">=", Op::NotBefore), ("<", Op::Before), ("=", Op::Equal)]
            .into_iter()
            .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)))
            .filter(|(op, _)| (*op == Op::Equal) != is_time)
            .ok_or_else(|| invalid(format_args!("`{field}` takes {}", if is_time { "`>=` and `<`" } else { "`=`" })))?;
        let (value, rest) = value(rest.trim_start())?;
        if compared.is_some_and(|(_, has)| !has(&value)) {
            return Err(invalid(format_args!("`{field}` has no value `{}`", value.escape_debug())));
        }
        if is_time {
            value.parse::<Timestamp>().map_err(|_| invalid(format_args!("`{field}` is no RFC 3339 time")))?;
        }
        Ok((Term { field, op, value }, rest))
    }
}

/// A bare word or a text in double quotes, in which a backslash takes the next character as it is.
fn value(text: &str) -> Result<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if word.is_empty() || !word.chars().all(|c| c.is_alphanumeric() || "_.-:/".contains(c)) {
            return Err(invalid("a value is a word or stands in double quotes"));
        }
        return Ok((word.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Err(invalid("a double quote is missing"))
}

fn unknown_field(name: &str, fields: &[Field], times: &[&'static str]) -> Error {
    let known: Vec<&str> = fields.iter().map(|(field, _)| *field).chain(times.iter().copied()).collect();
    let known = known.join(", ");
    let name: String = name.chars().take(40).collect();
    invalid(format_args!("`{name}` is none of {known}"))
}

fn invalid(detail: impl std::fmt::Display) -> Error {
    Error::new(Reason::FilterInvalid).with("detail", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ParticipantState;

    fn parse(text: &str) -> Result<Filter> {
        Filter::parse(text, &[("type", any), ("state", is::<ParticipantState>)], &["time"])
    }

    #[test]
    fn comparisons_joined_by_and_are_read() {
        let filter = parse(r#"type = "query.decision" AND time >= "2026-01-01T00:00:00Z" AND state=active"#).unwrap();
        let seen: Vec<_> = filter.terms.iter().map(|term| (term.field, term.op, term.value.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("type", Op::Equal, "query.decision"),
                ("time", Op::NotBefore, "2026-01-01T00:00:00Z"),
                ("state", Op::Equal, "active")
            ]
        );
        assert_eq!(parse(r#"type = "a \"b\" \\""#).unwrap().terms[0].value, r#"a "b" \"#);
        assert!(parse("  ").unwrap().terms.is_empty());
    }

    #[test]
    fn what_a_list_does_not_know_is_refused() {
        let long = format!("type = {}", "a".repeat(2_000));
        for bad in [
            "colour = blue",
            "type",
            "type =",
            "type != a",
            "type >= a",
            "time = \"2026-01-01T00:00:00Z\"",
            "time < yesterday",
            "type = a OR type = b",
            "type = a ANDtype = b",
            "type = a AND",
            "type = a b",
            "type = \"a",
            "type = (a)",
            "NOT type = a",
            "state = nothing",
            &long,
        ] {
            assert_eq!(parse(bad).unwrap_err().reason(), Reason::FilterInvalid, "{bad}");
        }
    }

    #[test]
    fn an_item_passes_only_if_each_term_holds() {
        let filter = parse("type = a AND state = suspended").unwrap();
        assert!(filter.admits(|field, value| matches!((field, value), ("type", "a") | ("state", "suspended"))));
        assert!(!filter.admits(|field, value| (field, value) == ("type", "a")));
    }
}
