use super::*;
use crate::{
    domain::{Access, ColumnRole, ColumnType, DatasetState, Digest, Snapshot, SnapshotId, SubjectKey, Timestamp},
    policy::{assets::TEMPLATES, manifest, vocabulary},
};

const SOUND: &str = "
dataset: chu.stays
rules:
  - id: research
    effect: permit
    actions: [read]
    who: {kinds: [lab], countries: [EU], sectors: [health], accreditations: [hds]}
    columns: {only: [person, age, commune, cost, entered]}
    purposes: [scientific_research]
    legal_basis: consent
    when: [{from: 2026-01-01, until: 2027-01-01}]
    how:
      row_filter: {compare: {column: age, op: ge, value: 18}}
      masks: {person: hmac, entered: year, commune: {prefix: 2}}
      aggregate_only: 10
    duties: [no_reidentification]
  - id: never
    effect: deny
    actions: [read, aggregate]
    purposes: [marketing]
";

fn dataset() -> Dataset {
    let column = |name: &str, data_type| Column {
        name: name.to_owned(),
        data_type,
        nullable: true,
        role: ColumnRole::Dimension,
        description: String::new(),
    };
    let id: crate::domain::DatasetId = "chu.stays".parse().unwrap();
    let now = Timestamp::from_micros(0);
    Dataset {
        id: id.clone(),
        title: String::new(),
        description: String::new(),
        licence: String::new(),
        attribution: String::new(),
        keywords: Vec::new(),
        synthetic: true,
        access: Access::Restricted,
        subject_key: Some(SubjectKey { column: "person".to_owned(), namespace: "nir".parse().unwrap() }),
        column_notes: Vec::new(),
        state: DatasetState::Draft,
        snapshot: Some(Snapshot {
            id: SnapshotId::generate(now),
            dataset: id,
            columns: vec![
                column("person", ColumnType::String),
                column("age", ColumnType::Int64),
                column("commune", ColumnType::String),
                column("cost", ColumnType::Decimal { precision: 10, scale: 2 }),
                column("ratio", ColumnType::Float64),
                column("emergency", ColumnType::Boolean),
                column("entered", ColumnType::Date),
                column("seen", ColumnType::Timestamp),
            ],
            rows: 1,
            bytes: 1,
            subjects: Some(1),
            digest: Digest([0; 32]),
            source_digest: Digest([0; 32]),
            created_at: now,
        }),
        created_at: now,
        revision: 1,
    }
}

/// Errors and warnings.
fn findings_on(dataset: &Dataset, manifest: &str) -> Vec<Finding> {
    let mut found = check(&manifest::parse(manifest).unwrap(), dataset, &vocabulary::load().unwrap());
    found.retain(|finding| finding.severity > Severity::Info);
    found
}

/// A policy with every limit that the model has.
const EVERY_LIMIT: &str = r#"
dataset: chu.stays
rules:
  - {id: rows, effect: permit, actions: [read], legal_basis: public_interest}
floor:
  row_filter: {compare: {column: age, op: ge, value: 18}}
  masks: {commune: {prefix: 2}}
  aggregate_only: 10
  privacy:
    epsilon: "0.5"
    budget: "5"
    total: "50"
    delta: "0.000001"
    max_groups: 3
    max_rows: 2
    bounds: {age: {lower: 0, upper: 120}}
    groups: {commune: ["31555", "34172"]}
  max_rows: 1000
  max_queries: 7
  rate: {minute: 2, hour: 10, day: 50}
  no_join_on: [commune]
  difference_check: true
  templates:
    by_age: {sql: "select count(*) from chu.stays where age > $age", parameters: {age: int64}}
  consent_required: true
  certificate_required: true
"#;

/// The findings after one replacement in the sound manifest.
fn findings(from: &str, to: &str) -> Vec<Finding> {
    assert!(SOUND.contains(from), "{from}");
    findings_on(&dataset(), &SOUND.replacen(from, to, 1))
}

fn has(findings: &[Finding], severity: Severity, path: &str, said: &str) -> bool {
    findings.iter().any(|f| f.severity == severity && f.path == path && f.message_en.contains(said))
}

#[test]
fn a_sound_policy_stands_without_a_finding() {
    assert_eq!(findings_on(&dataset(), SOUND), vec![]);
}

#[test]
fn what_the_hub_could_not_honour_is_an_error_at_its_place() {
    let basis = "legal_basis: consent";
    let filter = "{compare: {column: age, op: ge, value: 18}}";
    let masks = "{person: hmac, entered: year, commune: {prefix: 2}}";
    for (from, to, path, said) in [
        ("dataset: chu.stays", "dataset: chu.other", "dataset", "not `chu.stays`"),
        ("id: never", "id: research", "rules[1].id", "earlier rule"),
        ("actions: [read]", "actions: []", "rules[0].actions", "no action"),
        ("[person, age,", "[person, shoe_size, age,", "rules[0].columns", "no column `shoe_size`"),
        ("{only: [person, age, commune, cost, entered]}", "{only: []}", "rules[0].columns", "no column"),
        ("[scientific_research]", "[alchemy]", "rules[0].purposes", "`alchemy` is not a purpose"),
        ("until: 2027-01-01", "until: 2026-01-01", "rules[0].when[0]", "empty"),
        ("aggregate_only: 10", "aggregate_only: 1", "rules[0].how.aggregate_only", "at least 2"),
        ("aggregate_only: 10", "max_rows: 0", "rules[0].how.max_rows", "no row"),
        (basis, "", "rules[0].legal_basis", "legal basis"),
        ("purposes: [scientific_research]", "purposes: []", "rules[0].purposes", "name them"),
        ("[no_reidentification]", "[delete_after_days: 0]", "rules[0].duties[0]", "one day"),
        ("[no_reidentification]", "[attribute: ' ']", "rules[0].duties[0]", "empty"),
        ("[no_reidentification]", "[notify: \"a\\u0007\"]", "rules[0].duties[0]", "control"),
        ("[no_reidentification]", "[notify: \"a\\u202eb\"]", "rules[0].duties[0]", "invisible"),
        ("[no_reidentification]", "[attribute: \"a\\u200bb\"]", "rules[0].duties[0]", "invisible"),
        (
            "[no_reidentification]",
            "[delete_after_days: 30, delete_after_days: 90]",
            "rules[0].duties[1]",
            "another deadline",
        ),
        ("countries: [EU]", "countries: [france]", "rules[0].who.countries", "ISO 3166-1"),
        ("countries: [EU]", "countries: [UK]", "rules[0].who.countries", "ISO 3166-1"),
        ("countries: [EU]", "countries: [XX]", "rules[0].who.countries", "ISO 3166-1"),
        ("sectors: [health]", "sectors: [Health]", "rules[0].who.sectors", "lower-case"),
        ("accreditations: [hds]", "accreditations: [HDS]", "rules[0].who.accreditations", "lower-case"),
        ("sectors: [health]", "sectors: ['health|energy']", "rules[0].who.sectors", "not a word"),
        ("accreditations: [hds]", "accreditations: ['']", "rules[0].who.accreditations", "not a word"),
        ("accreditations: [hds]", "accreditations: ['hds\"#']", "rules[0].who.accreditations", "not a word"),
        ("purposes: [marketing]", "how: {max_rows: 1}", "rules[1].how", "a deny has no"),
        ("purposes: [marketing]", "duties: [share_alike]", "rules[1].duties", "a deny has no"),
        ("purposes: [marketing]", "legal_basis: contract", "rules[1].legal_basis", "a deny has no"),
        ("actions: [read]", "actions: [discover]", "rules[0].how", "no effect"),
        ("actions: [read]", "actions: [discover]", "rules[0].columns", "no effect"),
        (masks, "{person: {prefix: 2}}", "rules[0].how.masks.person", "subject key"),
        (masks, "{age: hmac}", "rules[0].how.masks.age", "int64"),
        (masks, "{age: year}", "rules[0].how.masks.age", "int64"),
        (masks, "{age: {bucket: 1}}", "rules[0].how.masks.age", "int64"),
        (masks, "{commune: {bucket: 5}}", "rules[0].how.masks.commune", "string"),
        (masks, "{commune: {prefix: 0}}", "rules[0].how.masks.commune", "string"),
        (masks, "{cost: {constant: '1.234'}}", "rules[0].how.masks.cost", "decimal(10,2)"),
        (masks, "{shoe_size: hmac}", "rules[0].how.masks.shoe_size", "no column"),
        (masks, "{ratio: 'null'}", "rules[0].how.masks.ratio", "not among the columns"),
        (filter, "{compare: {column: age, op: ge, value: '18'}}", "rules[0].how.row_filter", "int64"),
        (filter, "{compare: {column: entered, op: ge, value: 2026}}", "rules[0].how.row_filter", "date"),
        (filter, "{compare: {column: entered, op: ge, value: '2026-02-30'}}", "rules[0].how.row_filter", "date"),
        (filter, "{compare: {column: ratio, op: ge, value: 'NaN'}}", "rules[0].how.row_filter", "float64"),
        (filter, "{compare: {column: emergency, op: lt, value: true}}", "rules[0].how.row_filter", "`eq` and `ne`"),
        (filter, "{starts_with: {column: age, prefix: '1'}}", "rules[0].how.row_filter", "text column"),
        (filter, "{in: {column: age, values: []}}", "rules[0].how.row_filter", "no value"),
        (filter, "{in: {column: age, values: [1, x]}}", "rules[0].how.row_filter", "int64"),
        (filter, "{all: [{not: {any: []}}]}", "rules[0].how.row_filter.all[0].not", "no condition"),
        (filter, "{is_null: {column: shoe_size}}", "rules[0].how.row_filter", "no column"),
    ] {
        let found = findings(from, to);
        assert!(has(&found, Severity::Error, path, said), "{to}: {found:#?}");
    }
}

#[test]
fn a_term_that_the_hub_does_not_enforce_is_an_error_at_its_place() {
    let refused: Vec<_> = coverage(&manifest::parse(EVERY_LIMIT).unwrap())
        .into_iter()
        .filter(|term| term.coverage == Coverage::Refused)
        .map(|term| term.path)
        .collect();
    let found = findings_on(&dataset(), EVERY_LIMIT);
    for path in refused {
        assert!(has(&found, Severity::Error, &path, "does not enforce"), "{path}: {found:#?}");
    }
}

#[test]
fn rows_as_a_whole_and_aggregates_only_exclude_each_other() {
    let found = findings("actions: [read]", "actions: [download]");
    assert!(has(&found, Severity::Error, "rules[0].actions", "`aggregate_only` forbids"), "{found:#?}");
}

#[test]
fn literals_and_masks_that_fit_their_columns_pass() {
    let filter = "{compare: {column: age, op: ge, value: 18}}";
    for good in [
        "{compare: {column: entered, op: lt, value: '2026-02-28'}}",
        "{compare: {column: seen, op: lt, value: '2026-02-28T10:00:00Z'}}",
        "{compare: {column: cost, op: lt, value: '12.50'}}",
        "{compare: {column: cost, op: lt, value: 12}}",
        "{compare: {column: ratio, op: lt, value: '0.5'}}",
        "{compare: {column: emergency, op: eq, value: true}}",
        "{any: [{is_not_null: {column: age}}, {in: {column: commune, values: ['31555']}}]}",
    ] {
        assert_eq!(findings(filter, good), vec![], "{good}");
    }
    let masks = "{person: hmac, entered: year, commune: {prefix: 2}}";
    for good in ["{person: 'null', age: {bucket: 5}}", "{age: {constant: 0}, entered: {constant: '2026-01-01'}}"] {
        assert_eq!(findings(masks, good), vec![], "{good}");
    }
}

#[test]
fn a_filter_that_is_too_deep_or_too_long_is_an_error() {
    let deep = |levels: usize| format!("{}{{is_null: {{column: age}}}}{}", "{not: ".repeat(levels), "}".repeat(levels));
    let long = |terms: usize| format!("{{in: {{column: age, values: {:?}}}}}", vec![1; terms]);
    let filter = "{compare: {column: age, op: ge, value: 18}}";
    for (text, fits) in [(deep(15), true), (deep(16), false), (long(256), true), (long(257), false)] {
        let found = findings(filter, &text);
        assert_eq!(!has(&found, Severity::Error, "rules[0].how.row_filter", "deeper than"), fits, "{text}");
    }
}

#[test]
fn consent_needs_a_subject_key_and_columns_need_data() {
    let keyless = Dataset { subject_key: None, ..dataset() };
    assert!(has(&findings_on(&keyless, SOUND), Severity::Error, "rules[0].legal_basis", "subject key"));
    let empty = Dataset { snapshot: None, ..dataset() };
    assert!(has(&findings_on(&empty, SOUND), Severity::Error, "rules[0].columns", "nothing has been uploaded"));
}

#[test]
fn a_permit_of_aggregates_states_its_group_unless_the_floor_does_or_nobody_is_concerned() {
    let manifest = |how: &str, basis: &str, floor: &str| {
        format!(
            "dataset: chu.stays\nrules:\n  - {{id: a, effect: permit, actions: [aggregate], legal_basis: {basis}, {how}}}\n{floor}"
        )
    };
    let wrong = |text: &str| {
        has(&findings_on(&dataset(), text), Severity::Error, "rules[0].how.aggregate_only", "smallest group")
    };
    assert!(wrong(&manifest("", "public_interest", "")));
    assert!(!wrong(&manifest("how: {aggregate_only: 5}", "public_interest", "")));
    assert!(!wrong(&manifest("", "public_interest", "floor: {aggregate_only: 5}")));
    assert!(!wrong(&manifest("", "not_personal", "")));
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let found = findings("aggregate_only: 10", "aggregate_only: 3");
    assert!(has(&found, Severity::Warning, "rules[0].how.aggregate_only", "groups of 3"));
    let window = "when: [{from: 2026-01-01, until: 2027-01-01}]";
    for endless in ["", "when: [{from: 2020-01-01}]"] {
        assert!(has(&findings(window, endless), Severity::Warning, "rules[0].when", "for ever"), "{endless}");
    }
    let found = findings(window, "when: [{until: 2027-01-01}, {from: 2026-01-01, until: 2026-06-01}]");
    assert!(has(&found, Severity::Warning, "rules[0].when[1]", "within `when[0]`"), "{found:#?}");
    let found = findings(window, "when: [{until: 2027-01-01}, {until: 2027-01-01}]");
    assert_eq!(found.iter().filter(|finding| finding.path.starts_with("rules[0].when")).count(), 1, "{found:#?}");
    let found = findings("[no_reidentification]", "[no_reidentification, no_reidentification]");
    assert!(has(&found, Severity::Warning, "rules[0].duties[1]", "the same duty"), "{found:#?}");
    let leaves = |columns: &str, how: &str, when: &str| {
        let text = format!(
            "dataset: chu.stays\nrules: [{{id: a, effect: permit, actions: [download], who: {{kinds: [lab]}}, legal_basis: \
             contract, columns: {columns}, how: {how}, when: {when}}}]"
        );
        has(&findings_on(&dataset(), &text), Severity::Warning, "rules[0].actions", "all rows leave")
    };
    assert!(leaves("{only: [age, cost]}", "{masks: {cost: 'null'}}", "[{from: 2020-01-01}]"));
    assert!(!leaves("{only: [age, cost]}", "{masks: {cost: 'null', age: {bucket: 10}}}", "[{from: 2020-01-01}]"));
    assert!(!leaves("{only: [age, cost]}", "{}", "[{until: 2027-01-01}]"));
    assert!(leaves("all", "{masks: {cost: 'null'}}", "[]"));
    let broad = "dataset: chu.stays\nrules: [{id: a, effect: permit, actions: [read], legal_basis: not_personal}]";
    assert!(has(&findings_on(&dataset(), broad), Severity::Warning, "rules[0]", "very broad"));
    let open = Dataset { access: Access::Open, ..dataset() };
    assert_eq!(findings_on(&open, broad), vec![]);
}

#[test]
fn a_permit_that_a_deny_covers_whole_never_applies() {
    for (to, unreachable) in [
        ("purposes: [research_and_development]", true),
        ("purposes: [epidemiological_research]", false),
        ("who: {kinds: [lab, company]}", true),
        ("who: {kinds: [company]}", false),
        ("who: {accreditations: [hds]}", true),
        ("who: {accreditations: [hds, iso27001]}", false),
        ("columns: {only: [person, age, commune, cost, entered, ratio]}", true),
        ("columns: {only: [person]}", false),
        ("when: [{from: 2025-01-01}]", true),
        ("when: [{from: 2026-06-01}]", false),
    ] {
        let found = findings("purposes: [marketing]", to);
        assert_eq!(has(&found, Severity::Warning, "rules[0]", "never applies: `never`"), unreachable, "{to}");
    }
}

#[test]
fn every_template_is_publishable_on_a_dataset_that_fits_it() {
    for template in TEMPLATES {
        let mut dataset = dataset();
        dataset.id = "owner.dataset".parse().unwrap();
        if template.name == "open_licence" {
            dataset.access = Access::Open;
        }
        assert_eq!(findings_on(&dataset, template.text), vec![], "{}", template.name);
    }
}

#[test]
fn both_languages_of_a_finding_say_something() {
    let mut found = findings("[person, age,", "[shoe_size,");
    found.extend(findings("aggregate_only: 10", "aggregate_only: 1"));
    assert!(found.len() >= 2);
    for finding in found {
        assert!(!finding.message_en.is_empty() && finding.message_en != finding.message_fr, "{finding:?}");
    }
}

#[test]
fn coverage_names_each_term_once_and_what_becomes_of_it() {
    let covered = coverage(&manifest::parse(SOUND).unwrap());
    let of = |coverage| covered.iter().filter(|c| c.coverage == coverage).map(|c| c.path.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Coverage::Duty), ["rules[0].duties[0]"]);
    let enforced = of(Coverage::Enforced);
    for path in [
        "rules[0].actions",
        "rules[0].who.kinds",
        "rules[0].columns",
        "rules[0].legal_basis",
        "rules[0].how.row_filter",
        "rules[0].how.masks.person",
        "rules[0].how.aggregate_only",
        "rules[1].purposes",
    ] {
        assert_eq!(enforced.iter().filter(|each| **each == path).count(), 1, "{path}: {enforced:?}");
    }
    assert!(!enforced.contains(&"rules[1].who.kinds"));
}
