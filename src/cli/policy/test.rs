//! `odh policy test`: runs the test files of a folder, here and without a hub, and says what they have shown.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args as ClapArgs;
use serde_json::{Value as Json, json};

use super::super::{
    Session,
    failure::{Exit, Failure},
    files,
    output::{Column, Format},
};
use crate::{
    domain::{Effect, Vocabulary},
    error::Error,
    policy::{
        suite::{self, ClauseCoverage, Coverage, Report, RuleCoverage, Subject},
        vocabulary,
    },
};

const CASES: &[Column] = &[
    Column::new("FILE", "/file"),
    Column::new("CASE", "/name"),
    Column::new("PASSED", "/passed"),
    Column::new("MISMATCHES", "/mismatches"),
];

/// What `odh policy test` is told.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// A folder: every YAML or JSON file below it that lies in a folder `tests` is run, and every policy outside one
    /// counts for the coverage. Or one test file.
    #[arg(default_value = "policies")]
    path: PathBuf,
    /// Fail, too, if less than this much of rules and clauses has been shown, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: u8,
}

/// What a folder holds.
#[derive(Default)]
struct Folder {
    tests: Vec<PathBuf>,
    /// What may be a policy.
    others: Vec<PathBuf>,
}

/// A test file with what became of it.
struct Run {
    file: PathBuf,
    report: Result<Report, Error>,
}

/// Runs every test and fails if a case does, if too little is shown or, first of all, if a file cannot be read.
pub(super) fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let folder = Folder::open(&args.path)?;
    let vocabulary = vocabulary::load()?;
    let mut runs = Vec::with_capacity(folder.tests.len());
    for file in folder.tests {
        runs.push(Run { report: run_file(&file, &vocabulary)?, file });
    }
    let mut coverage: Vec<Coverage> = Vec::new();
    let reports = runs.iter().filter_map(|run| run.report.as_ref().ok());
    let untested = folder.others.iter().filter_map(|path| suite::untested(&fs::read_to_string(path).ok()?));
    for one in reports.map(|report| report.coverage.clone()).chain(untested) {
        if !coverage.iter_mut().any(|known| known.merge(&one)) {
            coverage.push(one);
        }
    }
    let percent = suite::percent(&coverage);
    match session.out.format {
        Format::Table => session.out.line(text(&runs, &coverage, percent).trim_end())?,
        Format::Json => session.out.json(&document(&runs, &coverage, percent))?,
        _ => session.out.rows(&cases(&runs), CASES)?,
    }
    verdict(&runs, percent, args.min_coverage)
}

fn verdict(runs: &[Run], percent: u8, least: u8) -> Result<(), Failure> {
    if let Some((run, error)) = runs.iter().find_map(|run| Some((run, run.report.as_ref().err()?))) {
        let file = run.file.display();
        return Err(Failure::usage(
            format!("`{file}`: {}", error.message_en()),
            format!("`{file}` : {}", error.message_fr()),
        ));
    }
    let cases = runs.iter().filter_map(|run| run.report.as_ref().ok()).flat_map(|report| &report.cases);
    let failed = cases.clone().filter(|case| !case.passed()).count();
    if failed > 0 {
        let all = cases.count();
        return Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {all} cases failed"),
            format!("{failed} cas sur {all} ont échoué"),
        ));
    }
    if percent < least {
        return Err(Failure::new(
            Exit::Failed,
            format!("the cases show {percent} % of the rules and clauses, less than {least} %"),
            format!("les cas montrent {percent} % des règles et clauses, moins de {least} %"),
        ));
    }
    Ok(())
}

/// The outer error is about the file system, the inner one about what the file says.
fn run_file(file: &Path, vocabulary: &Vocabulary) -> Result<Result<Report, Error>, Failure> {
    let text = files::read_text(file)?;
    let mut missing = None;
    let suite = suite::parse(&text, |path| {
        let path = file.with_file_name(path);
        files::read_text(&path).map_err(|failure| {
            missing = Some(failure);
            Error::invalid("policy", path.display())
        })
    });
    if let Some(failure) = missing {
        return Err(failure);
    }
    Ok(suite.and_then(|suite| suite.run(vocabulary)))
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut folder = Self::default();
        if path.is_file() {
            folder.tests.push(path.to_owned());
        } else {
            folder.walk(path, path.file_name().is_some_and(|name| name == "tests"))?;
        }
        if folder.tests.is_empty() {
            let path = path.display();
            return Err(Failure::usage(
                format!("there is no test below `{path}`: tests are YAML files in folders named `tests`"),
                format!("aucun test sous `{path}` : les tests sont des fichiers YAML dans des dossiers `tests`"),
            ));
        }
        Ok(folder)
    }

    /// In the order of names, so that two runs read alike.
    fn walk(&mut self, folder: &Path, in_tests: bool) -> Result<(), Failure> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = entries.map_err(|e| Failure::file(folder, &e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let is_document = path
                .extension()
                .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
            // A link is not followed: it could lead in a circle.
            let kind = entry.file_type().map_err(|e| Failure::file(&path, &e))?;
            if kind.is_dir() {
                self.walk(&path, in_tests || entry.file_name() == "tests")?;
            } else if kind.is_file() && is_document {
                if in_tests { &mut self.tests } else { &mut self.others }.push(path);
            }
        }
        Ok(())
    }
}

/// Every case with what differs, then every rule with what is left to show, for a person.
fn text(runs: &[Run], coverage: &[Coverage], percent: u8) -> String {
    let mut lines = Vec::new();
    for run in runs {
        lines.push(run.file.display().to_string());
        let report = match &run.report {
            Ok(report) => report,
            Err(error) => {
                lines.push(format!("  UNREADABLE  {error}"));
                continue;
            }
        };
        for case in &report.cases {
            lines.push(format!("  {}  {}", if case.passed() { "ok  " } else { "FAIL" }, case.name));
            lines.extend(case.mismatches.iter().map(|m| format!("          {m}")));
        }
    }
    lines.push(String::new());
    for one in coverage {
        let share = suite::percent([one]);
        lines.push(format!("{share:>3} %  {}", subject(&one.subject)));
        lines.extend(one.rules.iter().filter_map(|rule| Some(format!("         {}: {}", rule.rule, left(rule)?))));
    }
    let all = runs.iter().filter_map(|run| run.report.as_ref().ok()).map(|report| report.cases.len()).sum::<usize>();
    lines.push(format!("{percent:>3} %  of everything, by {all} cases of {} files", runs.len()));
    lines.join("\n")
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Policy { dataset, digest } => format!("{dataset} ({})", &digest.to_string()[..15]),
        Subject::Roles => "roles of the hub".to_owned(),
    }
}

/// What no case has shown of a rule; none if everything is.
fn left(rule: &RuleCoverage) -> Option<String> {
    let mut left = Vec::new();
    if !rule.fires {
        left.push(if rule.effect == Effect::Permit { "never permits" } else { "never denies" }.to_owned());
    }
    for ClauseCoverage { clause, holds, fails } in &rule.clauses {
        let clause = clause.as_str();
        match (holds, fails) {
            (true, true) => {}
            (true, false) => left.push(format!("{clause} never fails")),
            (false, true) => left.push(format!("{clause} never holds")),
            (false, false) => left.push(format!("{clause} is never tried")),
        }
    }
    (!left.is_empty()).then(|| left.join(", "))
}

fn document(runs: &[Run], coverage: &[Coverage], percent: u8) -> Json {
    let coverage: Vec<_> = coverage
        .iter()
        .map(|one| {
            let (dataset, digest) = match &one.subject {
                Subject::Policy { dataset, digest } => (Some(dataset.to_string()), Some(digest.to_string())),
                Subject::Roles => (None, None),
            };
            let rules: Vec<_> = one.rules.iter().map(rule_json).collect();
            json!({ "dataset": dataset, "policy": digest, "percent": suite::percent([one]), "rules": rules })
        })
        .collect();
    let files: Vec<_> = runs
        .iter()
        .map(|run| {
            let error = run.report.as_ref().err().map(Error::message_en);
            json!({ "file": run.file, "error": error, "cases": cases(std::slice::from_ref(run)) })
        })
        .collect();
    let all = cases(runs);
    let failed = all.iter().filter(|case| case["passed"] == false).count();
    json!({ "cases": all.len(), "failed": failed, "percent": percent, "files": files, "coverage": coverage })
}

fn rule_json(rule: &RuleCoverage) -> Json {
    let clauses: Vec<_> = rule
        .clauses
        .iter()
        .map(|each| json!({ "clause": each.clause.as_str(), "holds": each.holds, "fails": each.fails }))
        .collect();
    json!({ "rule": rule.rule, "effect": rule.effect, "fires": rule.fires, "clauses": clauses })
}

fn cases(runs: &[Run]) -> Vec<Json> {
    let reports = runs.iter().filter_map(|run| Some((&run.file, run.report.as_ref().ok()?)));
    let cases = reports.flat_map(|(file, report)| report.cases.iter().map(move |case| (file, case)));
    cases
        .map(|(file, case)| {
            let mismatches: Vec<_> = case.mismatches.iter().map(ToString::to_string).collect();
            json!({ "file": file, "name": case.name, "passed": case.passed(), "mismatches": mismatches })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::run_with, *};
    use crate::cli::{
        env::{Env, Lang},
        output::Out,
    };

    async fn odh(args: &[&str]) -> (Exit, String, String) {
        let (mut out, stdout, stderr) = Out::captured(Lang::En);
        let args = ["odh", "policy", "test"].iter().chain(args).map(|arg| (*arg).into()).collect();
        let exit = run_with(args, &Env::of([]), &mut out).await;
        (exit, stdout.text(), stderr.text())
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const POLICY: &str = "dataset: a.b\nrules: [{id: open, effect: permit, actions: [read], legal_basis: contract}]";

    fn test(decision: &str) -> String {
        format!(
            "policy: ../p.yaml\ncolumns: [x]\nat: 2026-01-01\nparticipants: {{lab: {{}}}}\ncases:\n\
             - {{name: reads, request: {{by: lab, action: read, purpose: marketing}}, decision: {decision}}}\n\
             - {{name: sees, request: {{by: lab, action: discover}}, decision: deny, rule: open, first_failed: action}}\n"
        )
    }

    #[tokio::test]
    async fn every_policy_of_the_repository_decides_as_its_tests_say_and_they_show_all_of_it() {
        let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let (exit, stdout, stderr) = odh(&[policies, "--min-coverage", "100"]).await;
        println!("{stdout}{stderr}");
        assert_eq!(exit, Exit::Ok);
    }

    #[tokio::test]
    async fn the_exit_code_says_whether_all_passed_failed_or_could_not_be_read() {
        let good = folder(&[("p.yaml", POLICY), ("tests/t.yaml", &test("permit, rule: open"))]);
        let bad = folder(&[("p.yaml", POLICY), ("tests/t.yaml", &test("deny"))]);
        let path = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
        let (exit, stdout, _) = odh(&[&path(&good), "--min-coverage", "100"]).await;
        assert_eq!(exit, Exit::Ok, "{stdout}");
        let (exit, stdout, stderr) = odh(&[&path(&bad)]).await;
        assert_eq!(exit, Exit::Failed);
        assert!(stdout.contains("FAIL  reads") && stdout.contains("decision: expected deny, got permit"), "{stdout}");
        assert!(stderr.contains("1 of 2 cases failed"), "{stderr}");
        for files in [
            vec![("p.yaml", POLICY)],
            vec![("tests/t.yaml", "policy: ../p.yaml\nparticipants: {}\ncases: []")],
            vec![("p.yaml", POLICY), ("tests/t.yaml", "policy: ../p.yaml\nparticipants: {}\ncases: []\nextra: 1")],
            vec![("p.yaml", "dataset: a.b"), ("tests/t.yaml", "policy: ../p.yaml\nparticipants: {}\ncases: []")],
        ] {
            let unreadable = folder(&files);
            assert_eq!(odh(&[&path(&unreadable)]).await.0, Exit::Usage, "{files:?}");
        }
        assert_eq!(odh(&["/nowhere"]).await.0, Exit::Usage);
    }

    #[tokio::test]
    async fn a_policy_without_tests_lowers_the_coverage_of_its_folder() {
        let other = POLICY.replace("a.b", "a.c");
        let half = folder(&[("p.yaml", POLICY), ("q.yaml", &other), ("tests/t.yaml", &test("permit, rule: open"))]);
        let path = half.path().to_str().unwrap();
        let (exit, stdout, _) = odh(&[path, "--min-coverage", "50"]).await;
        assert_eq!(exit, Exit::Ok);
        assert!(stdout.contains("open: never permits, action is never tried"), "{stdout}");
        let (exit, _, stderr) = odh(&[path, "--min-coverage", "51"]).await;
        assert_eq!(exit, Exit::Failed);
        assert!(stderr.contains("50 %"), "{stderr}");
        let (_, json, _) = odh(&[path, "-o", "json"]).await;
        let json: Json = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["cases"], &json["failed"], &json["percent"]), (&json!(2), &json!(0), &json!(50)));
        assert_eq!(json["coverage"][0]["rules"][0]["clauses"][0]["fails"], true);
        let (_, csv, _) = odh(&[path, "-o", "csv"]).await;
        assert_eq!(csv.lines().count(), 3, "{csv}");
    }
}
