//! The file of contexts: which hubs a person uses, as whom, and which one is meant without saying so.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::cli::{failure::Failure, files};

const FILE: &str = "contexts.toml";

/// A hub and who uses it. Paths that are relative start at the folder of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The hub's gRPC address, `https://HOST:PORT`.
    pub hub: String,
    /// The certificates of the hub's authority, PEM.
    pub ca: PathBuf,
    /// The member's certificate chain, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The member's private key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The id of the member's participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// The member, a UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// Every context of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is meant without saying so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads those in the folder; none if there is no file yet.
    pub fn load(home: &Path) -> Result<Self, Failure> {
        let path = home.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        toml::from_str(&files::read_text(&path)?).map_err(|e| {
            let (path, detail) = (path.display(), e.to_string());
            Failure::usage(format!("`{path}` cannot be read: {detail}"), format!("`{path}` est illisible : {detail}"))
        })
    }

    /// Writes them to the folder, for their owner only.
    pub fn save(&self, home: &Path) -> Result<(), Failure> {
        files::private_folder(home)?;
        let text = toml::to_string_pretty(self).map_err(|e| Failure::protocol(&e.to_string()))?;
        files::write_private(&home.join(FILE), text.as_bytes())
    }

    /// The context of this name; a wrong name is answered with those that exist.
    pub fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            if names.is_empty() {
                return Failure::usage(
                    format!("there is no context `{name}`, and no other: make one with `odh enroll`"),
                    format!("il n'y a pas de contexte `{name}`, ni aucun autre : créez-en un avec `odh enroll`"),
                );
            }
            let names = names.join(", ");
            Failure::usage(
                format!("there is no context `{name}`; there are: {names}"),
                format!("il n'y a pas de contexte `{name}` ; il y a : {names}"),
            )
        })
    }
}

/// A name that can be one of a folder, too: letters, digits, `-`, `_` and `.`, at most 64, not starting with a dot.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(good) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("`{name}` is no name for a context: letters, digits, `-`, `_` and `.`"),
        format!("`{name}` n'est pas un nom de contexte : lettres, chiffres, `-`, `_` et `.`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let context = Context {
            hub: "https://hub.example:8443".to_owned(),
            ca: "chu/ca.pem".into(),
            participant: Some("chu".to_owned()),
            ..Context::default()
        };
        Contexts { current: Some("chu".to_owned()), contexts: [("chu".to_owned(), context)].into() }
    }

    #[test]
    fn contexts_read_back_as_they_were_written_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("odh");
        assert_eq!(Contexts::load(&home).unwrap(), Contexts::default());
        contexts().save(&home).unwrap();
        assert_eq!(Contexts::load(&home).unwrap(), contexts());
        assert!(!files::is_exposed(&home.join(FILE)) && !files::is_exposed(&home));
    }

    #[test]
    fn a_wrong_name_is_answered_with_those_that_exist() {
        let failure = contexts().get("lab").unwrap_err();
        assert!(failure.to_string().contains("there are: chu"), "{failure}");
        assert!(Contexts::default().get("lab").unwrap_err().to_string().contains("odh enroll"));
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "[contexts.chu]\nhub = \"h\"\nca = \"c\"\ncrt = \"x\"\n").unwrap();
        let failure = Contexts::load(folder.path()).unwrap_err().to_string();
        assert!(failure.contains("crt") && failure.contains(FILE), "{failure}");
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for bad in ["", ".", "..", "a/b", "../x", "a b", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        check_name("chu-2.prod_x").unwrap();
    }
}
