//! What the command line takes from its environment: variables and the language, read once, so that tests can choose.

use std::{collections::BTreeMap, path::PathBuf};

use super::failure::Failure;

/// The languages of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
}

impl Lang {
    /// The tag to send as `accept-language` (BCP 47).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// The text in this language.
    pub const fn pick<'a>(self, en: &'a str, fr: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Fr => fr,
        }
    }
}

/// Environment variables as they were when the program began.
#[derive(Debug, Clone, Default)]
pub struct Env {
    vars: BTreeMap<String, String>,
}

impl Env {
    /// Those of this process. A variable that is not UTF-8 counts as unset.
    pub fn process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { vars: std::env::vars_os().filter_map(text).collect() }
    }

    /// These and no others.
    pub fn of<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { vars: vars.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// The variable's value; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The folder of contexts and keys: `ODH_HOME`, else `odh` in the user's folder for configuration (XDG).
    pub fn home(&self) -> Result<PathBuf, Failure> {
        let folder = self.get("ODH_HOME").map(PathBuf::from);
        let xdg = || self.get("XDG_CONFIG_HOME").map(|dir| PathBuf::from(dir).join("odh"));
        let user = || self.get("HOME").map(|dir| PathBuf::from(dir).join(".config").join("odh"));
        folder.or_else(xdg).or_else(user).ok_or_else(|| {
            Failure::usage(
                "there is no folder for contexts: set ODH_HOME",
                "il n'y a pas de dossier pour les contextes : définissez ODH_HOME",
            )
        })
    }

    /// The user's language by POSIX rules: the first that is set of `LC_ALL`, `LC_MESSAGES` and `LANG`.
    pub fn lang(&self) -> Lang {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| self.get(name));
        let language = locale.and_then(|locale| locale.split(['_', '.', '@', '-']).next()).unwrap_or_default();
        if language.eq_ignore_ascii_case("fr") { Lang::Fr } else { Lang::En }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_decides_the_language() {
        for (vars, lang) in [
            (vec![], Lang::En),
            (vec![("LANG", "fr_FR.UTF-8")], Lang::Fr),
            (vec![("LANG", "fr")], Lang::Fr),
            (vec![("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C.UTF-8")], Lang::En),
            (vec![("LANG", "fr_FR.UTF-8"), ("LC_ALL", "")], Lang::Fr),
            (vec![("LANG", "frr_DE")], Lang::En),
        ] {
            assert_eq!(Env::of(vars.clone()).lang(), lang, "{vars:?}");
        }
    }

    #[test]
    fn the_home_folder_follows_the_variables_in_order() {
        let home = |vars: &[(&str, &str)]| Env::of(vars.iter().copied()).home().map(|path| path.display().to_string());
        let (own, xdg, user) = (("ODH_HOME", "/a"), ("XDG_CONFIG_HOME", "/b"), ("HOME", "/c"));
        assert_eq!(home(&[own, xdg, user]).unwrap(), "/a");
        assert_eq!(home(&[xdg, user]).unwrap(), "/b/odh");
        assert_eq!(home(&[user]).unwrap(), "/c/.config/odh");
        assert!(home(&[]).is_err());
    }
}
