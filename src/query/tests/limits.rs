//! What a query may use up: the text before it is planned, and time, memory and disk while it runs.

use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::support::{Hub, Person, aggregate_only, people};
use crate::{error::Reason, query::EngineConfig};

/// Many people, so that a batch is full.
fn many() -> Vec<Person> {
    (0..20_000_u32).map(|at| Person { ordinal: Some(at), ..people()[at as usize % 40].clone() }).collect()
}

#[tokio::test]
async fn texts_that_grow_by_powers_end_at_a_limit() {
    let doubled = "SELECT max(length(e.x)) FROM (SELECT d.x || d.x AS x FROM (SELECT c.x || c.x AS x FROM
         (SELECT b.x || b.x AS x FROM (SELECT a.x || a.x AS x FROM (SELECT commune || 'LONG' AS x FROM chu.health) a) b) c) d) e";
    let concatenated = doubled.replace("d.x || d.x", "concat(d.x, d.x)").replace("c.x || c.x", "concat(c.x, c.x)");
    let long: &str = "x".repeat(4_000).leak();
    let hub = Hub::new(&many().into_iter().take(9_000).map(|one| Person { commune: long, ..one }).collect::<Vec<_>>());
    for sql in [doubled, concatenated.as_str()] {
        let started = Instant::now();
        let error = hub.error(sql).await;
        assert_eq!(error.reason(), Reason::QueryLimit, "{error}");
        // Constants are weighed before anything runs.
        assert_eq!(hub.rule(&sql.replace("LONG", long)).await, "too_large");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
    let hub = Hub::new(&many());
    assert_eq!(hub.rows("SELECT max(character_length(commune || '-' || diagnosis)) FROM chu.health").await, ["12"]);
    assert_eq!(hub.rows("SELECT count(*), count(commune || NULL) FROM chu.health").await, ["20000|0"]);
    assert_eq!(hub.rows("SELECT concat('a', NULL, 'b') || 'c'").await, ["abc"]);
}

#[tokio::test]
async fn a_constant_that_is_selected_often_is_refused() {
    let hub = Hub::new(&people());
    let wide = |columns: usize| {
        let columns: Vec<String> = (0..columns).map(|at| format!("l AS a{at}")).collect();
        format!("SELECT {} FROM (SELECT '{}' AS l FROM chu.health) t", columns.join(", "), "x".repeat(4_000))
    };
    assert_eq!(hub.rule(&wide(400)).await, "too_large");
    assert!(!hub.rows(&wide(2)).await.is_empty());
}

#[tokio::test]
async fn an_expression_that_grows_by_powers_is_refused_before_it_is_planned() {
    let hub = Hub::new(&people());
    let deep = |levels: usize| {
        let mut from = "(SELECT age AS n FROM chu.health) t".to_owned();
        for _ in 0..levels {
            from = format!("(SELECT n + n + n + n + n + n AS n FROM {from}) t");
        }
        from
    };
    let started = Instant::now();
    for sql in [
        format!("SELECT count(*) FROM {} WHERE n > 1", deep(14)),
        format!("SELECT count(*) FROM region.communes c, {} WHERE c.population < n", deep(14)),
        format!("WITH v AS (SELECT n FROM {}) SELECT max(n) FROM v", deep(12)),
    ] {
        assert_eq!(hub.rule(&sql).await, "too_complex", "{sql}");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(!hub.rows(&format!("SELECT max(n) FROM {} WHERE n > 1", deep(3))).await.is_empty());
}

#[tokio::test]
async fn a_join_that_nobody_could_wait_for_is_refused_by_the_rows_of_the_catalog() {
    let hub = Hub::new(&many());
    for sql in [
        "SELECT count(*) FROM chu.health a, chu.health b, chu.health c WHERE a.cost + b.cost + c.cost < 8",
        "SELECT count(*) FROM chu.health a, chu.health b, chu.health c",
    ] {
        assert_eq!(hub.rule(sql).await, "too_complex", "{sql}");
    }
    // One row beside another is no product.
    let scalar = "SELECT (SELECT max(age) FROM chu.health) - (SELECT min(age) FROM chu.health)";
    assert_eq!(hub.rows(scalar).await.len(), 1);
}

#[tokio::test]
async fn functions_that_make_much_of_little_do_not_exist() {
    let hub = Hub::new(&people());
    for call in [
        "repeat('x', 1000000000)",
        "lpad('x', 1000000000)",
        "rpad(commune, 1000000000)",
        "space(1000000000)",
        "replace(commune, '', commune)",
        "translate(commune, 'a', commune)",
        "overlay(commune placing commune from 1)",
        "concat_ws(commune, commune, commune)",
        "string_to_array(commune, '')",
        "array_repeat(commune, 1000000)",
        "array_resize(make_array(1), 1000000000)",
        "make_array(commune, commune)",
        "range(1, 1000000000)",
        "generate_series(1, 1000000000)",
        "regexp_replace(commune, '', commune, 'g')",
        "to_hex(age)",
        "uuid()",
    ] {
        let rule = hub.rule(&format!("SELECT {call} FROM chu.health")).await;
        assert!(["function", "type", "unsupported", "table_function"].contains(&rule.as_str()), "{call}: {rule}");
    }
}

#[tokio::test]
async fn memory_and_disk_of_a_sort_are_bounded() {
    let config = EngineConfig { memory_bytes: 512 * 1024, spill_bytes: 256 * 1024, ..EngineConfig::default() };
    let hub = Hub::with(&many(), &config);
    let sql = "SELECT a.subject_id, b.code FROM chu.health a, region.communes b, region.communes c, region.communes d
        ORDER BY a.cost, a.subject_id, b.code";
    assert_eq!(hub.error(sql).await.reason(), Reason::QueryLimit);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health").await, ["20000"], "the engine goes on");
}

#[tokio::test]
async fn an_aggregate_that_fails_late_shows_nothing_before() {
    let config = EngineConfig { memory_bytes: 512 * 1024, spill_bytes: 0, ..EngineConfig::default() };
    let hub = Hub::with(&many(), &config).limit(aggregate_only(5));
    let sql = "SELECT age, commune, diagnosis, count(*) FROM chu.health GROUP BY 1, 2, 3";
    let mut answer = hub.answer(sql).await.unwrap();
    let mut seen = 0;
    while let Some(batch) = answer.next().await {
        match batch {
            Ok(batch) => seen += batch.num_rows(),
            Err(error) => {
                assert_eq!((error.reason(), seen), (Reason::QueryLimit, 0));
                return;
            }
        }
    }
}

#[tokio::test]
async fn planning_that_takes_too_long_is_given_up_and_harms_nobody() {
    let hub = Hub::new(&people());
    // As deep as a text may be, in all directions at once.
    let sums = vec!["age"; 45].join(" + ");
    let cases: Vec<String> = (0..20).map(|at| format!("CASE WHEN {sums} > {at} THEN {at} ELSE {sums} END")).collect();
    let sql = format!("SELECT {} FROM chu.health", cases.join(", "));
    let started = Instant::now();
    // Answered or refused, in time either way.
    let _ = hub.table(&sql[..sql.len().min(32_000)]).await;
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health").await, ["40"]);
}
