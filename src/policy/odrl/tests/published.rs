//! The published files say what the code does: context, profile, schema, and the templates as examples.

use std::{collections::BTreeSet, env, fs, path::Path};

use serde_json::{Value as Json, json};

use super::{super::*, *};
use crate::policy::{
    assets::{ODRL_PROFILE, ODRL_SCHEMA, TEMPLATES},
    odrl::terms::{LEGAL_BASES, Left, PROFILE, context},
};

/// The names of the profile that are written without a colon or as `odh:`.
fn names() -> BTreeSet<String> {
    let document = to_odrl(&rich(), &VOCABULARY).unwrap();
    let mut found: BTreeSet<String> = Left::ALL.iter().map(|left| left.as_str().to_owned()).collect();
    collect(&document, &mut found);
    found.extend(LEGAL_BASES.map(|(_, name)| name.to_owned()));
    found
}

fn collect(json: &Json, found: &mut BTreeSet<String>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Json::Object(fields) if fields.get("@type").is_none_or(|kind| kind != "@json") => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "@context" && *key != "description") {
                found.insert(key.clone());
                if ["leftOperand", "operator", "action", "conflict", "@type", "legalBasis"].contains(&key.as_str()) {
                    found.extend(value.as_str().map(str::to_owned));
                }
                collect(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_context_has_every_name_that_is_written() {
    let context = context().as_object().unwrap();
    for name in names() {
        let term = name.split(':').next().unwrap();
        assert!(name.starts_with('@') || context.contains_key(term), "{name}");
    }
}

#[test]
fn the_profile_defines_every_name_of_the_hubs_own() {
    for name in names().iter().filter(|name| name.starts_with("odh:")) {
        assert!(ODRL_PROFILE.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    for key in ["position", "floor", "policy"] {
        assert!(ODRL_PROFILE.lines().any(|line| line.starts_with(&format!("odh:{key} "))), "{key}");
    }
    assert!(ODRL_PROFILE.contains(&format!("<{PROFILE}> a odrl:Profile")));
    assert!(ODRL_PROFILE.contains(&format!("\"{}\"", VOCABULARY.version)), "the vocabulary has another version");
}

#[test]
fn the_schema_names_every_left_operand_and_the_profile() {
    let schema: Json = serde_json::from_str(ODRL_SCHEMA).unwrap();
    assert_eq!(schema["properties"]["profile"], json!({ "const": PROFILE }));
    for left in Left::ALL {
        assert!(ODRL_SCHEMA.contains(&format!("\"{}\"", left.as_str())), "{}", left.as_str());
    }
}

/// Golden files: what a template looks like in ODRL. `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn the_examples_are_the_templates() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/profile/examples");
    let mut wrong = Vec::new();
    let mut compare = |name: String, document: &Json| {
        let path = folder.join(name);
        let written = serde_json::to_string_pretty(document).unwrap() + "\n";
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &written).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != written {
            wrong.push(path);
        }
    };
    for template in TEMPLATES {
        let policy = manifest::parse(template.text).unwrap();
        compare(format!("{}.jsonld", template.name), &to_odrl(&policy, &VOCABULARY).unwrap());
        let offers = to_offers(&policy, policy.digest(), &VOCABULARY).unwrap();
        compare(format!("{}.offers.json", template.name), &offers.offers.into());
    }
    assert!(wrong.is_empty(), "not as the code writes them: {wrong:?}");
}
