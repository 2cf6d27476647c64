//! Whether what can be seen happens nearly as often with an individual as without: measured, on the whole of a release.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::{
    Declared,
    mechanism::{Groups, Mechanism, Output},
    noise::Sampler,
    totals::Totals,
};
use crate::domain::Privacy;

const DRAWS: u32 = 20_000;
/// Probability that a bound below is wrong.
const DOUBT: f64 = 1e-9;

/// Three groups of one subject, a loss of one, and a delta that shows within so many draws.
fn mechanism() -> Mechanism {
    let privacy = Privacy {
        epsilon: "1".parse().unwrap(),
        budget: "1".parse().unwrap(),
        total: "1".parse().unwrap(),
        delta: Some("0.045".parse().unwrap()),
        max_groups: 3,
        max_rows: 2,
        bounds: BTreeMap::new(),
        groups: BTreeMap::new(),
    };
    let declared = Declared::new("chu.stays".parse().unwrap(), privacy, Vec::new(), [].into(), None, [1; 32]);
    Mechanism::new(&declared, Groups::Found, Vec::new(), vec![Output::Subjects]).unwrap().0
}

/// Who is in which group.
fn tallies(rows: &[(u64, &str)]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("s", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("g", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![field("g", DataType::Utf8), field("n", DataType::Int64)]))
}

/// How often each event happens: each group is there, any group but `big` is, and the figures of `big`.
fn happens(mechanism: &Arc<Mechanism>, batch: &RecordBatch, stream: u64) -> BTreeMap<String, u32> {
    let mut noise = Sampler(ChaCha20Rng::seed_from_u64(stream));
    let mut seen = BTreeMap::new();
    for _ in 0..DRAWS {
        let mut totals = Totals::new(mechanism, &batch.schema(), &[0, 1]).unwrap();
        totals.add(batch).unwrap();
        totals.finish();
        let (answer, _) = totals.release(&mut noise, &schema()).unwrap();
        let (groups, subjects) = (answer.column(0).as_string::<i32>(), answer.column(1).as_primitive::<Int64Type>());
        let mut events = Vec::new();
        for row in 0..answer.num_rows() {
            events.push(format!("{} is there", groups.value(row)));
            if groups.value(row) == "big" {
                events.push(format!("big has {} subjects", subjects.value(row) / 2));
            } else {
                events.push("any other is there".to_owned());
            }
        }
        for event in events.into_iter().collect::<std::collections::BTreeSet<_>>() {
            *seen.entry(event).or_default() += 1;
        }
    }
    seen
}

/// The least and the greatest probability of an event that was seen `count` times that are not beyond doubt (Chernoff).
fn bounds(count: u32) -> (f64, f64) {
    let (share, draws) = (f64::from(count) / f64::from(DRAWS), f64::from(DRAWS));
    let term = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a * (a / b).ln() };
    let far = |p: f64| draws * (term(share, p) + term(1.0 - share, 1.0 - p)) > -DOUBT.ln();
    let search = |mut near: f64, mut away: f64| {
        for _ in 0..60 {
            let middle = f64::midpoint(near, away);
            if far(middle) { away = middle } else { near = middle }
        }
        away
    };
    (search(share, 0.0), search(share, 1.0))
}

/// Events that are beyond doubt more frequent on one side than `e^1` times the other plus 0.045.
fn violations(mechanism: Mechanism) -> Vec<String> {
    let mechanism = Arc::new(mechanism);
    // Subject 9999 is alone in three groups, or, in the second pair, one of sixteen in the big one.
    let others: Vec<(u64, &str)> = (0..15).map(|subject| (subject, "big")).collect();
    let alone = [(9_999, "x"), (9_999, "y"), (9_999, "z")];
    let among = [(9_999, "big"), (9_999, "x")];
    let without = happens(&mechanism, &tallies(&others), 1);
    let mut found = Vec::new();
    for (seed, own) in [(2, &alone[..]), (3, &among[..])] {
        let rows: Vec<_> = others.iter().chain(own).copied().collect();
        let with = happens(&mechanism, &tallies(&rows), seed);
        let events: std::collections::BTreeSet<_> = with.keys().chain(without.keys()).collect();
        for event in events {
            let of = |seen: &BTreeMap<String, u32>| bounds(seen.get(event).copied().unwrap_or(0));
            for (a, b) in [(of(&with), of(&without)), (of(&without), of(&with))] {
                if a.0 > 1_f64.exp() * b.1 + 0.045 {
                    found.push(format!("{event}: {a:?} beside {b:?}"));
                }
            }
        }
    }
    found
}

#[test]
fn no_event_tells_more_than_the_loss_allows_and_a_lower_threshold_would() {
    assert_eq!(violations(mechanism()), Vec::<String>::new());
    let lower = mechanism();
    let least = lower.least.map(|least| least - 1);
    let found = violations(Mechanism { least, ..lower });
    assert!(found.iter().any(|event| event.starts_with("any other is there")), "{found:?}");
}
