//! Known attacks, each run on two neighbouring databases: what the policy hides must not change any answer or error.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::support::{Hub, Person, aggregate_only, people, younger_than};
use crate::domain::{How, Mask};

/// What a caller can observe: the answer as text, or the error.
async fn observe(hub: &Hub, sql: &str) -> String {
    match hub.table(sql).await {
        Ok(table) => table,
        Err(error) => format!("{:?} {:?}", error.reason(), error.params()),
    }
}

async fn indistinguishable(a: &Hub, b: &Hub, queries: &[&str]) {
    for sql in queries {
        assert_eq!(observe(a, sql).await, observe(b, sql).await, "{sql}");
    }
}

/// A crowd in which the hidden person, last and outside the row filter, has `diagnosis`, `age` and `cost`.
fn crowd(diagnosis: &'static str, age: i64, cost: i64) -> Vec<Person> {
    let mut crowd = people();
    crowd.push(Person { ordinal: Some(777), commune: "Albi", age, diagnosis, cost });
    crowd
}

const BELOW_THE_FILTER: &[&str] = &[
    "SELECT count(*) FROM chu.health WHERE CAST(diagnosis AS INT) = 3",
    "SELECT count(*) FROM chu.health WHERE diagnosis = 3",
    "SELECT count(*) FROM chu.health WHERE subject_id = 's0777' AND 1 / (age - 942) = 1",
    "SELECT count(*) FROM chu.health WHERE 1 / (age - 942) = 1",
    "SELECT count(*), min(age), max(age), max(subject_id) FROM chu.health",
    "SELECT * FROM chu.health ORDER BY age DESC, cost DESC LIMIT 3",
    "SELECT m.kwh FROM chu.health h JOIN grid.meters m ON h.subject_id = m.subject WHERE 100 / (h.cost - 99) < 0",
    "SELECT (SELECT age FROM chu.health WHERE age > 900)",
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM chu.health WHERE subject_id = 's0777')",
    "SELECT age FROM chu.health WHERE subject_id LIKE 's07%'",
    "SELECT commune, count(*) FROM chu.health GROUP BY ROLLUP(commune) ORDER BY 1",
    "SELECT price * price * price FROM chu.health WHERE price > 1000000",
    "SELECT DISTINCT diagnosis FROM chu.health ORDER BY 1",
];

#[tokio::test]
async fn a_row_outside_the_filter_has_no_effect() {
    let a = Hub::new(&crowd("HIV", 942, 99)).limit(younger_than(900));
    let b = Hub::new(&crowd("3", 950, 7)).limit(younger_than(900));
    indistinguishable(&a, &b, BELOW_THE_FILTER).await;
    let absent = Hub::new(&people()).limit(younger_than(900));
    indistinguishable(&a, &absent, BELOW_THE_FILTER).await;
}

/// Groups in every place where the order of people could show.
const UNSORTED: &[&str] = &[
    "SELECT commune, count(*) FROM chu.health GROUP BY commune",
    "SELECT diagnosis, count(*) FROM chu.health WHERE age >= 22 GROUP BY diagnosis",
    "SELECT diagnosis FROM chu.health GROUP BY diagnosis LIMIT 1",
    "SELECT diagnosis, commune, avg(cost) FROM chu.health GROUP BY diagnosis, commune ORDER BY count(*) > 0",
    "SELECT left(diagnosis, 1) AS d, count(*) n FROM chu.health GROUP BY 1 HAVING count(*) > 1 ORDER BY n LIMIT 1",
    "SELECT n FROM (SELECT diagnosis, count(*) n FROM chu.health GROUP BY diagnosis) t",
    "SELECT DISTINCT n FROM (SELECT age / 7 AS a, count(*) n FROM chu.health GROUP BY 1) t",
    "SELECT diagnosis FROM chu.health GROUP BY diagnosis UNION ALL SELECT commune FROM chu.health GROUP BY commune",
    "SELECT t.d, c.code FROM (SELECT diagnosis d, commune p FROM chu.health GROUP BY 1, 2) t JOIN region.communes c ON c.code = t.p",
    "SELECT m.kwh > 17, count(*) FROM chu.health h JOIN grid.meters m ON m.subject = h.subject_id GROUP BY 1",
];

#[tokio::test]
async fn the_order_of_people_in_a_file_has_no_effect() {
    let mut other = people();
    other.reverse();
    other.rotate_left(7);
    let a = Hub::new(&people()).limit(aggregate_only(3));
    let b = Hub::new(&other).limit(aggregate_only(3));
    indistinguishable(&a, &b, UNSORTED).await;
    for sql in UNSORTED {
        assert!(!a.rows(sql).await.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn a_row_without_consent_has_no_effect() {
    let consenting = || Some(Arc::new((0..40).collect::<RoaringBitmap>()));
    let mut a = Hub::new(&crowd("HIV", 942, 99));
    let mut b = Hub::new(&crowd("3", 950, 7));
    a.datasets[0].consent = consenting();
    b.datasets[0].consent = consenting();
    indistinguishable(&a, &b, BELOW_THE_FILTER).await;
}

#[tokio::test]
async fn the_value_under_a_mask_has_no_effect() {
    let masks = || How {
        masks: [("diagnosis".into(), Mask::Null), ("age".into(), Mask::Bucket(1000))].into(),
        ..How::default()
    };
    let a = Hub::new(&crowd("HIV", 942, 7)).limit(masks());
    let b = Hub::new(&crowd("3", 11, 7)).limit(masks());
    let queries = [
        "SELECT count(*) FROM chu.health WHERE diagnosis = 'HIV'",
        "SELECT count(*) FROM chu.health WHERE diagnosis LIKE 'H%' OR age BETWEEN 940 AND 945",
        "SELECT diagnosis, age, count(*) FROM chu.health GROUP BY 1, 2",
        "SELECT min(diagnosis), max(age), count(diagnosis), count(DISTINCT age) FROM chu.health",
        "SELECT subject_id FROM chu.health ORDER BY diagnosis, age, subject_id",
        "SELECT count(*) FROM chu.health a JOIN chu.health b ON a.diagnosis = b.diagnosis",
        "SELECT 1 / (age - 942), CAST(diagnosis AS INT) FROM chu.health ORDER BY subject_id",
    ];
    indistinguishable(&a, &b, &queries).await;
}

/// What tells something about a group below k, if anything does.
const SMALL_GROUPS: &[&str] = &[
    "SELECT commune, count(*), sum(cost), avg(price) FROM chu.health GROUP BY commune ORDER BY 1",
    "SELECT count(*) FROM chu.health WHERE commune = 'Rodez'",
    "SELECT count(*) FROM chu.health WHERE commune = 'Rodez' AND diagnosis = 'HIV'",
    "SELECT commune FROM chu.health GROUP BY commune HAVING count(*) = 1",
    "SELECT commune FROM chu.health GROUP BY commune HAVING 1 / (count(*) - 1) >= 0 ORDER BY 1",
    "SELECT commune FROM chu.health GROUP BY commune HAVING CAST(commune AS INT) = 1 OR 1 / (sum(cost) - 99) > 5",
    "SELECT commune, n FROM (SELECT commune, count(*) n FROM chu.health GROUP BY commune) x WHERE 1 / (n - 1) = 0 ORDER BY n",
    "SELECT commune, count(*) n FROM chu.health GROUP BY commune ORDER BY 1 / (count(*) - 1), commune LIMIT 1",
    "SELECT c.department, x.n FROM region.communes c LEFT JOIN (SELECT commune, count(*) n FROM chu.health GROUP BY commune) x ON x.commune = c.code ORDER BY 1",
    "SELECT c.department, count(*) FROM chu.health h JOIN region.communes c ON c.code = h.commune GROUP BY 1 ORDER BY 1",
    "SELECT a.commune, count(*) FROM chu.health a JOIN chu.health b ON a.commune = b.commune WHERE a.commune = 'Rodez' GROUP BY 1",
    "SELECT commune, diagnosis, age, count(*) FROM chu.health WHERE commune = 'Rodez' GROUP BY 1, 2, 3",
    "SELECT count(*) FROM chu.health WHERE commune = 'Rodez' AND CAST(diagnosis AS INT) > 0",
    "SELECT commune, count(*) FROM chu.health GROUP BY commune UNION ALL SELECT diagnosis, count(*) FROM chu.health WHERE commune = 'Rodez' GROUP BY diagnosis ORDER BY 1",
];

#[tokio::test]
async fn a_group_below_k_has_no_effect() {
    let with = |diagnosis, age, cost| {
        let mut crowd = people();
        // The one person of Rodez.
        crowd[39] = Person { ordinal: Some(39), commune: "Rodez", age, diagnosis, cost };
        Hub::new(&crowd).limit(aggregate_only(5))
    };
    let (a, b) = (with("HIV", 42, 99), with("1", 43, i64::MAX));
    indistinguishable(&a, &b, SMALL_GROUPS).await;
    let nobody = Hub::new(&people()[..39]).limit(aggregate_only(5));
    indistinguishable(&a, &nobody, SMALL_GROUPS).await;
}

#[tokio::test]
async fn an_instant_out_of_range_does_not_fail_a_query() {
    let hub = |age| {
        let mut crowd = people();
        crowd[39].age = age;
        Hub::new(&crowd).limit(aggregate_only(5))
    };
    let (a, b) = (hub(942), hub(59));
    let sql = "SELECT commune, count(*) FROM chu.health WHERE date_trunc('year', seen) IS NOT NULL OR age > 0
        GROUP BY commune ORDER BY 1";
    assert_eq!(a.rows(sql).await, ["Albi|30", "Foix|9"]);
    let grouped = "SELECT date_trunc('month', seen) AS m, count(*) FROM chu.health GROUP BY date_trunc('month', seen)";
    assert_eq!(a.rows(grouped).await, [""; 0]);
    indistinguishable(&a, &b, &[sql, grouped]).await;
}

#[tokio::test]
async fn an_expression_cannot_be_made_to_fail_for_one_person() {
    let hub = |diagnosis| {
        let mut crowd = people();
        crowd[7].diagnosis = diagnosis;
        Hub::new(&crowd).limit(aggregate_only(5))
    };
    let (a, b) = (hub("HIV"), hub("flu"));
    let one = "CASE WHEN age = 27 AND diagnosis = 'HIV' THEN";
    let queries = [
        format!("SELECT count(*) FROM chu.health WHERE 1 / ({one} 0 ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE CAST({one} 'boom' ELSE '1' END AS INT) IS NOT NULL OR age > 0"),
        format!("SELECT count(*) FROM chu.health WHERE (-9223372036854775807 - 1) / ({one} -1 ELSE 1 END) < 0"),
        format!("SELECT count(*) FROM chu.health WHERE 9223372036854775807 + ({one} 1 ELSE 0 END) IS NOT NULL"),
        format!("SELECT count(*) FROM chu.health WHERE -({one} -9223372036854775807 - 1 ELSE 1 END) IS NOT NULL"),
        format!(
            "SELECT count(*) FROM chu.health WHERE date_trunc('month', {one} TIMESTAMP '9999-01-01' ELSE stay END) IS NOT NULL"
        ),
        format!("SELECT count(*) FROM chu.health WHERE substr(commune, {one} -5 ELSE 1 END) IS NOT NULL"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} CAST('boom' AS INT) ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} CAST('bo' || 'om' AS INT) ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} -(-9223372036854775807 - 1) ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} 1 / 0 ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} 1.0 / 0.0 ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} 9223372036854775807 + 1 ELSE 1 END) = 1"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} DATE 'never' ELSE stay END) IS NOT NULL"),
        format!(
            "SELECT count(*) FROM chu.health WHERE ({one} seen AT TIME ZONE 'Mars/Base' ELSE seen END) IS NOT NULL"
        ),
        format!("SELECT count(*) FROM chu.health WHERE ({one} CAST(seen AS DATE) ELSE stay END) = stay"),
        format!("SELECT count(*) FROM chu.health WHERE ({one} date_part('year', seen) ELSE 1 END) > 0"),
        format!(
            "SELECT count(*) FROM chu.health WHERE CAST(({one} 1e300 ELSE 1 END) AS DECIMAL(10, 2)) > 0 OR age > 0"
        ),
        format!("SELECT count(*) FROM chu.health WHERE chr({one} -1 ELSE 65 END) IS NOT NULL"),
        format!(
            "SELECT count(*) FROM chu.health WHERE price + ({one} 999999999999999999999999999999999999.0 ELSE 1.0 END) > 0"
        ),
        "SELECT commune, avg(price) FROM chu.health GROUP BY commune ORDER BY 1".to_owned(),
    ];
    for sql in &queries {
        // The person is visible in aggregates, so a count may differ; whether there is one may not.
        for hub in [&a, &b] {
            let seen = observe(hub, sql).await;
            assert!(!seen.contains("QueryFailed"), "{sql}: {seen}");
        }
        let rejected = (hub_rejects(&a, sql).await, hub_rejects(&b, sql).await);
        assert_eq!(rejected.0, rejected.1, "{sql}");
    }
}

async fn hub_rejects(hub: &Hub, sql: &str) -> Option<crate::error::Error> {
    hub.table(sql).await.err()
}
