//! Differences that are told, and sameness that is not claimed, case by case.

use super::{
    tests::{OLD, VOCABULARY, told},
    *,
};
use crate::policy::manifest;

fn told_by(old: &str, new: &str) -> Vec<(DifferenceKind, String)> {
    let policy = |rules: &str| format!("dataset: chu.stays\nrules:\n{rules}");
    told(&policy(old), &policy(new)).into_iter().map(|one| (one.kind, one.text.en)).collect()
}

#[test]
fn a_permit_that_is_split_by_columns_loses_their_use_at_once() {
    let permit = |id: &str, columns: &str| {
        format!(
            "  - {{id: {id}, effect: permit, actions: [aggregate], legal_basis: contract, columns: {{only: [{columns}]}}}}\n"
        )
    };
    let (whole, parts) = (permit("p", "commune, cost"), format!("{}{}", permit("p", "commune"), permit("q", "cost")));
    let lost = "all participants can no longer query aggregates of columns `commune`, `cost` for any purpose, all at \
                once, at least in part";
    assert_eq!(told_by(&whole, &parts), [(DifferenceKind::Lost, lost.to_owned())]);
    let gained = lost.replace("no longer", "now");
    assert!(told_by(&parts, &whole).contains(&(DifferenceKind::Gained, gained)), "{:#?}", told_by(&parts, &whole));
}

#[test]
fn a_deny_of_a_role_is_lost_to_whoever_holds_it_beside_the_one_that_permits() {
    let permit =
        "  - {id: p, effect: permit, actions: [aggregate], legal_basis: contract, who: {roles: [requester]}}\n";
    let deny = "  - {id: d, effect: deny, actions: [aggregate], who: {roles: [steward]}}\n";
    let found = told_by(permit, &format!("{permit}{deny}"));
    let lost = "all participants in role `steward` and also in role `requester` can no longer query aggregates of every \
                column for any purpose";
    assert_eq!(found[0], (DifferenceKind::Lost, lost.to_owned()), "{found:#?}");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn another_order_of_permits_is_a_change_unless_they_say_the_same() {
    let permit = |id: &str, rows: u32| {
        format!(
            "  - {{id: {id}, effect: permit, actions: [read], legal_basis: not_personal, how: {{max_rows: {rows}}}}}\n"
        )
    };
    let order = |a: &str, b: &str| format!("{a}{b}");
    let (few, many) = (permit("few", 5), permit("many", 1000));
    let found = told_by(&order(&few, &many), &order(&many, &few));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].1.starts_with("now comes before `few`: on an open dataset"), "{found:#?}");
    let inserted = told_by(&many, &order(&few, &many));
    assert!(inserted.iter().any(|(_, said)| said.starts_with("now comes before `many`")), "{inserted:#?}");
    let removed = told_by(&order(&few, &many), &many);
    assert!(removed.iter().any(|(_, said)| said.starts_with("no longer comes after `few`")), "{removed:#?}");
    let alike = permit("alike", 5);
    let found = told_by(&order(&few, &alike), &order(&alike, &few));
    assert!(found.len() == 1 && found[0].1.ends_with("to the same effect"), "{found:#?}");
}

#[test]
fn a_floor_is_compared_for_the_owner_and_a_redundant_rule_is_no_same_effect() {
    let found = told(OLD, &OLD.replace("{aggregate_only: 5}", "{aggregate_only: 5, max_queries: 3}"));
    assert!(found.iter().any(|one| one.path == "floor.max_queries" && one.rule.is_none()), "{found:#?}");
    let twice = OLD.replace(
        "floor:",
        "  - {id: again, effect: permit, actions: [read], who: {organisations: [irit]}, legal_basis: contract}\nfloor:",
    );
    let found = told(OLD, &twice);
    assert!(!found.is_empty() && found.iter().all(|one| !one.text.en.contains("same effect")), "{found:#?}");
}

#[test]
fn another_deadline_is_tighter_if_it_is_sooner_and_looser_if_it_is_later() {
    let later = told(OLD, &OLD.replace("delete_after_days: 365", "delete_after_days: 3000"));
    assert_eq!(later.len(), 1, "{later:#?}");
    assert_eq!((later[0].kind, later[0].path.as_str()), (DifferenceKind::Loosened, "rules[1].duties"));
    assert_eq!(later[0].text.en, "under `research`: delete after 3000 days instead of 365");
    let sooner = told(OLD, &OLD.replace("delete_after_days: 365", "delete_after_days: 30"));
    assert_eq!((sooner.len(), sooner[0].kind), (1, DifferenceKind::Tightened), "{sooner:#?}");
}

#[test]
fn columns_that_come_later_are_told_where_those_of_today_are_known() {
    let columns = ["a", "b"].map(|name| Column {
        name: name.to_owned(),
        data_type: crate::domain::ColumnType::Int64,
        nullable: true,
        role: crate::domain::ColumnRole::Dimension,
        description: String::new(),
    });
    let all = "dataset: chu.stays\nrules: [{id: p, effect: permit, actions: [read], legal_basis: contract}]";
    let only = all.replace("contract}", "contract, columns: {only: [a, b]}}");
    let policy = |text: &str| manifest::parse(text).unwrap();
    let found = diff(&policy(all), &policy(&only), Some(&columns), &VOCABULARY);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].text.en, "under `p`: columns that come later are not covered");
}
