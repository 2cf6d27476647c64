//! Loads the purposes of use from `policies/vocab/purposes.csv` into [`Vocabulary`].
//!
//! The file is embedded and versioned: its first line names the version, which belongs into every record that
//! cites a purpose. Fields hold neither commas nor quotes, so a line is split and nothing is unescaped.

use std::collections::BTreeSet;

use super::assets::PURPOSES;
use crate::{
    domain::{Purpose, PurposeSlug, Vocabulary},
    error::{Error, Result},
};

const HEADER: &str = "slug,iri,parents,label_fr,label_en";

/// The purposes that this hub knows.
pub fn load() -> Result<Vocabulary> {
    parse(PURPOSES)
}

/// Reads a vocabulary: `# version: V`, comments, the header, then one purpose a line.
fn parse(text: &str) -> Result<Vocabulary> {
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("# version:"))
        .map(|version| version.trim().to_owned())
        .ok_or_else(|| Error::invalid("vocabulary", "no line `# version:`"))?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    if lines.next().map(|(_, line)| line) != Some(HEADER) {
        return Err(Error::invalid("vocabulary", format!("the header is not `{HEADER}`")));
    }
    let mut seen = BTreeSet::new();
    let mut purposes = Vec::new();
    for (number, line) in lines {
        let purpose = purpose(line)
            .map_err(|e| Error::invalid("vocabulary", format!("line {}: {}", number + 1, e.message_en())))?;
        if !seen.insert(purpose.slug.clone()) {
            return Err(Error::invalid("vocabulary", format!("line {}: `{}` twice", number + 1, purpose.slug)));
        }
        purposes.push(purpose);
    }
    Vocabulary::new(version, purposes)
}

fn purpose(line: &str) -> Result<Purpose> {
    let fields: Vec<&str> = line.split(',').collect();
    let [slug, iri, parents, label_fr, label_en] = fields[..] else {
        return Err(Error::invalid("purpose", format!("{} fields instead of 5", fields.len())));
    };
    if iri.is_empty() || label_fr.is_empty() || label_en.is_empty() {
        return Err(Error::invalid("purpose", "an empty field"));
    }
    Ok(Purpose {
        slug: slug.parse()?,
        iri: iri.to_owned(),
        parents: parents.split('|').filter(|p| !p.is_empty()).map(str::parse).collect::<Result<_>>()?,
        label_fr: label_fr.to_owned(),
        label_en: label_en.to_owned(),
    })
}

/// The purpose with this slug, or a refusal that names it.
pub fn require<'a>(vocabulary: &'a Vocabulary, slug: &str) -> Result<&'a Purpose> {
    let unknown = || Error::new(crate::error::Reason::PurposeUnknown).with("purpose", slug.escape_debug());
    let slug: PurposeSlug = slug.parse().map_err(|_| unknown())?;
    vocabulary.require(&slug)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Digest;

    fn slug(text: &str) -> PurposeSlug {
        text.parse().unwrap()
    }

    #[test]
    fn the_embedded_file_is_the_one_that_its_version_names() {
        let vocabulary = load().unwrap();
        assert_eq!(vocabulary.version, "dpv-2.0+odh-1");
        assert_eq!(
            Digest::of(PURPOSES.as_bytes()).hex(),
            "2bbfebbe11f592e2e27fd72361c46f1ddca2c8f978f74c92b42e306cf7ff24e2",
            "the purposes have changed: give the file a new version"
        );
        assert_eq!(vocabulary.purposes().count(), 53);
    }

    #[test]
    fn a_purpose_covers_its_descendants_through_each_parent_and_nothing_above() {
        let v = load().unwrap();
        assert!(v.covers(&slug("research_and_development"), &slug("epidemiological_research")));
        assert!(v.covers(&slug("improve_healthcare"), &slug("epidemiological_research")));
        assert!(v.covers(&slug("marketing"), &slug("targeted_advertising")));
        assert!(!v.covers(&slug("scientific_research"), &slug("research_and_development")));
        assert!(!v.covers(&slug("marketing"), &slug("scientific_research")));
    }

    #[test]
    fn the_slug_of_a_dpv_purpose_is_its_term_in_snake_case() {
        for purpose in load().unwrap().purposes() {
            let Some(term) = purpose.iri.strip_prefix("https://w3id.org/dpv#") else {
                assert_eq!(purpose.iri, format!("urn:odh:purpose:{}", purpose.slug));
                continue;
            };
            let mut snake = String::new();
            for c in term.chars() {
                if c.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            assert_eq!(snake, purpose.slug.as_str());
        }
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_line() {
        let head = format!("# version: v\n{HEADER}\n");
        for (bad, said) in [
            ("a,urn:a,,A\n", "line 3: "),
            ("a,urn:a,,A,A\na,urn:a,,A,A\n", "line 4: `a` twice"),
            ("a,urn:a,b,A,A\n", "`b`"),
            ("A,urn:a,,A,A\n", "line 3: "),
            ("a,urn:a,b,A,A\nb,urn:b,a,B,B\n", "its own ancestor"),
        ] {
            let error = parse(&format!("{head}{bad}")).unwrap_err().message_en();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse("a,urn:a,,A,A\n").is_err());
    }

    #[test]
    fn an_unknown_or_malformed_purpose_is_named() {
        let v = load().unwrap();
        for bad in ["no_such_purpose", "Not A Slug"] {
            assert!(require(&v, bad).unwrap_err().message_en().contains(bad));
        }
        assert_eq!(require(&v, "marketing").unwrap().label_en, "Marketing");
    }
}
