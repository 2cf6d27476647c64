//! Random aggregates over data of which nothing else may leave, and a share of attempts at more.

use std::fmt::Write as _;

use super::{
    Asked,
    reference::{K, K_METERS, WHO},
    rng::{DIVIDE, END, Rng, for_evaluator, for_hub},
};

/// A FROM clause with the datasets in it whose people are counted: alias and k.
type Source = (&'static str, &'static [(&'static str, u32)], bool);

const HEALTH: &[(&str, u32)] = &[("h", K)];
const CROSSED: &[(&str, u32)] = &[("h", K_METERS), ("m", K_METERS)];

/// Whether the meters are among them, besides.
const SOURCES: [Source; 6] = [
    ("chu.health h", HEALTH, false),
    ("chu.health h", HEALTH, false),
    ("chu.health h JOIN region.communes c ON c.code = h.commune", HEALTH, false),
    ("chu.health h LEFT JOIN region.communes c ON c.code = h.commune", HEALTH, false),
    ("chu.health h JOIN grid.meters m ON m.subject = h.subject_id", CROSSED, true),
    (
        "chu.health h JOIN grid.meters m ON m.subject = h.subject_id JOIN region.communes c ON c.code = h.commune",
        CROSSED,
        true,
    ),
];

/// Replacements that ask for more than an aggregate.
const ATTEMPTS: &[(&str, &str)] = &[
    ("count(*)", "min(h.cost)"),
    ("count(*)", "count(DISTINCT h.diagnosis)"),
    ("JOIN grid.meters", "LEFT JOIN grid.meters"),
    ("count(*)", "count(*) FILTER (WHERE h.age > 30)"),
    ("count(*)", "sum(h.age)"),
    ("count(*)", "sum(CASE WHEN h.age = 33 THEN 1 ELSE 0 END)"),
    ("count(*)", "array_agg(h.age)"),
    ("h.commune", "h.subject_id"),
    ("h.commune", "h.cost"),
    ("GROUP BY h.commune", "GROUP BY ROLLUP(h.commune)"),
    (" ON c.code = h.commune", " ON c.population > h.cost"),
    ("region.communes c", "(SELECT * FROM region.communes UNION ALL SELECT * FROM region.communes) c"),
    (" WHERE ", " WHERE h.subject_id = 's0003' AND "),
    (" WHERE ", " WHERE 1 / (h.age - 33) = 1 AND "),
    (" WHERE ", " WHERE h.price * h.price > 1 AND "),
    (" WHERE ", " WHERE h.age = (SELECT max(age) FROM chu.health) AND "),
    ("chu.health h", "chu.health h CROSS JOIN region.communes x"),
    ("chu.health h", "chu.health o JOIN chu.health h ON o.subject_id = h.subject_id"),
    ("SELECT g0", "SELECT DISTINCT g0, rank() OVER (ORDER BY g0)"),
];

pub(super) fn query(rng: &mut Rng) -> Asked {
    let (from, people, meters) = rng.pick(&SOURCES);
    let communes = from.contains("communes");
    let condition = if rng.chance(75) { format!(" WHERE {}", truth(rng, 2)) } else { String::new() };
    let groups: Vec<String> = (0..rng.pick(&[0, 1, 1, 1, 2])).map(|_| group(rng, communes)).collect();
    let figures: Vec<(String, Option<&str>)> = (0..=rng.below(2)).map(|_| figure(rng, meters)).collect();
    let names: Vec<String> =
        (0..groups.len()).map(|at| format!("g{at}")).chain((0..figures.len()).map(|at| format!("a{at}"))).collect();
    let inner: Vec<String> = groups
        .iter()
        .chain(figures.iter().map(|it| &it.0))
        .zip(&names)
        .map(|(it, name)| format!("{it} AS {name}"))
        .collect();
    let by = if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
    let after = if rng.chance(40) {
        format!("a0 {} {}", rng.pick(&[">", "<", "<>"]), rng.pick(&["1", "9", "20", "100"]))
    } else {
        "1 = 1".to_owned()
    };
    let ordered = rng.chance(50);
    let order = if ordered {
        let limit = if rng.chance(40) { format!(" LIMIT {}", rng.below(5)) } else { String::new() };
        format!(" ORDER BY {}{limit}", names.join(", "))
    } else {
        String::new()
    };
    let (outs, inner) = (names.join(", "), inner.join(", "));
    let sql = format!("SELECT {outs} FROM (SELECT {inner} FROM {from}{condition}{by}) t WHERE {after}{order}");
    if rng.chance(15) {
        let (attempt, to) = rng.pick(ATTEMPTS);
        return Asked { sql: for_hub(&sql.replacen(attempt, to, 1)), reference: None, ordered };
    }
    // Who is counted: everybody of each dataset, and for each figure those who have a value.
    let mut counted = String::new();
    let mut enough = String::new();
    for (alias, k) in people {
        let conditions = std::iter::once("1 = 1".to_owned())
            .chain(figures.iter().filter_map(|(_, of)| of.map(|of| format!("{of} IS NOT NULL"))));
        for condition in conditions {
            let name = format!("k{}", counted.matches(" AS k").count());
            write!(counted, ", count(DISTINCT CASE WHEN {condition} THEN {alias}.{WHO} END) AS {name}").unwrap();
            write!(enough, " AND {name} >= {k}").unwrap();
        }
    }
    let reference = format!(
        "SELECT {outs} FROM (SELECT {inner}{counted} FROM {from}{condition}{by}) t WHERE {after}{enough}{order}"
    );
    // The hub averages decimals as doubles.
    let reference = for_evaluator(&reference).replace("avg(h.price)", "avg(CAST(h.price AS DOUBLE))");
    Asked { sql: for_hub(&sql), reference: Some(reference), ordered }
}

/// What may be grouped by.
fn group(rng: &mut Rng, communes: bool) -> String {
    let of_communes = ["c.department", "c.code"];
    let of_health = [
        "h.commune",
        "h.diagnosis",
        "h.age",
        "upper(h.commune)",
        "left(h.diagnosis, 1)",
        "CASE WHEN h.age < 40 THEN 'young' ELSE 'old' END",
        "date_trunc('month', h.stay)",
        "COALESCE(h.diagnosis, 'none')",
        "h.age IN (21, 22, 23, 24, 25, 26)",
    ];
    match rng.below(10) {
        0..3 if communes => rng.pick(&of_communes).to_owned(),
        3 | 4 => format!("(h.age{DIVIDE}10{END}"),
        _ => rng.pick(&of_health).to_owned(),
    }
}

/// An aggregate, and the column that it is a figure of.
fn figure(rng: &mut Rng, meters: bool) -> (String, Option<&'static str>) {
    let of = |call: &str, column: &'static str| (format!("{call}{column})"), Some(column));
    match rng.below(if meters { 11 } else { 9 }) {
        0 | 1 => ("count(*)".to_owned(), None),
        2 => of("count(", "h.diagnosis"),
        3 => of("count(DISTINCT ", "h.subject_id"),
        4 => of("count(", "h.age"),
        5 => of("sum(", "h.cost"),
        6 => of("avg(", "h.cost"),
        7 => of("avg(", "h.price"),
        8 => of("sum(", "h.price"),
        9 => of("sum(", "m.kwh"),
        _ => of("count(DISTINCT ", "m.subject"),
    }
}

fn truth(rng: &mut Rng, depth: usize) -> String {
    if depth > 0 && rng.chance(50) {
        let (a, b) = (truth(rng, depth - 1), truth(rng, depth - 1));
        return match rng.below(3) {
            0 => format!("({a} AND {b})"),
            1 => format!("({a} OR {b})"),
            _ => format!("NOT ({a})"),
        };
    }
    match rng.below(9) {
        0 => format!("h.commune = {}", rng.pick(&["'Albi'", "'Foix'", "'Rodez'", "'Millau'"])),
        1 => format!("h.age {} {}", rng.pick(&["<", ">=", "="]), 20 + rng.below(45)),
        2 => format!("h.diagnosis LIKE {}", rng.pick(&["'f%'", "'%a'", "'HIV'", "'_2'"])),
        3 => "h.diagnosis IS NULL".to_owned(),
        4 => format!("h.cost + h.age > {}", 100 + rng.below(90)),
        5 => format!("h.age BETWEEN {} AND {}", 20 + rng.below(10), 30 + rng.below(30)),
        6 => "h.commune IN ('Albi', 'Auch')".to_owned(),
        7 => "CAST(h.diagnosis AS BIGINT) > 3".to_owned(),
        _ => format!("(h.cost{DIVIDE}10{END} > {}", 8 + rng.below(6)),
    }
}
