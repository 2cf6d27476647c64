//! Where a term stands in a policy: `rules[0].how.masks.age`, and the same as a JSON Pointer.
//!
//! A key that is no plain word stands in brackets as a JSON string, so that a path has one meaning whatever columns are
//! called: `rules[0].how.masks["a/b.c"]`.

use std::fmt::Write as _;

/// The next step of a path: `.age`, or `["a/b.c"]`. Characters that cannot be seen are written out.
pub(super) fn key(name: &str) -> String {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return format!(".{name}");
    }
    let mut quoted = String::from("[\"");
    for c in name.chars() {
        let seen = c == '\'' || c.escape_debug().len() == 1;
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            _ if seen => quoted.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push_str("\"]");
    quoted
}

/// A path as a JSON Pointer (RFC 6901): `/rules/0/how/masks/a~1b.c`.
pub fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('[') {
            Some(inside) if inside.starts_with('"') => {
                let mut read = serde_json::Deserializer::from_str(inside).into_iter::<String>();
                let Some(Ok(step)) = read.next() else { break };
                (step, inside[read.byte_offset()..].trim_start_matches(']'))
            }
            Some(inside) => {
                let (at, after) = inside.split_once(']').unwrap_or((inside, ""));
                (at.to_owned(), after)
            }
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        let _ = write!(pointer, "/{}", step.replace('~', "~0").replace('/', "~1"));
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_a_pointer_whatever_the_column_is_called() {
        for (name, path, there) in [
            ("age", "rules[12].how.masks.age", "/rules/12/how/masks/age"),
            ("a/b.c", r#"rules[12].how.masks["a/b.c"]"#, "/rules/12/how/masks/a~1b.c"),
            ("~[0]", r#"rules[12].how.masks["~[0]"]"#, "/rules/12/how/masks/~0[0]"),
            ("a\"b]", r#"rules[12].how.masks["a\"b]"]"#, "/rules/12/how/masks/a\"b]"),
            ("a\u{202e}", r#"rules[12].how.masks["a\u202e"]"#, "/rules/12/how/masks/a\u{202e}"),
        ] {
            assert_eq!(format!("rules[12].how.masks{}", key(name)), path);
            assert_eq!(pointer(path), there);
        }
        assert_eq!(pointer("floor"), "/floor");
        assert_eq!(pointer(r#"floor.masks["a b"].x[1]"#), "/floor/masks/a b/x/1");
    }

    proptest! {
        #[test]
        fn the_pointer_leads_to_the_key_itself(name in ".{1,20}") {
            let document = serde_json::json!({"masks": {&name: 7}});
            let pointer = pointer(&format!("masks{}", key(&name)));
            prop_assert_eq!(document.pointer(&pointer), Some(&serde_json::json!(7)));
        }
    }
}
