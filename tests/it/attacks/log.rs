//! The audit log of a query across owners: each owner reads its own part, the caller reads no hidden figure.

use std::time::Duration;

use serde_json::Value as Json;

use super::neighbours;
use crate::{harness::eventually, personas::Persona, world::RESEARCH};

const CROSSING: &str = "SELECT g.commune, count(DISTINCT g.pid) FROM chu.groups g JOIN grid.readings r ON r.pid = g.pid \
                        WHERE g.age < 50 GROUP BY g.commune";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_a_crossing_read_their_own_part_of_it_and_no_more() {
    let hub = Box::pin(neighbours::one()).await;
    let answer = hub.requester.query(RESEARCH, CROSSING).await.unwrap();
    let id = &answer.header.query_id;
    let of = async |who: &Persona, kind: &str| -> Vec<Json> {
        let entries = who.entries(&format!("type = \"{kind}\"")).await;
        entries.into_iter().map(|(_, entry)| entry).filter(|entry| entry["f"]["query"] == id.as_str()).collect()
    };
    let (chu, grid, lab) = (hub.chu.auditor().await, hub.grid.auditor().await, hub.lab.auditor().await);
    eventually("the outcome", Duration::from_secs(10), || async {
        (!of(&lab, "query.outcome").await.is_empty()).then_some(())
    })
    .await;
    for (owner, other, table) in [(&chu, "grid", "chu.groups"), (&grid, "chu", "grid.readings")] {
        let [decision] = of(owner, "query.decision").await.try_into().unwrap();
        let datasets = decision["f"]["datasets"].as_array().unwrap().clone();
        assert_eq!(datasets.len(), 1, "{decision}");
        assert_eq!(datasets[0]["dataset"], table);
        for known in ["snapshot", "policy", "rule", "grant", "consents"] {
            assert!(datasets[0][known].is_string(), "{known}: {decision}");
        }
        let k = if other == "grid" { "5" } else { "8" };
        assert_eq!((&decision["f"]["crossed_with"], &decision["f"]["k"]), (&"1".into(), &k.into()), "{decision}");
        assert!(decision["f"]["max_rows"].is_null(), "a limit that no dataset of this owner has: {decision}");
        assert!(decision["c"]["normalised_sql"].is_string() && decision["c"]["sql"].is_string(), "{decision}");
        let outcomes = of(owner, "query.outcome").await;
        let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        for figure in ["rows", "bytes", "rows_scanned", "rows_passed", "suppressed_groups"] {
            assert!(outcome["f"][figure].is_string(), "{figure}: {outcome}");
        }
        for leaf in [&decision, outcome] {
            let text = leaf.to_string();
            assert!(!text.contains(&format!("\"{other}")), "{other} in a leaf of {table}: {text}");
        }
    }
    // The caller is a party to each of these decisions; its own names both datasets, and no outcome of it a hidden figure.
    let decisions = of(&lab, "query.decision").await;
    let complete = decisions.iter().filter(|entry| entry["f"]["datasets"].as_array().unwrap().len() == 2).count();
    assert_eq!((decisions.len(), complete), (3, 1), "{decisions:?}");
    let outcomes = of(&lab, "query.outcome").await;
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(outcome["f"]["suppressed_groups"].is_null() && outcome["f"]["rows_passed"].is_null(), "{outcome}");
    hub.stop().await;
}
