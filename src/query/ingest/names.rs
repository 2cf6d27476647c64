//! Column names: SQL identifiers without quotes, unique, and outside the hub's own `__` prefix.

use std::collections::HashSet;

use super::records::malformed;
use crate::error::Result;

/// The longest name.
const MAX_LENGTH: usize = 63;

/// Refuses the header at `line` unless every name is `[a-z_][a-z0-9_]{0,62}`, unreserved and given once. The
/// refusal shows a name that would do.
pub(super) fn check(names: &[String], line: u64) -> Result<()> {
    let mut taken = HashSet::new();
    for (name, place) in names.iter().zip(1_u32..) {
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        if name.starts_with("__") {
            return Err(malformed(
                line,
                format_args!("column name `{shown}` begins with `__`, which the hub reserves"),
            ));
        }
        if !is_name(name) {
            let proposal = suggest(name, place);
            return Err(malformed(
                line,
                format_args!(
                    "column {place} is named `{shown}`: use lower-case letters, digits and `_`, for example `{proposal}`"
                ),
            ));
        }
        if !taken.insert(name) {
            return Err(malformed(line, format_args!("two columns are named `{shown}`")));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.len() <= MAX_LENGTH
}

/// A valid name like `name`: lower case, without accents, other characters as single underscores.
fn suggest(name: &str, place: u32) -> String {
    let mut out = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        let folded: &str = match character {
            'à' | 'á' | 'â' | 'ä' | 'ã' => "a",
            'ç' => "c",
            'è' | 'é' | 'ê' | 'ë' => "e",
            'ì' | 'í' | 'î' | 'ï' => "i",
            'ñ' => "n",
            'ò' | 'ó' | 'ô' | 'ö' | 'õ' => "o",
            'ù' | 'ú' | 'û' | 'ü' => "u",
            'œ' => "oe",
            'æ' => "ae",
            other if other.is_ascii_alphanumeric() => {
                out.push(other);
                continue;
            }
            _ if out.is_empty() || out.ends_with('_') => continue,
            _ => "_",
        };
        out.push_str(folded);
    }
    out.truncate(MAX_LENGTH - 1);
    let trimmed = out.trim_end_matches('_');
    match trimmed.bytes().next() {
        None => format!("column_{place}"),
        Some(byte) if byte.is_ascii_digit() => format!("_{trimmed}"),
        Some(_) => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(names: &[&str]) -> String {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        check(&names, 1).unwrap_err().params()["detail"].clone()
    }

    #[test]
    fn a_name_that_will_not_do_comes_back_with_one_that_does() {
        for (name, proposal) in [
            ("Département (n°)", "departement_n"),
            ("Code INSEE", "code_insee"),
            ("2025", "_2025"),
            ("€", "column_1"),
            ("", "column_1"),
            (&"x".repeat(64), &"x".repeat(62)),
        ] {
            assert!(detail(&[name]).contains(&format!("for example `{proposal}`")), "{}", detail(&[name]));
            assert!(check(&[proposal.to_owned()], 1).is_ok());
        }
    }

    #[test]
    fn reserved_and_repeated_names_are_refused() {
        assert!(detail(&["__ordinal"]).contains("reserves"));
        assert!(detail(&["a", "b", "a"]).contains("two columns"));
        assert!(check(&["_a".to_owned(), "b2".to_owned()], 1).is_ok());
    }
}
