//! Every rule by which a query is rejected, and what the rejection says.

use super::support::{Hub, aggregate_only, people};
use crate::error::Reason;

/// Text alone decides.
const TEXT: &[(&str, &str)] = &[
    ("SELECT 1; SELECT 2", "one_statement"),
    ("", "one_statement"),
    ("SELEC 1", "syntax"),
    ("SELECT 'open", "syntax"),
    ("EXPLAIN SELECT 1", "only_select"),
    ("EXPLAIN ANALYZE SELECT * FROM chu.health", "only_select"),
    ("DESCRIBE chu.health", "only_select"),
    ("SHOW TABLES", "only_select"),
    ("SET datafusion.execution.batch_size = 1", "only_select"),
    ("COPY chu.health TO '/tmp/x.csv'", "only_select"),
    ("CREATE TABLE t AS SELECT 1", "only_select"),
    ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "only_select"),
    ("INSERT INTO chu.health SELECT * FROM chu.health", "only_select"),
    ("DELETE FROM chu.health", "only_select"),
    ("SELECT * INTO t FROM chu.health", "only_select"),
    ("SELECT * FROM '/etc/passwd'", "unknown_table"),
    ("SELECT * FROM health", "unknown_table"),
    ("SELECT * FROM chu.missing", "unknown_table"),
    ("SELECT * FROM information_schema.tables", "unknown_table"),
    ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r", "recursive"),
    ("SELECT * FROM chu.health h, LATERAL (SELECT h.age) x", "lateral"),
    ("SELECT * FROM generate_series(1, 10)", "table_function"),
    ("SELECT * FROM (VALUES (1)) v", "table_function"),
    ("SELECT * FROM UNNEST(ARRAY[1])", "table_function"),
    ("SELECT repeat('x', 1000000000)", "function"),
    ("SELECT sha256('x')", "function"),
    ("SELECT array_agg(age) FROM chu.health", "function"),
    ("SELECT input_file_name()", "function"),
    ("SELECT date_trunc(diagnosis, stay) FROM chu.health", "function"),
    ("SELECT sum(age) OVER () FROM chu.health", "window"),
    ("SELECT age FROM chu.health WHERE age = $1", "placeholder"),
    ("SELECT DISTINCT ON (age) age FROM chu.health", "unsupported"),
    ("SELECT diagnosis FROM chu.health WHERE diagnosis ~ 'f.*'", "unsupported"),
    ("SELECT nonsense FROM chu.health", "unknown_column"),
    ("SELECT __ordinal FROM chu.health", "unknown_column"),
    ("SELECT __odh_subject_0 FROM chu.health", "unknown_column"),
    ("SELECT age AS \"__ODH_k_0\" FROM chu.health", "unknown_column"),
    ("SELECT age AS '__odh_k_0' FROM chu.health", "unknown_column"),
    ("SELECT count(*) FROM (SELECT age AS '__odh_subject_0' FROM chu.health) t", "unknown_column"),
    ("SELECT commune FROM chu.health a JOIN chu.health b ON a.age = b.age", "ambiguous_column"),
    ("SELECT stay FROM chu.health WHERE stay = 'tomorrow'", "type"),
    ("SELECT age FROM chu.health WHERE age + true > 1", "type"),
];

/// What aggregate-only data refuses.
const AGGREGATE: &[(&str, &str)] = &[
    ("SELECT diagnosis FROM chu.health", "aggregate_only"),
    ("SELECT * FROM chu.health LIMIT 1", "aggregate_only"),
    ("SELECT DISTINCT commune FROM chu.health", "aggregate_only"),
    ("SELECT commune FROM chu.health ORDER BY age", "aggregate_only"),
    ("SELECT commune FROM chu.health UNION SELECT code FROM region.communes", "aggregate_only"),
    ("SELECT count(*) FROM (SELECT * FROM chu.health LIMIT 10) x", "aggregate_only"),
    ("SELECT cost, count(*) FROM chu.health GROUP BY cost", "aggregate_only"),
    ("SELECT cost + age, count(*) FROM chu.health GROUP BY 1", "aggregate_only"),
    ("SELECT subject_id, count(*) FROM chu.health GROUP BY subject_id", "subject_key"),
    ("SELECT count(*) FROM chu.health WHERE subject_id = 's0001'", "subject_key"),
    ("SELECT lower(subject_id), count(*) FROM chu.health GROUP BY 1", "subject_key"),
    ("SELECT min(cost) FROM chu.health", "aggregate_only"),
    ("SELECT stddev(cost) FROM chu.health", "aggregate_only"),
    ("SELECT sum(age) FROM chu.health", "aggregate_only"),
    ("SELECT sum(DISTINCT cost) FROM chu.health", "aggregate_only"),
    ("SELECT sum(CASE WHEN age = 93 THEN 1 ELSE 0 END) FROM chu.health", "aggregate_only"),
    ("SELECT count(*) FILTER (WHERE age = 93) FROM chu.health", "aggregate_only"),
    ("SELECT sum(1) FROM chu.health", "aggregate_only"),
    ("SELECT sum(cost * 2) FROM chu.health", "aggregate_only"),
    ("SELECT count(DISTINCT diagnosis) FROM chu.health", "aggregate_only"),
    ("SELECT count(DISTINCT commune) FROM chu.health", "aggregate_only"),
    ("SELECT count(DISTINCT cost) FROM chu.health", "aggregate_only"),
    (
        "SELECT count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id WHERE m.kwh > 3 OR h.age > 37",
        "aggregate_only",
    ),
    (
        "SELECT h.age + m.kwh AS x, count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id GROUP BY 1",
        "aggregate_only",
    ),
    (
        "SELECT count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id JOIN region.communes c ON c.code = h.commune WHERE m.kwh > 3 OR c.population > 10000",
        "aggregate_only",
    ),
    ("SELECT count(*) FROM grid.meters m LEFT JOIN chu.health h ON m.subject = h.subject_id", "join"),
    ("SELECT count(*) FROM region.communes c LEFT JOIN chu.health h ON c.code = h.commune", "join"),
    ("SELECT commune, count(*) FROM chu.health GROUP BY CUBE(commune, age)", "aggregate_only"),
    ("SELECT avg(n) FROM (SELECT commune, count(*) n FROM chu.health GROUP BY commune) x", "aggregate_only"),
    ("SELECT 1 WHERE EXISTS (SELECT 1 FROM chu.health WHERE age = 93)", "aggregate_only"),
    ("SELECT count(*) FROM region.communes WHERE code IN (SELECT commune FROM chu.health)", "aggregate_only"),
    ("SELECT sum(c.population) FROM chu.health h JOIN region.communes c ON c.code = h.commune", "aggregate_only"),
    ("SELECT count(m.kwh) FROM chu.health h LEFT JOIN grid.meters m ON m.subject = h.subject_id", "aggregate_only"),
    (
        "SELECT count(DISTINCT c.department) FROM chu.health h JOIN region.communes c ON c.code = h.commune",
        "aggregate_only",
    ),
    (
        "SELECT m.subject, count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id GROUP BY 1",
        "subject_key",
    ),
    ("SELECT count(*) FROM chu.health a JOIN chu.health b USING (subject_id)", "join"),
    (
        "SELECT count(*) FROM chu.health a JOIN grid.meters m ON m.subject = a.subject_id JOIN chu.health b ON b.subject_id = m.subject",
        "join",
    ),
    (
        "SELECT count(*) FROM chu.health h JOIN (SELECT code FROM region.communes UNION ALL SELECT code FROM region.communes) c ON c.code = h.commune",
        "join_repeats",
    ),
    (
        "SELECT count(*) FROM chu.health h JOIN (SELECT code FROM region.communes UNION ALL SELECT code FROM region.communes) c ON c.code = h.commune WHERE age > 1000",
        "join_repeats",
    ),
    ("SELECT count(*) FROM chu.health, region.communes", "join"),
    ("SELECT count(*) FROM chu.health a JOIN chu.health b ON a.age = b.age", "join"),
    ("SELECT count(*) FROM chu.health a JOIN chu.health b ON a.commune = b.commune AND a.age < b.age", "join"),
    ("SELECT count(*) FROM chu.health h RIGHT JOIN region.communes c ON c.code = h.commune", "join"),
    ("SELECT count(*) FROM chu.health h JOIN region.communes c ON c.code = h.subject_id", "join"),
    ("SELECT count(*) FROM chu.health WHERE price * 2 > 1", "type"),
    ("SELECT count(*) FROM chu.health WHERE 1 / (age - 42) = 1", "aggregate_only"),
    ("SELECT count(*) FROM chu.health WHERE round(cost) = 1", "aggregate_only"),
    ("SELECT count(*) FROM chu.health WHERE diagnosis LIKE commune", "aggregate_only"),
    ("SELECT count(*) FROM chu.health WHERE floor(price) = 1", "type"),
];

#[tokio::test]
async fn text_that_breaks_a_rule_is_rejected_by_its_name() {
    let hub = Hub::new(&people());
    for (sql, rule) in TEXT {
        assert_eq!(hub.rule(sql).await, *rule, "{sql}");
    }
}

#[tokio::test]
async fn aggregate_only_data_refuses_what_could_single_out() {
    let hub = Hub::new(&people()).limit(aggregate_only(5));
    for (sql, rule) in AGGREGATE {
        assert_eq!(hub.rule(sql).await, *rule, "{sql}");
    }
}

#[tokio::test]
async fn sizes_are_capped_before_anything_is_planned() {
    let hub = Hub::new(&people());
    let chain = |n: usize, separator: &str| vec!["1"; n].join(separator);
    let relations = vec!["region.communes"; 17].join(", ");
    let bomb =
        "WITH a AS (SELECT x.code FROM region.communes x, region.communes y), b AS (SELECT p.code FROM a p, a q),
        c AS (SELECT p.code FROM b p, b q), d AS (SELECT p.code FROM c p, c q) SELECT count(*) FROM d, d e";
    let cases = [
        (format!("SELECT {}", chain(20_000, "+")), "too_large"),
        (format!("SELECT {}", chain(3_000, "+")), "too_large"),
        (format!("SELECT {}", chain(1_900, "+")), "too_complex"),
        (format!("SELECT {}", "(".repeat(300)), "syntax"),
        (["SELECT 1"; 10].join(" UNION ALL "), "too_complex"),
        (format!("SELECT 1 FROM {relations}"), "too_complex"),
        (format!("SELECT 1 WHERE 1 IN ({})", chain(1_001, ",")), "too_complex"),
        (format!("SELECT '{}'", "x".repeat(9_000)), "too_complex"),
        (format!("SELECT {}", ["'x'"; 8].join("||")), "too_complex"),
        (format!("SELECT {} true", "NOT ".repeat(3_000)), "syntax"),
        (format!("SELECT 1{}", "::bigint".repeat(1_200)), "too_complex"),
        (format!("SELECT {}1", "- ".repeat(3_000)), "syntax"),
        (format!("SELECT {} 1 {}", "CASE WHEN true THEN ".repeat(200), "END ".repeat(200)), "syntax"),
        ("SELECT count(*) FROM chu.health GROUP BY CUBE(1, 2, 3, 4), CUBE(5, 6, 7)".to_owned(), "too_complex"),
        (bomb.to_owned(), "too_complex"),
    ];
    for (sql, rule) in cases {
        assert_eq!(hub.rule(&sql).await, rule, "{}", &sql[..40]);
    }
}

#[tokio::test]
async fn subject_keys_of_two_namespaces_do_not_meet() {
    let mut hub = Hub::new(&people());
    hub.datasets[1].subject_key.as_mut().unwrap().namespace = "meter".parse().unwrap();
    for condition in
        ["JOIN grid.meters m ON m.subject = h.subject_id", ", grid.meters m WHERE h.subject_id = m.subject"]
    {
        let sql = format!("SELECT count(*) FROM chu.health h {condition}");
        assert_eq!(hub.rule(&sql).await, "subject_key", "{sql}");
    }
    let sql = "SELECT age FROM chu.health h WHERE EXISTS (SELECT 1 FROM grid.meters m WHERE m.subject = h.subject_id)";
    assert_eq!(hub.rule(sql).await, "subject_key");
    let sql = "SELECT age FROM chu.health WHERE subject_id IN (SELECT subject FROM grid.meters)";
    assert_eq!(hub.rule(sql).await, "subject_key");
    let hub = hub.limit(aggregate_only(5));
    let sql = "SELECT count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id";
    assert_eq!(hub.rule(sql).await, "join");
}

#[tokio::test]
async fn a_rejection_quotes_the_text_and_nothing_else() {
    let hub = Hub::new(&people());
    let error = hub.error("SELECT dignosis FROM chu.health").await;
    assert_eq!(error.reason(), Reason::QueryRejected);
    let message = error.message_en();
    assert!(message.contains("dignosis") && !message.contains("diagnosis") && !message.contains("Valid"), "{message}");
    assert_eq!(
        hub.error("SELECT\n age age age").await.params()["detail"],
        "this is not valid SQL at line 2, column 10"
    );
}

#[tokio::test]
async fn a_catalog_is_reported_and_does_not_change_the_dataset() {
    let hub = Hub::new(&people());
    let admitted = hub.engine.admit("select * from \"care-research\".chu.health -- why").await.unwrap();
    assert_eq!(admitted.catalogs.iter().collect::<Vec<_>>(), ["care-research"]);
    assert_eq!(admitted.tables.iter().map(ToString::to_string).collect::<Vec<_>>(), ["chu.health"]);
    assert_eq!(admitted.normalised(), "SELECT * FROM chu.health");
    assert!(hub.engine.plan(admitted, hub.datasets.clone()).await.is_ok());
}

#[tokio::test]
async fn a_column_that_is_not_for_joining_meets_no_other_relation() {
    let mut hub = Hub::new(&people());
    hub.datasets[2].how.no_join_on = ["code".to_owned()].into();
    for sql in [
        "SELECT count(*) FROM chu.health h JOIN region.communes c ON c.code = h.commune",
        "SELECT count(*) FROM chu.health h LEFT JOIN region.communes c ON c.code > h.commune",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE c.code = h.commune",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE NOT (c.code <> h.commune)",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE upper(c.code) LIKE upper(h.commune)",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE h.commune IN (c.code, 'x')",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE h.commune BETWEEN c.code AND c.code",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE nullif(c.code, h.commune) IS NULL",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE CASE WHEN c.code = 'Albi' THEN h.commune END = 'Albi'",
        "SELECT count(*) FROM chu.health h, region.communes c GROUP BY c.code || h.commune",
        "SELECT c.code = h.commune FROM chu.health h, region.communes c",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE (c.code = 'Albi' AND h.age > 30) OR (c.code <> 'Albi' AND h.age <= 30)",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE NOT (c.code = 'Albi' AND h.age > 30)",
        "SELECT count(*) FROM (SELECT c.code = 'Albi' OR h.age > 30 AS x FROM chu.health h, region.communes c) t WHERE x",
        "SELECT count(*) FROM region.communes a JOIN region.communes b USING (code)",
        "SELECT count(*) FROM region.communes a NATURAL JOIN region.communes b",
        "SELECT age FROM chu.health WHERE commune IN (SELECT code FROM region.communes)",
        "SELECT age FROM chu.health h WHERE EXISTS (SELECT 1 FROM region.communes c WHERE c.code = h.commune)",
        "SELECT age FROM chu.health h WHERE commune = (SELECT max(code) FROM region.communes)",
        "SELECT code FROM region.communes INTERSECT SELECT commune FROM chu.health",
        "SELECT commune FROM chu.health EXCEPT SELECT code FROM region.communes",
        "SELECT x, count(*) FROM (SELECT code AS x FROM region.communes UNION ALL SELECT commune FROM chu.health) t GROUP BY x",
        "WITH t AS (SELECT code AS x, count(*) FROM region.communes GROUP BY code) SELECT 1 FROM t JOIN chu.health h ON h.commune = t.x",
        "WITH t AS (SELECT min(code) AS x FROM region.communes) SELECT 1 FROM t JOIN chu.health h ON h.commune = t.x",
        "WITH t AS (SELECT code AS x FROM region.communes GROUP BY ROLLUP(code)) SELECT 1 FROM t JOIN chu.health h ON h.commune = t.x",
    ] {
        assert_eq!(hub.rule(sql).await, "no_join_on", "{sql}");
    }
    for sql in [
        "SELECT code, population FROM region.communes WHERE code = 'Albi' ORDER BY code",
        "SELECT code, count(*) FROM region.communes GROUP BY code HAVING max(code) > 'B'",
        "SELECT count(*) FROM chu.health h, region.communes c WHERE c.code = 'Albi' AND h.age > 30",
        "SELECT count(*) FROM chu.health h JOIN region.communes c ON c.population = h.cost",
    ] {
        assert!(hub.table(sql).await.is_ok(), "{sql}");
    }
    let mut hub = hub.limit(aggregate_only(5));
    let sql = "SELECT count(*) FROM chu.health h JOIN region.communes c ON c.code = h.commune";
    assert_eq!(hub.rule(sql).await, "no_join_on");
    hub.datasets[2].how.no_join_on.clear();
    assert_eq!(hub.rows(sql).await, ["40"]);
}

#[tokio::test]
async fn of_ones_own_data_nothing_weighs_or_marks_somebody_elses_people() {
    let mut hub = Hub::new(&people()).limit(aggregate_only(5));
    hub.datasets[1].how = aggregate_only(2);
    let crossed = "SELECT count(*), avg(m.kwh) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id";
    assert_eq!(hub.rows(crossed).await, ["35|17.0"]);
    hub.datasets[1].own = true;
    assert_eq!(hub.rule(crossed).await, "aggregate_only");
    let counted = "SELECT count(*), avg(h.cost) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id";
    assert_eq!(hub.rows(counted).await, ["35|117.0"]);
    assert_eq!(hub.rows("SELECT count(*), sum(kwh) FROM grid.meters").await, ["35|595.0"]);
}

#[tokio::test]
async fn what_the_text_rules_out_is_an_answer_and_no_failure() {
    let hub = Hub::new(&people());
    assert_eq!(hub.rows("SELECT count(*) AS n FROM chu.health WHERE commune = NULL").await, ["0"]);
    assert_eq!(hub.rows("SELECT count(*) AS n FROM chu.health WHERE 1 = 2").await, ["0"]);
    assert!(hub.rows("SELECT age FROM chu.health WHERE NULL").await.is_empty());
    let hub = Hub::new(&people()).limit(aggregate_only(2));
    assert!(hub.rows("SELECT count(*) AS n FROM chu.health WHERE commune = NULL").await.is_empty());
}
