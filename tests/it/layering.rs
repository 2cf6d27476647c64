//! Holds the shape of the code: who may use whom, where each heavy library lives, how long a file may be, and that
//! a migration never changes once it has landed. Reads `src/` as text; comments and strings do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Each layer and what it may use of the crate. Data flows from the bottom to the top of this list, never back, and
/// never between neighbours: `store`, `query`, `policy` and `trust` do not know each other.
const LAYERS: [(&str, &[&str]); 16] = [
    ("error", &[]),
    ("domain", &["error"]),
    ("config", &["error"]),
    ("telemetry", &["config", "error"]),
    ("audit", &["domain", "error"]),
    ("policy", &["audit", "domain", "error"]),
    ("trust", &["audit", "domain", "error"]),
    // What these two measure they report through callbacks that `app` connects.
    ("store", &["audit", "domain", "error"]),
    ("query", &["audit", "domain", "error"]),
    ("service", &["store", "query", "policy", "trust", "audit", "domain", "error", "telemetry"]),
    ("grpc", &["service", "store", "query", "policy", "trust", "audit", "domain", "error", "config", "telemetry"]),
    ("http", &["service", "store", "query", "policy", "trust", "audit", "domain", "error", "config", "telemetry"]),
    (
        "server",
        &[
            "grpc",
            "http",
            "service",
            "store",
            "query",
            "policy",
            "trust",
            "audit",
            "domain",
            "error",
            "config",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "server",
            "grpc",
            "http",
            "service",
            "store",
            "query",
            "policy",
            "trust",
            "audit",
            "domain",
            "error",
            "config",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "server",
            "grpc",
            "http",
            "service",
            "store",
            "query",
            "policy",
            "trust",
            "audit",
            "domain",
            "error",
            "config",
            "telemetry",
        ],
    ),
    ("main", &["cli", "error"]),
];

/// The heavy libraries and their homes, as the beginnings of paths below `src/`.
const HOMES: [(&[&str], &[&str]); 8] = [
    (
        &["tonic", "tonic_types", "tonic_prost", "tonic_health", "tonic_reflection", "prost", "prost_types"],
        // `trust/tls` for tonic's `Connected` alone: it is how a peer's certificate reaches a call.
        &["grpc/", "cli/", "server", "trust/tls"],
    ),
    (&["axum"], &["http/"]),
    (&["sqlx"], &["store/"]),
    (&["datafusion"], &["query/"]),
    (
        &["arrow", "arrow_flight", "arrow_schema", "parquet"],
        &["query/", "grpc/query", "grpc/flight", "cli/output", "cli/query"],
    ),
    (&["casbin"], &["policy/"]),
    (&["jsonwebtoken"], &["trust/token", "trust/jwks"]),
    (&["rustls", "tokio_rustls"], &["trust/tls"]),
];

/// Files beyond [`MAX_LINES`], and why they are not split.
const LONG: [(&str, &str); 0] = [];

const MAX_LINES: usize = 400;

#[test]
fn a_layer_uses_only_what_stands_below_it() {
    let allowed = BTreeMap::from(LAYERS);
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let layer = layer_of(&path);
        if layer == "lib" {
            continue;
        }
        let Some(allowed) = allowed.get(layer) else {
            wrong.push(format!("{path}: `{layer}` is not a layer: give it a place in LAYERS"));
            continue;
        };
        let root = if layer == "main" { "odh" } else { "crate" };
        // Enough of `super::` reaches the root as well; one more does from a module inside the file.
        let depth = path.split('/').count() - usize::from(path.ends_with("/mod.rs"));
        let climbs = [depth, depth + 1].map(|supers| vec!["super"; supers].join("::"));
        let climbed = climbs.iter().flat_map(|climb| uses(&code, climb)).filter(|used| is_layer(used));
        for used in uses(&code, root).into_iter().chain(climbed) {
            if used != layer && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{path} uses {root}::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_heavy_library_stays_in_its_home() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        for (libraries, homes) in HOMES {
            let at_home = homes.iter().any(|home| path.starts_with(home));
            for library in libraries.iter().filter(|library| !at_home && names_crate(&code, library)) {
                wrong.push(format!("{path} uses {library}, whose home is {}", homes.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// P1: the token without which nothing is released is made after a commit, and nowhere else.
#[test]
fn p1_only_the_writer_attests_a_commit() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, code)| {
            let may = path.starts_with("store/writer") || path == "audit/mod.rs" || path.contains("/tests/");
            code.contains("after_commit") && !may
        })
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "Committed::after_commit is called in {}", wrong.join(", "));
}

#[test]
fn files_are_short_enough_to_be_read() {
    let long = BTreeMap::from(LONG);
    let mut wrong = Vec::new();
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        let lines = fs::read_to_string(root().join(&path)).unwrap().lines().count();
        match (lines > MAX_LINES, long.contains_key(path.as_str())) {
            (true, false) => wrong.push(format!("{path} has {lines} lines: split it, or list it with a reason")),
            (false, true) => wrong.push(format!("{path} has {lines} lines: take it off the list")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_migration_never_changes_once_it_has_landed() {
    let migrations = files("migrations", "sql");
    let Ok(sums) = fs::read_to_string(root().join("migrations/CHECKSUMS")) else {
        assert!(migrations.is_empty(), "migrations/CHECKSUMS is missing: run `just seal-migrations`");
        return;
    };
    let sealed: BTreeMap<String, &str> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (format!("migrations/{name}"), sum))
        .collect();
    for path in sealed.keys() {
        assert!(migrations.contains(path), "{path} has landed and cannot be removed");
    }
    for path in &migrations {
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &fs::read(root().join(path)).unwrap());
        let sum: String = sum.as_ref().iter().fold(String::new(), |text, byte| text + format!("{byte:02x}").as_str());
        let known = sealed.get(path).unwrap_or_else(|| panic!("{path} is new: run `just seal-migrations`"));
        assert_eq!(*known, sum, "{path} has landed and cannot change: write a new migration");
    }
}

#[test]
fn the_reader_sees_code_and_not_text() {
    let code = code_only(
        "use crate::{a::b, c::{d, e}}; // crate::f\nlet x = \"crate::g\"; let y = r#\"crate::h\"#; '\"'; crate::i::j",
    );
    assert_eq!(uses(&code, "crate"), BTreeSet::from(["a", "c", "i"].map(str::to_owned)));
    assert_eq!(uses("super::super::store::x; super::y", "super::super"), BTreeSet::from(["store".to_owned()]));
    assert!(names_crate("use sqlx::query;", "sqlx") && names_crate("::sqlx::query()", "sqlx"));
    assert!(names_crate("use sqlx as db;", "sqlx"));
    assert!(!names_crate("crate::store::sqlx::x", "sqlx") && !names_crate("my_sqlx::x", "sqlx"));
}

// --- reading --------------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this extension, by its path in the repository.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// Every file of `src/` by its path below it, without comments and strings.
fn sources() -> Vec<(String, String)> {
    let read = |path: String| {
        let code = code_only(&fs::read_to_string(root().join(&path)).unwrap());
        (path.trim_start_matches("src/").to_owned(), code)
    };
    files("src", "rs").into_iter().map(read).collect()
}

fn layer_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn is_layer(name: &str) -> bool {
    LAYERS.iter().any(|(layer, _)| *layer == name)
}

/// The first segments after `root::`, those of a braced list included.
fn uses(code: &str, root: &str) -> BTreeSet<String> {
    let start = format!("{root}::");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back();
        // `$crate::` of a macro of ours is the same as `crate::`.
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list_heads(list)),
            None => found.extend(ident(rest)),
        }
    }
    found
}

/// The first segment of each item of a braced list, up to its closing brace.
fn list_heads(list: &str) -> Vec<String> {
    let (mut heads, mut depth, mut begins) = (Vec::new(), 0, true);
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                heads.extend(ident(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn ident(text: &str) -> Option<String> {
    let ident: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!ident.is_empty()).then_some(ident)
}

/// Whether the code has a path that begins with this crate, or renames it.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let inner = before.strip_suffix("::").is_some_and(|b| b.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        whole && !inner && (after.starts_with("::") || (before.ends_with("use ") && after.starts_with([' ', ';'])))
    })
}

/// The text without comments and without the insides of string and character literals.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let opened = hashes + 2;
            rest[opened..].find(&end).map_or(rest.len(), |at| opened + at + end.len())
        } else if first == '"' {
            string_end(rest, '"')
        } else if first == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            string_end(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skip..];
    }
    code
}

/// How many `#` a raw string that begins here has.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let quoted = hashes.trim_start_matches('#');
    quoted.starts_with('"').then(|| hashes.len() - quoted.len())
}

/// Where the literal that begins here with `quote` ends.
fn string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
