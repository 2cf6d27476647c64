//! Reads the configuration: file, then environment. Every refusal names the file and line, or the variable, and the key.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{Config, Severity};
use crate::error::{Error, Result};

/// What every variable of the hub begins with.
const PREFIX: &str = "ODH_";

/// Variables with the prefix that are not configuration: the CLI's, and (by prefix) those of tests and benchmarks.
const NOT_CONFIGURATION: [&str; 9] = [
    "ODH_CONFIG",
    "ODH_HOME",
    "ODH_CONTEXT",
    "ODH_GRPC",
    "ODH_CA",
    "ODH_CERT",
    "ODH_KEY",
    "ODH_BEARER",
    "ODH_REQUIRE_POSTGRES",
];
const NOT_CONFIGURATION_PREFIXES: [&str; 3] = ["ODH_CLI_", "ODH_TEST_", "ODH_BENCH_"];

impl Config {
    /// Defaults, then the TOML file at `path` if given, then the `ODH_*` variables of `env` (use `std::env::vars_os()`).
    ///
    /// Refuses unknown keys and variables, values of the wrong form, and whatever [`Config::check`] finds to be an
    /// error.
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let config = Self::read(path, env)?;
        let errors: Vec<_> =
            config.check().into_iter().filter(|f| f.severity == Severity::Error).map(|f| f.to_string()).collect();
        if errors.is_empty() { Ok(config) } else { Err(refused(errors.join("; "))) }
    }

    /// As [`Config::load`], but leaves the findings to the caller: for `odh config check`, which shows them all.
    pub fn read(path: Option<&Path>, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let from_file = match path {
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|e| refused(format!("{} cannot be read: {e}", path.display())))?;
                parse_file(path, &text)?
            }
            None => Self::default(),
        };
        apply_environment(from_file, env)
    }

    /// The name of every key (`listen.grpc`) and of the variable that sets it (`ODH_LISTEN_GRPC`).
    pub fn keys() -> BTreeMap<String, String> {
        leaves(&to_table(&Self::default())).into_keys().map(|key| (variable(&key), key)).map(|(v, k)| (k, v)).collect()
    }
}

fn refused(detail: impl std::fmt::Display) -> Error {
    Error::invalid("configuration", detail)
}

// --- the file -------------------------------------------------------------------------------------------------------

fn parse_file(path: &Path, text: &str) -> Result<Config> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.char_indices().filter(|(i, c)| *i < at && *c == '\n').count() + 1;
        let key = DeTable::parse(text).ok().and_then(|table| key_at(table.get_ref(), at, ""));
        let detail = match key {
            Some(key) if error.message().starts_with("unknown field") => {
                format!("unknown key `{key}`{}", did_you_mean(&key, known_keys().iter().map(String::as_str)))
            }
            Some(key) => format!("`{key}`: {}", error.message()),
            None => error.message().to_owned(),
        };
        refused(format!("{}:{line}: {}", path.display(), detail.replace('\n', " ")))
    })
}

/// The dotted name of the key whose name or value stands at byte `at`.
fn key_at(table: &DeTable<'_>, at: usize, prefix: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = format!("{prefix}{}", key.get_ref());
        let inner = match value.get_ref() {
            // The span of a table is its header alone, so look inside first.
            DeValue::Table(inner) => key_at(inner, at, &format!("{name}.")),
            _ => None,
        };
        let here = key.span().contains(&at) || value.span().contains(&at);
        inner.or_else(|| here.then_some(name))
    })
}

/// Every key and section, for suggestions.
fn known_keys() -> Vec<String> {
    let defaults = to_table(&Config::default());
    let sections = defaults.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.clone());
    leaves(&defaults).into_keys().chain(sections).collect()
}

// --- the environment ------------------------------------------------------------------------------------------------

fn apply_environment(config: Config, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Config> {
    let keys = leaves(&to_table(&Config::default()));
    let by_variable: BTreeMap<String, &String> = keys.keys().map(|key| (variable(key), key)).collect();
    // Sorted, so that of two errors always the same one is reported.
    let given: BTreeMap<String, OsString> = env
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) && !is_not_configuration(name))
        .collect();

    let mut config = config;
    for (name, value) in &given {
        let plain = name.strip_suffix("_FILE").filter(|plain| by_variable.contains_key(*plain));
        let Some(key) = by_variable.get(plain.unwrap_or(name)) else {
            let names = by_variable.keys().map(String::as_str);
            return Err(refused(format!("unknown variable `{name}`{}", did_you_mean(name, names))));
        };
        let value = value.to_str().ok_or_else(|| refused(format!("{name} is not valid UTF-8")))?.to_owned();
        let value = match plain {
            Some(plain) if given.contains_key(plain) => {
                return Err(refused(format!("both {plain} and {name} are set: keep one")));
            }
            Some(_) => read_value(name, &PathBuf::from(value))?,
            None => value,
        };
        config = set(&config, key, &value, &keys[*key]).map_err(|detail| refused(format!("{name}: {detail}")))?;
    }
    Ok(config)
}

fn is_not_configuration(name: &str) -> bool {
    NOT_CONFIGURATION.contains(&name) || NOT_CONFIGURATION_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The content of a secret's file, without the line break that editors leave at its end.
fn read_value(name: &str, path: &Path) -> Result<String> {
    let text =
        fs::read_to_string(path).map_err(|e| refused(format!("{name}: {} cannot be read: {e}", path.display())))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// `config` with `key` set to `text`, read as the same type as the key's default.
fn set(config: &Config, key: &str, text: &str, default: &toml::Value) -> Result<Config, String> {
    let value = match default {
        toml::Value::Integer(_) => {
            toml::Value::Integer(text.parse().map_err(|_| format!("`{}` is not a whole number", text.escape_debug()))?)
        }
        toml::Value::Boolean(_) => {
            toml::Value::Boolean(text.parse().map_err(|_| format!("`{}` is not true or false", text.escape_debug()))?)
        }
        toml::Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect())
        }
        _ => toml::Value::String(text.to_owned()),
    };
    let mut table = to_table(config);
    let place = match key.split_once('.') {
        Some((section, name)) => table.get_mut(section).and_then(|section| section.get_mut(name)),
        None => table.get_mut(key),
    };
    *place.ok_or_else(|| format!("`{key}` is not a key"))? = value;
    table.try_into().map_err(|e: toml::de::Error| e.message().replace('\n', " "))
}

// --- names ----------------------------------------------------------------------------------------------------------

/// The variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// A configuration as a table. It is made of tables of scalars, which always have a TOML form.
fn to_table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).unwrap_or_default()
}

/// Every key that holds a value, by its dotted name.
fn leaves(table: &toml::Table) -> BTreeMap<String, toml::Value> {
    let mut all = BTreeMap::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                all.extend(section.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
            }
            value => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
    all
}

/// `; did you mean …?` with the nearest of `known`, or nothing if none is near.
fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.toml");
        fs::write(&path, text).unwrap();
        let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::load(Some(&path), env).map_err(|e| e.message_en())
    }

    #[test]
    fn the_example_reads_as_the_defaults_and_shows_every_key() {
        assert_eq!(read(&Config::example(), &[]).unwrap(), Config::default());
        let shown = leaves(&toml::from_str::<toml::Table>(&Config::example()).unwrap());
        assert_eq!(shown.keys().collect::<Vec<_>>(), Config::keys().keys().collect::<Vec<_>>());
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let text = "[listen]\ngrpc = \"127.0.0.1:1\"\nhttps = \"127.0.0.1:2\"\n";
        let config = read(
            text,
            &[
                ("ODH_LISTEN_GRPC", "127.0.0.1:3"),
                ("ODH_TLS_NAMES", "hub.example, 10.0.0.1"),
                ("ODH_TLS_REQUIRE_CLIENT_CERTIFICATE", "true"),
                ("ODH_QUERY_MAX_ROWS", "7"),
                ("ODH_DATA_DIR", "elsewhere"),
                ("ODH_TEST_POSTGRES_URL", "not ours"),
                ("PATH", "not ours"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.grpc.port(), 3);
        assert_eq!(config.listen.https.port(), 2);
        assert_eq!(config.listen.ops, Config::default().listen.ops);
        assert_eq!(config.tls.names, ["hub.example", "10.0.0.1"]);
        assert!(config.tls.require_client_certificate);
        assert_eq!(config.query.max_rows, 7);
        assert_eq!(config.data_dir, Path::new("elsewhere"));
    }

    #[test]
    fn an_error_in_the_file_names_line_and_key() {
        for (text, parts) in [
            ("[listen]\n\ngrcp = \"127.0.0.1:1\"\n", &[":3: ", "`listen.grcp`", "did you mean `listen.grpc`?"][..]),
            ("[lisen]\ngrpc = \"127.0.0.1:1\"\n", &[":1: ", "`lisen`", "did you mean `listen`?"]),
            ("[token]\nlifetime = \"15 minutes\"\n", &[":2: ", "`token.lifetime`", "`15 minutes` is not a duration"]),
            ("[query]\nmax_rows = \"many\"\n", &[":2: ", "`query.max_rows`", "invalid type"]),
            ("[query]\nmax_rows = -1\n", &[":2: ", "`query.max_rows`"]),
            ("data_dir = \"a\"\n[hub\n", &[":2: "]),
            ("[telemetry]\nformat = \"xml\"\n", &[":2: ", "`telemetry.format`", "`text` or `json`"]),
        ] {
            let message = read(text, &[]).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{part} is not in: {message}");
            }
        }
    }

    #[test]
    fn an_error_in_the_environment_names_the_variable() {
        for (name, value, part) in [
            ("ODH_DATABSE_URL", "x", "did you mean `ODH_DATABASE_URL`?"),
            ("ODH_QUERY_MAX_ROWS", "many", "ODH_QUERY_MAX_ROWS: `many` is not a whole number"),
            ("ODH_TOKEN_LIFETIME", "soon", "ODH_TOKEN_LIFETIME: `soon` is not a duration"),
            ("ODH_LISTEN_OPS", "here", "ODH_LISTEN_OPS: "),
            ("ODH_DATABASE_URL_FILE", "/nowhere/at/all", "/nowhere/at/all cannot be read"),
        ] {
            let message = read("", &[(name, value)]).unwrap_err();
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    #[test]
    fn a_secret_can_come_from_a_file_but_not_from_two_places() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "postgres://u:p@h/d\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = read("", &[("ODH_DATABASE_URL_FILE", path)]).unwrap();
        assert_eq!(config.database.url.expose(), "postgres://u:p@h/d");
        let both = read("", &[("ODH_DATABASE_URL_FILE", path), ("ODH_DATABASE_URL", "sqlite://x")]).unwrap_err();
        assert!(both.contains("both ODH_DATABASE_URL and ODH_DATABASE_URL_FILE"), "{both}");
    }

    #[test]
    fn secrets_stay_out_of_debug_errors_and_the_printed_configuration() {
        let config = read("", &[("ODH_DATABASE_URL", "postgres://hub:s3cret@db/hub")]).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(!config.redacted_toml().contains("s3cret"));
        let refused = read("[database]\nurl = \"postgres://hub:s3cret@db/hub\"\nmax_connections = \"x\"\n", &[]);
        assert!(!refused.unwrap_err().contains("s3cret"));
    }

    #[test]
    fn a_missing_file_is_an_error_and_no_file_is_not() {
        let missing = Config::load(Some(Path::new("/nowhere/hub.toml")), []).unwrap_err();
        assert!(missing.message_en().contains("/nowhere/hub.toml cannot be read"));
        assert_eq!(Config::load(None, []).unwrap(), Config::default());
    }

    #[test]
    fn the_manual_names_every_key() {
        let manual = include_str!("../../docs/configuration.md");
        for key in Config::keys().keys() {
            assert!(manual.contains(&format!("`{key}`")), "{key}");
        }
    }

    #[test]
    fn the_default_database_is_in_the_data_directory_whatever_its_name() {
        let config = read("data_dir = \"/srv/é ?\"\n", &[]).unwrap();
        assert_eq!(config.database_url().expose(), "sqlite:///srv/%C3%A9%20%3F/hub.db");
    }

    #[test]
    fn callers_are_told_the_public_url_or_the_first_name_and_the_bound_port() {
        let bound = "0.0.0.0:7444".parse().unwrap();
        assert_eq!(Config::default().public_url(bound), "https://localhost:7444");
        assert_eq!(read("[tls]\nnames = [\"::1\"]\n", &[]).unwrap().public_url(bound), "https://[::1]:7444");
        let named = read("[hub]\npublic_url = \"https://hub.example/\"\n", &[]).unwrap();
        assert_eq!(named.public_url(bound), "https://hub.example");
    }
}
