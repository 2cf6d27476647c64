//! The format's own tests, and the mutation check: the test files of `policies/` notice any clause that goes missing.

use std::{fs, path::Path};

use super::{super::assets::USAGE_MODEL, *};
use crate::policy::{Fault, vocabulary};

const SOUND: &str = "
policy:
  dataset: a.b
  rules:
    - {id: open, effect: permit, actions: [read], purposes: [marketing], legal_basis: contract, how: {masks: {x: {prefix: 1}}}}
    - {id: no_acme, effect: deny, actions: [read], who: {organisations: [acme]}}
columns: [x, y]
at: 2026-01-01
participants:
  lab: {}
  acme: {kind: company}
cases:
  - name: reads
    request: {by: lab, action: read, purpose: marketing}
    decision: permit
    rule: open
    obligations: {how: {masks: {x: {prefix: 1}}}, legal_basis: contract}
  - name: acme
    request: {by: acme, action: read, purpose: marketing}
    decision: deny
    rule: no_acme
";

fn no_manifest(path: &str) -> Result<String> {
    panic!("`{path}` is asked for")
}

fn run(text: &str) -> Report {
    parse(text, no_manifest).unwrap().run(&vocabulary::load().unwrap()).unwrap()
}

/// What differs, of every case.
fn mismatches(text: &str) -> Vec<String> {
    run(text).cases.iter().flat_map(|case| case.mismatches.iter().map(ToString::to_string)).collect()
}

#[test]
fn a_case_passes_if_everything_that_it_says_comes_out() {
    assert_eq!(mismatches(SOUND), Vec::<String>::new());
    let coverage = run(SOUND).coverage;
    assert!(coverage.rules.iter().all(|rule| rule.fires));
    // Shown: both fire; each clause holds; the organisation of the deny fails. Not: the rest.
    assert_eq!(percent([&coverage]), u8::try_from((2 + 4 + 1) * 100 / (2 + 2 * 4)).unwrap());
}

#[test]
fn each_thing_that_comes_out_differently_is_told() {
    for (from, to, told) in [
        ("decision: permit\n    rule: open\n    obligations", "decision: deny\n    explanation: {en: no}\n    x", ""),
        ("by: lab,", "by: acme,", "decision: expected permit, got deny"),
        ("purpose: marketing}\n    decision: permit", "purpose: energy_planning}\n    decision: permit", "got deny"),
        (
            "{x: {prefix: 1}}}, legal",
            "{x: {prefix: 2}}}, legal",
            "obligations.how: expected {\"masks\":{\"x\":{\"prefix\":2}}}",
        ),
        (
            "legal_basis: contract}\n",
            "legal_basis: consent}\n",
            "obligations.legal_basis: expected consent, got contract",
        ),
        (
            ", legal_basis: contract}\n",
            ", duties: [share_alike]}\n",
            "obligations.duties: expected [\"share_alike\"], got []",
        ),
        (
            "    rule: no_acme",
            "    rule: open\n    first_failed: purpose",
            "rule `open`: expected fails in purpose, got permits",
        ),
        ("rule: no_acme", "rule: no_acme\n    first_failed: kind", "expected fails in kind, got denies"),
        ("rule: no_acme", "rule: no_acme\n    unknown: kind", "expected denies, not knowing kind, got denies"),
        (
            "rule: no_acme",
            "rule: no_acme\n    explanation: {fr: Non.}",
            "explanation.fr: expected Non., got La politique",
        ),
    ] {
        let text = SOUND.replacen(from, to, 1);
        assert_ne!(text, SOUND, "{from}");
        if told.is_empty() {
            assert!(parse(&text, no_manifest).is_err(), "{to}");
            continue;
        }
        let told_of = mismatches(&text);
        assert!(told_of.iter().any(|each| each.contains(told)), "{to}: {told_of:?}");
    }
}

#[test]
fn a_purpose_that_there_is_not_is_refused_unless_it_is_meant() {
    let run = |text: &str| parse(text, no_manifest).unwrap().run(&vocabulary::load().unwrap());
    let slip = SOUND.replace("by: acme, action: read, purpose: marketing", "by: acme, action: read, purpose: no_such");
    let error = run(&slip).unwrap_err();
    assert_eq!((error.reason(), error.params()["path"].as_str()), (Reason::PolicyInvalid, "cases[1]"));
    assert!(error.params()["detail"].contains("`no_such` is no purpose"), "{error}");
    for rule in ["rule: no_acme\n    unknown: purpose", "rule: open\n    first_failed: purpose\n    unknown: purpose"] {
        let meant = slip.replace("rule: no_acme", rule);
        assert!(run(&meant).unwrap().cases.iter().all(CaseReport::passed), "{rule}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    for (from, to, path, detail) in [
        ("columns: [x, y]", "column: [x, y]", "", "unknown field `column`"),
        ("columns: [x, y]\n", "", "cases[0]", "`columns`"),
        ("at: 2026-01-01\n", "", "cases[0]", "`at`"),
        ("by: lab", "by: nobody", "cases[0]", "`nobody` is none of the participants"),
        ("rule: open\n", "rule: closed\n", "cases[0]", "no rule `closed`"),
        ("    rule: open\n", "", "cases[0]", "a permit names its rule"),
        ("rule: open\n", "rule: no_acme\n", "cases[0]", "its rule is a deny"),
        ("rule: open\n", "rule: open\n    first_failed: kind\n", "cases[0]", "no first failed clause"),
        ("rule: open\n", "rule: open\n    unknown: kind\n", "cases[0]", "`unknown` is of a deny"),
        ("rule: no_acme", "first_failed: kind", "cases[1]", "name it"),
        ("rule: no_acme", "rule: open", "cases[1]", "why the rule misses"),
        ("rule: no_acme", "rule: no_acme\n    obligations: {}", "cases[1]", "no obligations"),
        (
            "purpose: marketing}\n    decision: permit",
            "purpose: marketing, columns: [x, z]}\n    decision: permit",
            "cases[0]",
            "`z` is none of the file's",
        ),
        ("name: acme", "name: reads", "cases[1]", "earlier case"),
        ("kind: company", "kind: comp", "participants.acme.kind", "unknown variant"),
        ("kind: company", "age: 3", "participants.acme", "unknown field `age`"),
        ("prefix: 1}}}}\n", "prefixes: 1}}}}\n", "policy.rules[0].how.masks.x", "unknown variant"),
        ("decision: permit", "decision: permit\n    decision: deny", "cases[0]", "given twice"),
        ("decision: permit", "verdict: permit", "cases[0]", "unknown field `verdict`"),
    ] {
        let text = SOUND.replacen(from, to, 1);
        assert_ne!(text, SOUND, "{from}");
        let error = parse(&text, no_manifest).unwrap_err();
        assert_eq!(error.reason(), Reason::PolicyInvalid);
        let (at, said) = (&error.params()["path"], &error.params()["detail"]);
        assert!(at.starts_with(path) || path.starts_with(at.as_str()), "{to}: {at}: {said}");
        assert!(said.contains(detail), "{to}: {at}: {said}");
    }
}

#[test]
fn a_manifest_is_loaded_by_the_path_that_the_file_gives() {
    let rest = &SOUND[SOUND.find("columns:").unwrap()..];
    let text = format!("policy: ../my policy.yaml\n{rest}");
    let manifest = "dataset: a.b\nrules: [{id: open, effect: permit, actions: [read], legal_basis: contract}]";
    let suite = parse(&text, |path| {
        assert_eq!(path, "../my policy.yaml");
        Ok(manifest.to_owned())
    });
    assert!(suite.unwrap_err().message_en().contains("no rule `no_acme`"));
    assert!(parse(&text, |_| Err(Error::not_found("it"))).is_err());
}

const ROLES: &str = "
hub: region
members: {ann: {participant: chu, roles: [steward]}}
cases:
  - {name: hers, by: ann, in: chu, may: {dataset: [create]}, may_not: {query: [run]}}
  - {name: the hub, by: ann, nothing_else: true}
";

#[test]
fn roles_are_tested_act_by_act() {
    assert_eq!(mismatches(ROLES), Vec::<String>::new());
    assert_eq!(
        mismatches(&ROLES.replace("[run]", "[run, explain]").replace("[create]", "[create, read_all]")),
        ["read_all of dataset: expected may, got may not"]
    );
    let strict = ROLES.replace("may_not: {query: [run]}", "nothing_else: true");
    assert!(mismatches(&strict).contains(&"upload of dataset: expected may not, got may".to_owned()));
    for (from, to) in [
        ("create", "make"),
        ("dataset:", "datasets:"),
        ("by: ann", "by: bob"),
        ("may_not: {query: [run]}", "may_not: {dataset: [create]}"),
        (", nothing_else: true", ""),
        ("in: chu", "at: chu"),
    ] {
        assert!(parse(&ROLES.replace(from, to), no_manifest).is_err(), "{to}");
    }
}

/// Every test of a usage policy that lies in `policies/`.
fn usage_tests() -> Vec<(String, usage::Suite)> {
    fn walk(folder: &Path, found: &mut Vec<(String, usage::Suite)>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                walk(&entry, found);
            } else if folder.ends_with("tests") {
                let load = |path: &str| Ok(fs::read_to_string(folder.join(path)).unwrap());
                let suite = parse(&fs::read_to_string(&entry).unwrap(), load).unwrap();
                if let Suite(Kind::Usage(suite)) = suite {
                    found.push((entry.display().to_string(), *suite));
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), &mut found);
    found
}

/// How many cases come out differently under another model.
fn noticed(suites: &[(String, usage::Suite)], vocabulary: &Vocabulary, model: &str) -> usize {
    let reports = suites.iter().map(|(_, suite)| suite.run_with(vocabulary, model));
    reports.map(|report| report.unwrap().cases.iter().filter(|case| !case.passed()).count()).sum()
}

#[test]
fn no_clause_of_the_matcher_can_be_left_out_or_weakened_without_a_test_file_noticing() {
    let (suites, vocabulary) = (usage_tests(), vocabulary::load().unwrap());
    assert!(suites.len() >= 9);
    assert_eq!(noticed(&suites, &vocabulary, USAGE_MODEL), 0);
    let matcher = USAGE_MODEL.lines().find(|line| line.starts_with("m = ")).unwrap();
    let parts: Vec<_> = matcher.trim_start_matches("m = ").split(" && ").collect();
    assert_eq!(parts.len(), 10);
    for part in &parts {
        let rest: Vec<_> = parts.iter().filter(|other| *other != part).copied().collect();
        let dropped = USAGE_MODEL.replace(matcher, &format!("m = {}", rest.join(" && ")));
        let blind = USAGE_MODEL.replace(part, &part.replace("p.eft", "\"allow\""));
        let deaf = USAGE_MODEL.replace(part, &part.replace("p.eft", "\"deny\""));
        let cases = noticed(&suites, &vocabulary, &dropped);
        println!("without {part}: {cases} cases come out differently");
        assert!(cases > 0, "no case notices that `{part}` is gone");
        // These know the effect of their rule, or meet something unknown in the files.
        if ["kind", "columns", "purpose"].iter().any(|clause| part.starts_with(clause)) {
            assert!(
                noticed(&suites, &vocabulary, &blind) > 0,
                "no case notices that `{part}` takes a deny for a permit"
            );
            assert!(
                noticed(&suites, &vocabulary, &deaf) > 0,
                "no case notices that `{part}` takes a permit for a deny"
            );
        }
    }
    let unlike = USAGE_MODEL.replace(" && !some(where (p.eft == deny))", "");
    let refused = suites[0].1.run_with(&vocabulary, &unlike).unwrap_err();
    assert_eq!(Fault::of(&refused), Some(Fault::UnknownEffect));
}
