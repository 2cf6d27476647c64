//! What a dataset with differential privacy answers, seen through the engine without noise.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt as _;

use super::support::{Hub, people, released};
use crate::{
    audit::Charged,
    domain::{Bounds, How, Privacy, Value},
    error::{Reason, Result},
    query::{
        Answer, Engine, EngineConfig,
        privacy::{Noise, NoiseSource, Scale},
    },
};

/// No noise at all, or always the same.
#[derive(Debug)]
pub(super) struct Constant(pub(super) i128);

impl NoiseSource for Constant {
    fn start(&self) -> Result<Box<dyn Noise>> {
        Ok(Box::new(Self(self.0)))
    }
}

impl Noise for Constant {
    fn laplace(&mut self, _: Scale) -> Result<i128> {
        Ok(self.0)
    }
}

pub(super) fn privacy() -> Privacy {
    let text = |text: &str| Value::Text(text.to_owned());
    Privacy {
        epsilon: "1".parse().unwrap(),
        budget: "10".parse().unwrap(),
        total: "100".parse().unwrap(),
        delta: None,
        max_groups: 1,
        max_rows: 2,
        bounds: [
            ("cost".to_owned(), Bounds { lower: 100, upper: 120 }),
            ("price".to_owned(), Bounds { lower: 0, upper: 110 }),
        ]
        .into(),
        groups: [("commune".to_owned(), vec![text("Rodez"), text("Foix"), text("Nulle part")])].into(),
    }
}

fn hub(privacy: Privacy) -> Hub {
    let mut hub = Hub::new(&people()).limit(How { privacy: Some(privacy), ..How::default() });
    let config = EngineConfig { planning_timeout: std::time::Duration::from_mins(1), ..EngineConfig::default() };
    hub.engine = Engine::with_noise(config, Arc::new(Constant(0))).unwrap();
    hub
}

pub(super) async fn charged(hub: &Hub, sql: &str) -> Result<Answer> {
    let planned = hub.planned(sql).await?;
    let loss = planned.privacy_loss().cloned().unwrap();
    hub.engine.execute_charged(planned, Charged::with(released(), loss.dataset, loss.epsilon, loss.delta))
}

async fn rows(hub: &Hub, sql: &str) -> Vec<String> {
    let batches: Vec<_> = charged(hub, sql).await.unwrap().try_collect().await.unwrap();
    let table = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
}

async fn refused(hub: &Hub, sql: &str) -> String {
    let error = hub.planned(sql).await.unwrap_err();
    assert_eq!(error.reason(), Reason::QueryRejected, "{sql}: {error}");
    error.params()["detail"].clone()
}

#[tokio::test]
async fn exactly_the_listed_groups_appear_sorted_with_clamped_figures() {
    let hub = hub(privacy());
    let sql = "SELECT commune, count(*), count(DISTINCT subject_id), sum(cost), sum(price), avg(cost), avg(price)
               FROM chu.health GROUP BY commune";
    // Foix has the ordinals 30 to 38 with costs from 130 on, all above the bound of 120; Rodez one of 139.
    assert_eq!(
        rows(&hub, sql).await,
        ["Foix|9|9|1080|990.00|120.0|110.0", "Nulle part|0|0|0|0.00|110.0|55.0", "Rodez|1|1|120|110.00|120.0|110.0"]
    );
    assert_eq!(rows(&hub, "SELECT count(*), sum(cost) FROM chu.health WHERE age < 25").await, ["5|510"]);
    assert_eq!(rows(&hub, "SELECT count(*) FROM chu.health WHERE age < 0").await, ["0"]);
    let above = "SELECT commune, n FROM (SELECT commune, count(*) AS n FROM chu.health GROUP BY commune) WHERE n > 0
                 ORDER BY n LIMIT 1";
    assert_eq!(rows(&hub, above).await, ["Rodez|1"]);
}

#[tokio::test]
async fn a_subject_counts_in_as_many_groups_and_rows_as_declared() {
    let mut crowd = people();
    // One subject with six rows over three communes.
    for (at, person) in crowd.iter_mut().enumerate().take(6) {
        person.ordinal = Some(0);
        person.commune = ["Albi", "Foix", "Rodez"][at % 3];
    }
    let mut hub = Hub::new(&crowd).limit(How { privacy: Some(privacy()), ..How::default() });
    hub.engine = Engine::with_noise(EngineConfig::default(), Arc::new(Constant(0))).unwrap();
    let sql = "SELECT commune, count(*), count(DISTINCT subject_id) FROM chu.health GROUP BY commune";
    let (foix, rodez) = (9, 1);
    let found = rows(&hub, sql).await;
    // In one of the two listed communes, with its two rows there.
    let one =
        vec![format!("Foix|{}|{}", foix + 2, foix + 1), "Nulle part|0|0".to_owned(), format!("Rodez|{rodez}|{rodez}")];
    let other =
        vec![format!("Foix|{foix}|{foix}"), "Nulle part|0|0".to_owned(), format!("Rodez|{}|{}", rodez + 2, rodez + 1)];
    assert!(found == one || found == other, "{found:?}");
    assert_eq!(rows(&hub, sql).await, found, "the same choice each time");
    let total = rows(&hub, "SELECT count(*), count(DISTINCT subject_id) FROM chu.health").await;
    assert_eq!(total, ["36|35"]);
}

#[tokio::test]
async fn unlisted_groups_appear_from_the_threshold_on() {
    let found = Privacy { delta: Some("0.000001".parse().unwrap()), groups: BTreeMap::new(), ..privacy() };
    let hub = hub(found.clone());
    // One group of a subject, two figures: the noise has scale 2, the threshold is 28.
    let sql = "SELECT commune, count(*) FROM chu.health GROUP BY commune";
    assert_eq!(rows(&hub, sql).await, ["Albi|30"]);
    let answer = charged(&hub, sql).await.unwrap();
    let counters = Arc::clone(answer.counters());
    answer.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(counters.suppressed_groups(), 2);
    let loss = hub.planned(sql).await.unwrap().privacy_loss().cloned().unwrap();
    assert_eq!((loss.epsilon.to_string().as_str(), loss.delta.to_string().as_str()), ("1", "0.000001"));
    let none = hub.planned("SELECT count(*) FROM chu.health").await.unwrap().privacy_loss().cloned().unwrap();
    assert_eq!(none.delta.get(), 0, "no group, no delta");
}

#[tokio::test]
async fn a_smallest_group_is_held_against_the_noisy_number() {
    let mut hub = hub(privacy());
    hub.datasets[0].how.aggregate_only = Some(9);
    let sql = "SELECT commune, count(*) FROM chu.health GROUP BY commune";
    assert_eq!(rows(&hub, sql).await, ["Foix|9"]);
    hub.engine = Engine::with_noise(EngineConfig::default(), Arc::new(Constant(9))).unwrap();
    assert_eq!(rows(&hub, sql).await, ["Foix|18", "Nulle part|9", "Rodez|10"]);
}

#[tokio::test]
async fn a_table_that_everybody_may_read_joins_and_another_private_one_does_not() {
    let mut hub = hub(privacy());
    let joined = "SELECT h.commune, count(*) FROM chu.health h JOIN region.communes c ON h.commune = c.code
                  GROUP BY h.commune";
    assert_eq!(rows(&hub, joined).await, ["Foix|9", "Nulle part|0", "Rodez|1"]);
    let by_meter = "SELECT count(*) FROM chu.health h JOIN grid.meters m ON h.subject_id = m.subject";
    assert_eq!(rows(&hub, by_meter).await, ["35"]);
    hub.datasets[1].how.privacy = Some(Privacy { bounds: BTreeMap::new(), groups: BTreeMap::new(), ..privacy() });
    assert!(refused(&hub, by_meter).await.contains("read once"));
    hub.datasets[1].how = super::support::aggregate_only(5);
    assert!(refused(&hub, by_meter).await.contains("for aggregates only"));
}

#[tokio::test]
async fn what_no_sensitivity_accounts_for_is_refused() {
    let hub = hub(privacy());
    for (sql, why) in [
        ("SELECT commune FROM chu.health", "aggregates"),
        ("SELECT diagnosis, count(*) FROM chu.health GROUP BY diagnosis", "the policy lists"),
        ("SELECT substr(commune, 1, 2), count(*) FROM chu.health GROUP BY 1", "the policy lists"),
        ("SELECT sum(age) FROM chu.health", "measure"),
        ("SELECT count(DISTINCT commune) FROM chu.health", "subject key"),
        ("SELECT sum(DISTINCT cost) FROM chu.health", "aggregates"),
        ("SELECT max(cost) FROM chu.health", "count, sum and avg"),
        ("SELECT sum(cost * 2) FROM chu.health", "plain column"),
        ("SELECT count(*) FILTER (WHERE age > 3) FROM chu.health", "FILTER"),
        ("SELECT commune, count(*) FROM chu.health GROUP BY CUBE(commune)", "CUBE"),
        ("SELECT count(*) FROM chu.health a JOIN chu.health b ON a.subject_id = b.subject_id", "joined with itself"),
        ("SELECT count(*) FROM chu.health UNION ALL SELECT count(*) FROM chu.health", "read once"),
        ("SELECT count(*) FROM (SELECT DISTINCT commune FROM chu.health)", "aggregate"),
    ] {
        let detail = refused(&hub, sql).await;
        assert!(detail.contains(why), "{sql}: {detail}");
    }
    let wide = Privacy {
        max_rows: 4_000,
        bounds: [("cost".to_owned(), Bounds { lower: 0, upper: 1 << 51 })].into(),
        ..privacy()
    };
    assert!(refused(&self::hub(wide), "SELECT sum(cost) FROM chu.health").await.contains("overflow"));
}

#[tokio::test]
async fn nothing_runs_that_was_not_charged() {
    let hub = hub(privacy());
    let planned = async || hub.planned("SELECT count(*) FROM chu.health").await.unwrap();
    assert_eq!(hub.engine.execute(planned().await, released()).unwrap_err().reason(), Reason::QueryFailed);
    let loss = planned().await.privacy_loss().cloned().unwrap();
    for (dataset, epsilon) in [("chu.other", "1"), ("chu.health", "0.9")] {
        let charge = Charged::with(released(), dataset.parse().unwrap(), epsilon.parse().unwrap(), loss.delta);
        assert_eq!(hub.engine.execute_charged(planned().await, charge).unwrap_err().reason(), Reason::QueryFailed);
    }
    let free = hub.planned("SELECT count(*) FROM grid.meters").await.unwrap();
    let charge = Charged::with(released(), loss.dataset, loss.epsilon, loss.delta);
    assert_eq!(hub.engine.execute_charged(free, charge).unwrap_err().reason(), Reason::QueryFailed);
}

#[tokio::test]
async fn an_answer_is_kept_whole_and_given_again() {
    let hub = hub(privacy());
    let mut answer = charged(&hub, "SELECT commune, count(*) n FROM chu.health GROUP BY commune").await.unwrap();
    assert!(answer.to_be_kept().is_none());
    let mut first = Vec::new();
    while let Some(batch) = answer.try_next().await.unwrap() {
        first.push(batch);
    }
    let kept = answer.to_be_kept().unwrap();
    let again: Vec<_> = hub.engine.again(kept, released()).unwrap().try_collect().await.unwrap();
    assert_eq!(again, first);
}
