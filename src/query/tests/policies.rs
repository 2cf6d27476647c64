//! Each term of a policy has its effect, and the ordinary query works.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use roaring::RoaringBitmap;

use super::support::{Hub, Person, aggregate_only, people, released, younger_than};
use crate::{
    domain::{ColumnType, Columns, How, Mask},
    error::Reason,
    query::EngineConfig,
};

#[tokio::test]
async fn row_level_data_may_be_asked_nearly_anything() {
    let hub = Hub::new(&people());
    let sql = "WITH young AS (SELECT * FROM chu.health WHERE age < 25)
        SELECT c.department, count(*) n, max(y.cost) FROM young y JOIN region.communes c ON c.code = y.commune
        WHERE EXISTS (SELECT 1 FROM grid.meters m WHERE m.subject = y.subject_id)
        GROUP BY c.department HAVING count(*) > 1 ORDER BY n DESC LIMIT 5";
    assert_eq!(hub.rows(sql).await, ["Tarn|5|104"]);
    let scalar = "SELECT age FROM chu.health WHERE age = (SELECT max(age) FROM chu.health)";
    assert_eq!(hub.rows(scalar).await, ["59"]);
    assert_eq!(hub.rows("SELECT 1 + 1").await, ["2"]);
    assert_eq!(
        hub.rows("SELECT count(*), (SELECT 1), (SELECT max(age) FROM chu.health) FROM grid.meters").await,
        ["35|1|59"]
    );
    assert_eq!(
        hub.rows("SELECT sum(price * (1 - 0.1)), CAST('2026-01-31' AS DATE) FROM chu.health WHERE age < 21").await,
        ["90.0|2026-01-31"]
    );
    assert_eq!(hub.rows("SELECT code FROM region.communes WHERE code LIKE '%i%' EXCEPT SELECT 'Albi'").await, ["Foix"]);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health").await, ["40"]);
    let union = "SELECT code FROM region.communes UNION SELECT commune FROM chu.health ORDER BY 1";
    assert_eq!(hub.rows(union).await, ["Albi", "Foix", "Rodez"]);
    let anti = "SELECT count(*) FROM chu.health WHERE subject_id NOT IN (SELECT subject FROM grid.meters)";
    assert_eq!(hub.rows(anti).await, ["5"]);
}

#[tokio::test]
async fn a_row_filter_hides_rows_from_every_form_of_query() {
    let hub = Hub::new(&people()).limit(younger_than(30));
    assert_eq!(hub.rows("SELECT count(*), max(age), min(subject_id) FROM chu.health").await, ["10|29|s0000"]);
    assert_eq!(hub.rows("SELECT age FROM chu.health ORDER BY age DESC LIMIT 1").await, ["29"]);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health WHERE age > 29").await, ["0"]);
}

#[tokio::test]
async fn consent_decides_by_the_ordinal() {
    let mut hub = Hub::new(&people());
    hub.datasets[0].consent = Some(Arc::new(RoaringBitmap::from_iter([1, 3, 500])));
    assert_eq!(hub.rows("SELECT subject_id FROM chu.health ORDER BY 1").await, ["s0001", "s0003"]);
    hub.datasets[0].consent = Some(Arc::default());
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health").await, ["0"]);
}

#[tokio::test]
async fn a_row_without_a_subject_has_not_consented() {
    let mut crowd = people();
    crowd[1].ordinal = None;
    let mut hub = Hub::new(&crowd);
    hub.datasets[0].consent = Some(Arc::new((0..40).collect::<RoaringBitmap>()));
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health").await, ["39"]);
}

#[tokio::test]
async fn a_masked_column_yields_its_mask_wherever_it_is_mentioned() {
    let masks =
        [("diagnosis".to_owned(), Mask::Null), ("age".to_owned(), Mask::Bucket(10)), ("stay".to_owned(), Mask::Year)];
    let hub = Hub::new(&people()).limit(How { masks: masks.into(), ..How::default() });
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health WHERE diagnosis = 'flu'").await, ["0"]);
    assert_eq!(hub.rows("SELECT DISTINCT age FROM chu.health ORDER BY age").await, ["20", "30", "40", "50"]);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health WHERE age = 21").await, ["0"]);
    assert_eq!(hub.rows("SELECT DISTINCT diagnosis, stay FROM chu.health").await, ["|2022-01-01"]);
}

#[tokio::test]
async fn a_column_outside_the_list_does_not_exist() {
    let mut hub = Hub::new(&people());
    hub.datasets[0].columns = Columns::Only(BTreeSet::from(["commune".to_owned(), "age".to_owned()]));
    let absent = hub.error("SELECT nonsense FROM chu.health").await;
    for name in ["cost", "diagnosis", "__ordinal"] {
        let hidden = hub.error(&format!("SELECT {name} FROM chu.health")).await;
        assert_eq!(hidden.message_en(), absent.message_en().replace("nonsense", name));
    }
    assert_eq!(hub.planned("SELECT * FROM chu.health").await.unwrap().schema().fields().len(), 2);
}

#[tokio::test]
async fn small_groups_are_absent_and_counted_for_the_owner() {
    let hub = Hub::new(&people()).limit(aggregate_only(5));
    let sql =
        "SELECT commune, count(*), count(DISTINCT subject_id), sum(cost) FROM chu.health GROUP BY commune ORDER BY 1";
    assert_eq!(hub.rows(sql).await, ["Albi|30|30|3435", "Foix|9|9|1206"]);
    let mut answer = hub.answer(sql).await.unwrap();
    while answer.next().await.is_some() {}
    let counters = answer.counters();
    assert_eq!((counters.rows(), counters.suppressed_groups()), (2, 1));
    assert_eq!(counters.datasets()[&"chu.health".parse().unwrap()].scanned(), 40);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health WHERE commune = 'Rodez'").await, [""; 0]);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health").await, ["40"]);
}

#[tokio::test]
async fn the_three_datasets_cross_under_aggregate_only() {
    let mut hub = Hub::new(&people()).limit(aggregate_only(5));
    hub.datasets[1].how = aggregate_only(8);
    let sql = "SELECT c.department, count(DISTINCT h.subject_id) AS n, avg(h.cost) AS cost, sum(m.kwh) AS kwh
        FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id JOIN region.communes c ON c.code = h.commune
        WHERE h.age < 100 GROUP BY c.department HAVING count(*) > 1 ORDER BY n DESC";
    // Foix has 5 subjects with a meter: enough for health, not for the stricter 8 that binds for both.
    assert_eq!(hub.rows(sql).await, ["Tarn|30|114.5|435.0"]);
    let explained = hub.planned(sql).await.unwrap().explain().join("\n");
    assert!(explained.contains("GovernedScan chu.health") && explained.contains("KSuppressExec"), "{explained}");
    assert!(!explained.contains("parquet") && !explained.contains("100"), "{explained}");
}

#[tokio::test]
async fn nested_projections_and_aliases_carry_the_subject_up() {
    let hub = Hub::new(&people()).limit(aggregate_only(5));
    let sql = "WITH base AS (SELECT commune AS place, cost AS price FROM chu.health WHERE age >= 20)
        SELECT upper(t.place) AS p, t.n + 1 AS m FROM
        (SELECT s.place, count(*) AS n, sum(s.price) AS total FROM (SELECT * FROM base) s GROUP BY s.place) t
        WHERE t.total > 0 ORDER BY p";
    assert_eq!(hub.rows(sql).await, ["ALBI|31", "FOIX|10"]);
}

#[tokio::test]
async fn an_instant_far_in_the_future_still_compares() {
    let mut crowd = people();
    crowd[0].age = 8_000;
    let hub = Hub::new(&crowd);
    let sql = "SELECT count(*) FROM chu.health WHERE seen > TIMESTAMP '2029-06-01 00:00:00'";
    assert_eq!(hub.rows(sql).await, ["1"]);
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health WHERE seen > '2029-06-01'").await, ["1"]);
    assert_eq!(hub.rows("SELECT date_part('year', max(seen)) FROM chu.health").await, ["9970"]);
}

#[tokio::test]
async fn every_accepted_form_of_an_aggregate_is_suppressed() {
    let hub = Hub::new(&people()).limit(aggregate_only(5));
    for (sql, rows) in [
        ("SELECT commune FROM chu.health GROUP BY commune ORDER BY 1", vec!["Albi", "Foix"]),
        ("SELECT count(*) FROM chu.health GROUP BY commune LIMIT 10", vec!["30", "9"]),
        (
            "SELECT a.commune, count(*) FROM chu.health a JOIN grid.meters b ON b.subject = a.subject_id GROUP BY 1",
            vec!["Albi|30", "Foix|5"],
        ),
        (
            "SELECT count(*) FROM chu.health h LEFT JOIN grid.meters m ON m.subject = h.subject_id GROUP BY h.commune",
            vec!["30", "9"],
        ),
        (
            "WITH t AS (SELECT commune, count(*) n FROM chu.health GROUP BY commune) SELECT a.n, b.n FROM t a JOIN t b ON a.commune = b.commune",
            vec!["30|30", "9|9"],
        ),
        (
            "SELECT commune, count(*) FROM chu.health WHERE diagnosis IN ('flu', 'HIV') AND age BETWEEN 0 AND 99 GROUP BY commune",
            vec!["Albi|15", "Foix|5"],
        ),
        (
            "SELECT CASE WHEN age < 25 THEN 'young' ELSE 'old' END AS c, count(*) FROM chu.health GROUP BY 1",
            vec!["old|35", "young|5"],
        ),
        (
            "SELECT age / 10 AS d, avg(price) FROM chu.health GROUP BY age / 10",
            vec!["2|104.5", "3|114.5", "4|124.5", "5|134.5"],
        ),
        (
            "SELECT date_trunc('year', stay) AS y, count(DISTINCT subject_id) FROM chu.health GROUP BY 1",
            vec!["2022-01-01T00:00:00|40"],
        ),
    ] {
        let mut found = hub.rows(sql).await;
        found.sort();
        assert_eq!(found, rows, "{sql}");
    }
}

#[tokio::test]
async fn without_a_subject_key_rows_are_counted_once_each() {
    let mut hub = Hub::new(&people());
    hub.datasets[2].how = aggregate_only(2);
    let sql = "SELECT c.department, count(*) FROM region.communes c GROUP BY c.department";
    assert_eq!(hub.rows(sql).await, [""; 0]);
    assert_eq!(hub.rows("SELECT count(*), sum(population) FROM region.communes").await, ["3|82000"]);
}

#[tokio::test]
async fn the_row_cap_ends_a_stream_and_withholds_an_aggregate() {
    let cap = |k| How { max_rows: Some(1), aggregate_only: k, ..How::default() };
    let hub = Hub::new(&people()).limit(cap(None));
    let mut answer = hub.answer("SELECT age FROM chu.health").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap().num_rows(), 1);
    assert_eq!(answer.next().await.unwrap().unwrap_err().reason(), Reason::QueryLimit);
    assert!(answer.next().await.is_none());
    assert_eq!(hub.rows("SELECT age FROM chu.health ORDER BY age LIMIT 1").await, ["20"]);
    let hub = hub.limit(cap(Some(2)));
    let mut answer = hub.answer("SELECT commune, count(*) FROM chu.health GROUP BY commune").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap_err().reason(), Reason::QueryLimit);
}

#[tokio::test]
async fn a_large_dataset_is_split_and_counted_the_same() {
    let crowd: Vec<Person> = (0..100_000_u32)
        .map(|at| Person {
            ordinal: Some(at / 2),
            commune: if at < 7 { "Foix" } else { "Albi" },
            ..people()[0].clone()
        })
        .collect();
    let mut hub = Hub::new(&crowd).limit(aggregate_only(4));
    let sql = "SELECT commune, count(*), sum(cost) FROM chu.health GROUP BY commune ORDER BY 1";
    let start = Instant::now();
    // Seven rows of Foix are four subjects.
    assert_eq!(hub.rows(sql).await, ["Albi|99993|9999300", "Foix|7|700"]);
    println!("100,000 rows in {:?}", start.elapsed());
    hub.datasets[0].how = aggregate_only(5);
    assert_eq!(hub.rows(sql).await, ["Albi|99993|9999300"]);
    hub.datasets[0].how = How::default();
    let batches: Vec<RecordBatch> =
        hub.answer("SELECT age FROM chu.health").await.unwrap().try_collect().await.unwrap();
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows.iter().sum::<usize>(), 100_000);
    assert!(rows[..rows.len() - 1].iter().all(|rows| *rows == 8_192), "{rows:?}");
}

#[tokio::test]
async fn a_dropped_answer_cancels_the_query() {
    let hub = Hub::new(&people());
    let sql = "SELECT a.age FROM chu.health a, chu.health b, chu.health c, chu.health d";
    let mut answer = hub.answer(sql).await.unwrap();
    assert!(answer.next().await.unwrap().is_ok());
    let counters = Arc::clone(answer.counters());
    drop(answer);
    for _ in 0..500 {
        if Arc::strong_count(&counters) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the query goes on");
}

#[tokio::test]
async fn an_object_that_is_not_as_catalogued_fails_without_a_cause() {
    let mut hub = Hub::new(&people());
    hub.datasets[0].stored[2].data_type = ColumnType::String;
    let error = hub.error("SELECT age FROM chu.health").await;
    assert_eq!(error.reason(), Reason::QueryFailed);
    hub.datasets[0].object = "/nowhere/secret.parquet".into();
    let absent = hub.error("SELECT age FROM chu.health").await;
    assert_eq!(absent, error);
}

#[tokio::test]
async fn the_deadline_cuts() {
    let config = EngineConfig { deadline: Duration::from_millis(1), ..EngineConfig::default() };
    let hub = Hub::with(&people(), &config);
    let sql = "SELECT count(*) FROM chu.health a, chu.health b, chu.health c, chu.health d, chu.health e WHERE a.age+b.age<c.age+d.age+e.age";
    assert_eq!(hub.error(sql).await.reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn memory_is_bounded() {
    let config = EngineConfig { memory_bytes: 64 * 1024, spill_bytes: 0, ..EngineConfig::default() };
    let hub = Hub::with(&people(), &config);
    let sql = "SELECT a.subject_id, b.subject_id, c.subject_id FROM chu.health a, chu.health b, chu.health c ORDER BY 1, 2, 3";
    assert_eq!(hub.error(sql).await.reason(), Reason::QueryLimit);
}

#[tokio::test]
async fn a_small_query_is_quick_even_unoptimised() {
    let hub = Hub::new(&people()).limit(aggregate_only(5));
    let sql = "SELECT commune, count(*) FROM chu.health GROUP BY commune ORDER BY 1";
    hub.rows(sql).await;
    let start = Instant::now();
    let planned = hub.planned(sql).await.unwrap();
    let after_plan = start.elapsed();
    let mut answer = hub.engine.execute(planned, released()).unwrap();
    while answer.next().await.is_some() {}
    println!("small query: planned in {after_plan:?}, answered in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_figure_of_too_few_people_takes_its_group_along() {
    let mut crowd = people();
    for person in &mut crowd[4..30] {
        person.diagnosis = "";
    }
    let hub = Hub::new(&crowd).limit(aggregate_only(5));
    let sql = |figure: &str| format!("SELECT commune, {figure} FROM chu.health GROUP BY commune ORDER BY 1");
    assert_eq!(hub.rows(&sql("count(*)")).await, ["Albi|30", "Foix|9"]);
    // Four people of Albi have a diagnosis: their number would tell of each of them.
    assert_eq!(hub.rows(&sql("count(*), count(diagnosis)")).await, ["Foix|9|9"]);
}

#[tokio::test]
async fn pseudonyms_of_two_columns_or_datasets_differ_and_those_of_subjects_agree() {
    let masked = |column: &str| How { masks: [(column.to_owned(), Mask::Hmac)].into(), ..How::default() };
    let mut hub = Hub::new(&people());
    hub.datasets[0].how = How {
        masks: [("commune".into(), Mask::Hmac), ("diagnosis".into(), Mask::Hmac)].into(),
        ..masked("subject_id")
    };
    hub.datasets[2].how = masked("code");
    let same = "SELECT count(*) FROM chu.health h JOIN region.communes c ON c.code = h.commune";
    assert_eq!(hub.rows(same).await, ["0"], "whoever fills one column would read the other");
    hub.datasets[0].how = masked("subject_id");
    hub.datasets[1].how = masked("subject");
    let people = "SELECT count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id";
    assert_eq!(hub.rows(people).await, ["35"]);
}

#[tokio::test]
async fn no_row_of_visible_data_fails_a_query() {
    let mut crowd = people();
    crowd[0].cost = i64::MIN;
    crowd[1].age = 5_000;
    crowd[2].cost = i64::MAX;
    let hub = Hub::new(&crowd);
    for expression in [
        "cost / (age - 20)",
        "cost / CASE WHEN cost < 0 THEN -1 ELSE 1 END",
        "cost % (age - 22)",
        "price * price * price * price",
        "price / (price - 10000)",
        "stay + INTERVAL '500000 years'",
        "seen - INTERVAL '290000 years'",
        "seen - TIMESTAMP '1700-01-01 00:00:00'",
        "date_trunc('month', seen)",
        "substr(diagnosis, 1, age - 30)",
        "left(diagnosis, cost)",
        "split_part(diagnosis, 'u', age - 30)",
        "round(price, age)",
        "CAST(diagnosis AS INT)",
        "CAST(cost AS SMALLINT)",
        "CAST(seen AS DATE)",
        "-cost",
    ] {
        let sql = format!("SELECT count(*), count({expression}) FROM chu.health WHERE {expression} IS NULL OR age > 0");
        let answer = hub.table(&sql).await;
        assert!(answer.is_ok(), "{expression}: {answer:?}");
    }
    assert_eq!(hub.rows("SELECT count(*), count(cost / (age - 25)) FROM chu.health").await, ["40|39"]);
    let wide = "SELECT count(*), count(price * price) FROM chu.health";
    assert_eq!(hub.rows(wide).await, ["40|38"]);
}

#[tokio::test]
async fn a_condition_that_never_holds_is_an_answer() {
    let hub = Hub::new(&people());
    assert_eq!(hub.rows("SELECT count(*) FROM chu.health WHERE false").await, ["0"]);
    assert_eq!(hub.rows("SELECT age FROM chu.health WHERE 1 = 2 AND age > 1").await, [""; 0]);
}

#[tokio::test]
async fn a_comparison_inside_the_scan_sees_what_the_caller_sees() {
    let masks = || How {
        masks: [("diagnosis".to_owned(), Mask::Prefix(1)), ("cost".to_owned(), Mask::Bucket(10))].into(),
        ..younger_than(50)
    };
    let hub = Hub::new(&people()).limit(masks());
    for (condition, rows) in [
        ("age >= 40", "10"),
        ("40 <= age AND age < 45 AND commune = 'Albi'", "5"),
        ("age > 55", "0"),
        ("diagnosis = 'flu'", "0"),
        ("diagnosis = 'f'", "15"),
        ("cost = 110", "10"),
        ("cost = 111", "0"),
        ("subject_id = 's0003'", "1"),
        ("stay = '2022-01-28'", "1"),
        ("seen < TIMESTAMP '1995-01-01 00:00:00'", "5"),
        ("price >= 110 AND price < 112.0", "2"),
    ] {
        let sql = format!("SELECT count(*) FROM chu.health WHERE {condition}");
        assert_eq!(hub.rows(&sql).await, [rows], "{condition}");
    }
    let plan = async |condition: &str| {
        let sql = format!("SELECT age FROM chu.health WHERE {condition}");
        hub.planned(&sql).await.unwrap().explain().join(" ")
    };
    assert!(!plan("age > 3 AND commune = 'Albi'").await.contains("FilterExec"));
    for above in ["diagnosis = 'f'", "cost = 110", "age + 1 > 3", "age > cost"] {
        assert!(plan(above).await.contains("FilterExec"), "{above}");
    }
}
