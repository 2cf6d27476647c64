//! Policies as people write them: YAML (or JSON, which is YAML) to [`Policy`] and back.
//!
//! Two passes over a bounded text. The first walks the document and refuses what YAML would let through in
//! silence: a key given twice, tags, and aliases that blow up. The second reads the domain's types, unknown keys
//! refused, with variants as single-key maps (`prefix: 3`). Every refusal says where: path, line and column.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use serde::{
    Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_norway::with::singleton_map_recursive;

use crate::{
    domain::{Duty, How, LegalBasis, Policy},
    error::{Error, Reason, Result},
};

/// Largest manifest, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Most values in one manifest once its aliases are followed.
const MAX_NODES: usize = 50_000;

/// Longest part of the parser's own words in a refusal, in characters.
const MAX_DETAIL: usize = 300;

/// Reads a manifest. Refused with `POLICY_INVALID`: `path` is the place in the document, `detail` says what is
/// wrong, with line and column. That it can be read says nothing about its sense; `check` does.
pub fn parse(text: &str) -> Result<Policy> {
    read(text)
}

/// Reads a document of this shape with the same bounds and refusals.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    if text.len() > MAX_BYTES {
        let detail = format!("{} bytes, at most {MAX_BYTES} are accepted", text.len());
        return Err(Error::new(Reason::PolicyInvalid).with("path", "manifest").with("detail", detail));
    }
    let nodes = Cell::new(0);
    Node(&nodes).deserialize(serde_norway::Deserializer::from_str(text)).map_err(|e| refusal(&e))?;
    singleton_map_recursive::deserialize(serde_norway::Deserializer::from_str(text)).map_err(|e| refusal(&e))
}

/// Writes a policy as a manifest that [`parse`] reads back to the same policy.
pub fn to_yaml(policy: &Policy) -> Result<String> {
    written(policy)
}

/// Writes the terms of a permit as they stand in a manifest.
pub fn terms_to_yaml(how: &How, legal_basis: Option<LegalBasis>, duties: &[Duty]) -> Result<String> {
    #[derive(Serialize)]
    struct Terms<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        legal_basis: Option<LegalBasis>,
        #[serde(skip_serializing_if = "How::is_empty")]
        how: &'a How,
        #[serde(skip_serializing_if = "<[Duty]>::is_empty")]
        duties: &'a [Duty],
    }
    written(&Terms { legal_basis, how, duties })
}

fn written<T: Serialize>(document: &T) -> Result<String> {
    let mut out = Vec::new();
    singleton_map_recursive::serialize(document, &mut serde_norway::Serializer::new(&mut out))
        .map_err(|e| Error::internal(format!("policy manifest: {e}")))?;
    String::from_utf8(out).map_err(|e| Error::internal(format!("policy manifest: {e}")))
}

/// The parser says `PATH: what at line L column C`, the first and last part only if it knows them.
fn refusal(error: &serde_norway::Error) -> Error {
    let text = error.to_string();
    let (path, rest) = match text.split_once(": ") {
        Some((path, rest)) if is_path(path) => (path, rest),
        _ => ("manifest", text.as_str()),
    };
    let mut what = rest.rsplit_once(" at line ").map_or(rest, |(what, _)| what);
    if what.starts_with("data did not match any variant of untagged enum Value") {
        what = "expected true, false, an integer or a text (write decimals, dates and instants as text)";
    }
    if what == "invalid type: unit value, expected enum Mask" {
        what = "expected a mask (to show no value at all, write 'null' in quotes)";
    }
    let mut en: String = what.chars().take(MAX_DETAIL).collect();
    let mut fr = french(&en);
    if let Some(place) = error.location() {
        let _ = write!(en, " (line {}, column {})", place.line(), place.column());
        let _ = write!(fr, " (ligne {}, colonne {})", place.line(), place.column());
    }
    Error::new(Reason::PolicyInvalid).with("path", path).with_words("detail", en, fr)
}

/// The parser's words in French, as far as they are the usual ones.
fn french(en: &str) -> String {
    let words = [
        ("unknown field ", "champ inconnu "),
        ("missing field ", "champ manquant "),
        ("duplicate field ", "champ en double "),
        ("unknown variant ", "valeur inconnue "),
        ("invalid type: ", "type inattendu : "),
        ("invalid value: ", "valeur inattendue : "),
        (", expected one of ", ", attendu : l'un de "),
        (", expected ", ", attendu : "),
        (
            "expected a mask (to show no value at all, write 'null' in quotes)",
            "un masque est attendu (pour ne montrer aucune valeur, écrivez 'null' entre guillemets)",
        ),
        (
            "expected true, false, an integer or a text (write decimals, dates and instants as text)",
            "attendu : true, false, un entier ou un texte (décimaux, dates et instants s'écrivent comme des textes)",
        ),
        (" is given twice", " est donné deux fois"),
        ("merge keys are not supported", "les clés de fusion ne sont pas admises"),
        ("unit value", "rien"),
        ("a sequence", "une liste"),
        ("a map", "une table"),
        ("a string", "un texte"),
    ];
    words.iter().fold(en.to_owned(), |said, (en, fr)| said.replace(en, fr))
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]?\\".contains(&b))
}

/// One value of the document, walked and thrown away; the cell counts them all.
struct Node<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > MAX_NODES {
            return Err(D::Error::custom(format!("more than {MAX_NODES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value without a tag")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Node(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "<<" {
                return Err(A::Error::custom("merge keys are not supported"));
            }
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format!("`{}` is given twice", key.escape_debug())));
            }
            map.next_value_seed(Node(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{CompareOp, Duty, Filter, Mask, Value},
        policy::assets::TEMPLATES,
    };

    const RICH: &str = r#"
dataset: chu.stays
rules:
  - id: research
    effect: permit
    actions: [aggregate, read]
    who: {kinds: [lab], countries: [EU], accreditations: [hds]}
    columns: {only: [age, commune, cost, diagnosis, entered]}
    purposes: [scientific_research]
    legal_basis: consent
    when:
      - from: 2026-01-01
        until: 2027-01-01T00:00:00+02:00
    how:
      row_filter:
        all:
          - compare: {column: age, op: ge, value: 18}
          - not: {in: {column: diagnosis, values: [Z00, "12.50", true]}}
          - any:
              - starts_with: {column: commune, prefix: "31"}
              - is_null: {column: commune}
      masks:
        commune: {prefix: 2}
        diagnosis: hmac
        entered: year
        age: {bucket: 5}
        cost: {constant: 0}
      aggregate_only: 10
    duties:
      - no_reidentification
      - delete_after_days: 30
      - attribute: "CHU: séjours"
    text: {fr: "Recherche", en: "Research"}
floor: {max_rows: 1000}
"#;

    fn refused(text: &str) -> (String, String) {
        let error = parse(text).unwrap_err();
        assert_eq!(error.reason(), Reason::PolicyInvalid);
        (error.params()["path"].clone(), error.params()["detail"].clone())
    }

    #[test]
    fn a_manifest_reads_as_written_and_round_trips() {
        let policy = parse(RICH).unwrap();
        let rule = &policy.rules[0];
        assert_eq!(rule.how.masks["commune"], Mask::Prefix(2));
        assert_eq!(rule.how.masks["diagnosis"], Mask::Hmac);
        assert_eq!(rule.duties[1], Duty::DeleteAfterDays(30));
        assert_eq!(rule.when[0].until.unwrap().to_string(), "2026-12-31T22:00:00.000000Z");
        let Some(Filter::All(parts)) = &rule.how.row_filter else { panic!("{:?}", rule.how.row_filter) };
        assert_eq!(parts[0], Filter::Compare { column: "age".to_owned(), op: CompareOp::Ge, value: Value::Int(18) });
        let again = parse(&to_yaml(&policy).unwrap()).unwrap();
        assert_eq!(again, policy);
        assert_eq!(again.digest(), policy.digest());
    }

    #[test]
    fn the_canonical_json_of_a_policy_is_itself_a_manifest() {
        let policy = parse(RICH).unwrap();
        assert_eq!(parse(str::from_utf8(&policy.canonical_json()).unwrap()).unwrap(), policy);
    }

    #[test]
    fn every_template_is_a_manifest() {
        for template in TEMPLATES {
            let policy = parse(template.text).unwrap_or_else(|e| panic!("{}: {e}", template.name));
            assert_eq!(parse(&to_yaml(&policy).unwrap()).unwrap(), policy);
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (from, to, path, detail) in [
            ("op: ge", "op: around", "rules[0].how.row_filter.all[0].compare", "unknown variant `around`"),
            ("legal_basis: consent", "legal_base: consent", "rules[0]", "unknown field `legal_base`"),
            ("aggregate_only: 10", "aggregate_only: many", "rules[0].how.aggregate_only", "invalid type: string"),
            ("max_rows: 1000", "max_rows: -1", "floor.max_rows", "integer `-1`"),
            ("kinds: [lab]", "kinds: [laboratory]", "rules[0].who.kinds[0]", "unknown variant `laboratory`"),
            ("dataset: chu.stays", "dataset: stays", "manifest", "not of the form owner.dataset"),
            ("value: 18", "value: 1.5", "rules[0].how.row_filter", "write decimals"),
            ("from: 2026-01-01", "from: soon", "rules[0].when[0].from", "RFC 3339"),
        ] {
            assert!(RICH.contains(from));
            let (at, said) = refused(&RICH.replacen(from, to, 1));
            assert!(at.starts_with(path) || path.starts_with(&at), "{to}: {at}: {said}");
            assert!(said.contains(detail) && said.contains("(line "), "{to}: {at}: {said}");
        }
    }

    #[test]
    fn what_yaml_would_let_through_in_silence_is_refused() {
        for (text, said) in [
            ("dataset: a.b\nrules: []\nrules: []\n", "`rules` is given twice"),
            ("dataset: a.b\nrules: []\nfloor: {masks: {c: hmac, c: 'null'}}\n", "`c` is given twice"),
            ("dataset: a.b\nrules: !odd []\n", "tag"),
            ("dataset: a.b\n<<: {rules: []}\n", "merge"),
            ("dataset: a.b\nrules: []\n---\ndataset: a.b\nrules: []\n", "more than one document"),
            ("", "missing field `dataset`"),
            ("- a\n", "invalid type"),
            ("dataset: a.b", "missing field `rules`"),
            ("dataset: [a.b\n", "did not find"),
        ] {
            let (path, detail) = refused(text);
            assert!(detail.contains(said), "{text:?}: {path}: {detail}");
        }
    }

    #[test]
    fn a_text_that_is_too_large_deep_or_explosive_is_refused_quickly() {
        assert!(refused(&" ".repeat(MAX_BYTES + 1)).1.contains("at most"));
        assert!(refused(&format!("dataset: {}", "[".repeat(10_000))).1.contains("recursion"));
        let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for pair in "abcdefgh".as_bytes().windows(2) {
            let (one, next) = (char::from(pair[0]), char::from(pair[1]));
            let aliases = vec![format!("*{one}"); 10].join(", ");
            let _ = writeln!(laughs, "{next}: &{next} [{aliases}]");
        }
        assert!(refused(&laughs).1.contains("more than 50000 values"));
    }

    #[test]
    fn a_refusal_does_not_repeat_a_long_text() {
        let (_, detail) = refused(&format!("dataset: a.b\nrules: []\n{}: 1\n", "k".repeat(100_000)));
        assert!(detail.chars().count() < MAX_DETAIL + 50);
    }
}
