//! Hubs that differ only in what every policy hides in each of them.
//!
//! | dataset | policy | what differs |
//! |---|---|---|
//! | `chu.rows` | rows; filter, consent, masks, column list | filtered rows, people without consent, masked values, `secret` |
//! | `chu.groups` | aggregates, k = 5; filter, consent | filtered rows, people without consent |
//! | `chu.small` | aggregates, k = 5 | the one or no person of Rodez and of Millau |
//! | `grid.meters` | rows; consent | people without consent |
//! | `grid.readings` | aggregates, k = 8; consent | people without consent |
//! | `lab.once`, `lab.many` | the requester's own: one row for each person, and many | nothing |
//! | `chu.communes` | open | nothing |
//!
//! In one of them the people of data for aggregates stand in another order.

use std::fmt::Write as _;

use odh::grpc::pb;

use crate::{
    harness::{Engine, Hub},
    personas::{Admin, Operator, Requester, Steward},
    policies::{at_least, only, open_policy, permit, policy, prefix},
    world::{RESEARCH, subject},
};

/// People whom the data is about; those whose number ends in 0 have not consented.
const PEOPLE: usize = 80;
const COMMUNES: [&str; 4] = ["Albi", "Foix", "Auch", "Agde"];

/// One of the hubs, with the requester who attacks it.
pub(super) struct Neighbour {
    pub(super) requester: Requester,
    /// The administrators of the owners and of the requester's participant.
    pub(super) chu: Admin,
    pub(super) grid: Admin,
    pub(super) lab: Admin,
    hub: Hub,
}

impl Neighbour {
    pub(super) async fn stop(self) {
        self.hub.stop().await;
    }
}

/// What is hidden in a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// Ordinary people.
    Plain,
    /// Nobody.
    Absent,
    /// People with extreme values that casts, sums and divisions stumble over, in another place.
    Extreme,
    /// Nobody, and whoever is visible in aggregates alone in another order.
    Reordered,
}

/// All of them.
pub(super) async fn all() -> Vec<Neighbour> {
    let kinds = [Hidden::Plain, Hidden::Absent, Hidden::Extreme, Hidden::Reordered];
    futures::future::join_all(kinds.map(start)).await
}

/// One of them.
pub(super) async fn one() -> Neighbour {
    start(Hidden::Plain).await
}

async fn start(hidden: Hidden) -> Neighbour {
    let mut hub = Hub::start(Engine::Sqlite, "attacks").await.unwrap();
    let operator = Operator::first(&hub.site(), &hub.operator_token()).await;
    let hospital = operator.welcome("chu", pb::ParticipantKind::PublicBody).await;
    let company = operator.welcome("grid", pb::ParticipantKind::Company).await;
    let lab = operator.welcome("lab", pb::ParticipantKind::Lab).await;
    let (chu, grid) = (hospital.steward().await, company.steward().await);
    let (own, requester) = (lab.steward().await, lab.requester().await);

    let health = [
        ("commune", pb::ColumnRole::Key),
        ("age", pb::ColumnRole::Dimension),
        ("diagnosis", pb::ColumnRole::Dimension),
        ("admitted", pb::ColumnRole::Dimension),
        ("note", pb::ColumnRole::Dimension),
        ("status", pb::ColumnRole::Dimension),
        ("partner", pb::ColumnRole::Dimension),
    ];
    let groups_health = &health[..5];
    let meters = [("zone", pb::ColumnRole::Key), ("month", pb::ColumnRole::Dimension)];
    let visible = ["pid", "commune", "age", "diagnosis", "cost", "price", "admitted", "note", "status", "partner"];
    let constant =
        pb::mask::Mask::Constant(pb::Value { value: Some(pb::value::Value::StringValue("known".to_owned())) });
    let masks = pb::How {
        row_filter: Some(at_least("cost", 100)),
        masks: [
            ("diagnosis".to_owned(), prefix(1)),
            ("admitted".to_owned(), pb::Mask { mask: Some(pb::mask::Mask::Year(pb::YearMask {})) }),
            ("status".to_owned(), pb::Mask { mask: Some(constant) }),
            ("partner".to_owned(), pb::Mask { mask: Some(pb::mask::Mask::Null(pb::NullMask {})) }),
        ]
        .into(),
        ..Default::default()
    };
    let rows = consented(pb::Action::Read, Some(&visible), masks);
    let groups = pb::How { row_filter: Some(at_least("cost", 100)), ..aggregates(5) };
    let groups = consented(pb::Action::Aggregate, Some(&visible[..8]), groups);
    let small = pb::Rule { how: Some(aggregates(5)), ..permit("small", &[pb::Action::Aggregate], &[RESEARCH]) };
    share(&chu, &requester, "rows", &health, rows_csv(hidden), rows, pb::Action::Read).await;
    share(&chu, &requester, "groups", groups_health, groups_csv(hidden), groups, pb::Action::Aggregate).await;
    share(&chu, &requester, "small", groups_health, small_csv(hidden), small, pb::Action::Aggregate).await;
    let read = consented(pb::Action::Read, None, pb::How::default());
    share(&grid, &requester, "meters", &meters, meters_csv(hidden), read, pb::Action::Read).await;
    let counted = consented(pb::Action::Aggregate, None, aggregates(8));
    share(&grid, &requester, "readings", &meters, placed(meters_csv(hidden), hidden), counted, pb::Action::Aggregate)
        .await;

    for (id, csv) in [("once", own_csv(1)), ("many", own_csv(7))] {
        own.create_noted(id, &[("place", pb::ColumnRole::Key), ("tag", pb::ColumnRole::Dimension)]).await;
        own.upload(id, csv).await.unwrap();
        own.publish(open_policy(&own.dataset(id))).await.unwrap();
    }
    chu.create_dataset("communes", pb::AccessLevel::Open, None).await.unwrap();
    chu.upload("communes", communes_csv()).await.unwrap();
    chu.publish(open_policy(&chu.dataset("communes"))).await.unwrap();
    Neighbour { requester, chu: hospital, grid: company, lab, hub }
}

/// Registers, fills and publishes a dataset about people, takes their consents in and grants it to the requester.
async fn share(
    steward: &Steward,
    requester: &Requester,
    id: &str,
    notes: &[(&str, pb::ColumnRole)],
    csv: String,
    rule: pb::Rule,
    action: pb::Action,
) {
    steward.create_noted(id, notes).await;
    steward.upload(id, csv).await.unwrap();
    steward.publish(policy(&steward.dataset(id), vec![rule])).await.unwrap();
    let mut consents = "subject,purpose,status\n".to_owned();
    for number in (0..PEOPLE).filter(|number| consents_to(*number)) {
        writeln!(consents, "{},{RESEARCH},given", subject(number)).unwrap();
    }
    steward.import_consents(id, consents).await.unwrap();
    let asked = requester.request_access(&format!("{}.{id}", steward.participant), action, RESEARCH).await.unwrap();
    steward.approve(&asked).await.unwrap();
}

fn aggregates(k: u32) -> pb::How {
    pb::How { aggregate_only: Some(pb::AggregateOnly { k }), ..Default::default() }
}

fn consented(action: pb::Action, columns: Option<&[&str]>, how: pb::How) -> pb::Rule {
    pb::Rule {
        columns: columns.map(only),
        legal_basis: pb::LegalBasis::Consent.into(),
        how: Some(how),
        ..permit("research", &[action], &[RESEARCH])
    }
}

const fn consents_to(number: usize) -> bool {
    !number.is_multiple_of(10)
}

const HEALTH: &str = "pid,commune,age,diagnosis,cost,price,admitted,note,secret\n";

/// Three stays of everybody who consents; `tail` is what a prefix mask hides.
fn visible(csv: &mut String, tail: &str, day: usize, secret: &str) {
    for row in 0..PEOPLE * 3 {
        let number = row % PEOPLE;
        if !consents_to(number) {
            continue;
        }
        let (pid, place, age, cost) = (subject(number), COMMUNES[number % 4], 20 + number % 40, 100 + row);
        let letter = ["J", "E", "I"][row % 3];
        let note = if number.is_multiple_of(7) { "twelve".to_owned() } else { (row % 12).to_string() };
        let (month, day) = (1 + (row + day) % 12, 1 + (row + day) % 28);
        writeln!(csv, "{pid},{place},{age},{letter}{tail},{cost},{cost}.25,2026-{month:02}-{day:02},{note},{secret}")
            .unwrap();
    }
}

/// Rows that a filter hides, and rows of people without consent.
fn hide(csv: &mut String, hidden: Hidden) {
    match hidden {
        Hidden::Absent | Hidden::Reordered => {}
        Hidden::Plain => {
            for number in [1, 2, 3, 7] {
                writeln!(csv, "{},Albi,33,J45,50,50.25,2026-05-05,5,1", subject(number)).unwrap();
            }
            for number in [0, 10, 20] {
                writeln!(csv, "{},Foix,44,E11,150,150.25,2026-06-06,6,1", subject(number)).unwrap();
            }
        }
        Hidden::Extreme => {
            for number in 1..120 {
                let (pid, far) = (subject(number), i64::MIN + 7 + i64::try_from(number).unwrap());
                writeln!(csv, "{pid},Zzz{number},-9223372036854775808,HIV,{far},-9999999.75,1700-01-01,x,0").unwrap();
            }
            for number in (0..PEOPLE).step_by(10).chain(500..540) {
                let (pid, many) = (subject(number), i64::MAX - i64::try_from(number).unwrap());
                writeln!(csv, "{pid},Yyy{number},0,HIV 1/0,{many},9999999.75,2999-12-31,99999999999999999999,0")
                    .unwrap();
            }
        }
    }
}

fn rows_csv(hidden: Hidden) -> String {
    let mut csv = HEALTH.to_owned();
    let (tail, day, secret) = match hidden {
        Hidden::Plain => ("45", 0, "1"),
        Hidden::Absent => ("", 1, "2"),
        Hidden::Reordered => ("?", 3, "3"),
        Hidden::Extreme => ("1/0 divide by zero", 2, "9223372036854775807"),
    };
    visible(&mut csv, tail, day, secret);
    hide(&mut csv, hidden);
    with_gaps(&csv, hidden)
}

/// The same with columns of which a value is missing in some rows, others in each hub.
fn with_gaps(csv: &str, hidden: Hidden) -> String {
    let mut out = String::new();
    for (at, row) in csv.lines().enumerate() {
        let known = match hidden {
            Hidden::Plain => at % 3 == 1,
            Hidden::Absent => true,
            Hidden::Extreme => at % 2 == 1,
            Hidden::Reordered => at == 5,
        };
        let tail = match at {
            0 => "status,partner",
            _ if known => "ill,x",
            _ => ",",
        };
        writeln!(out, "{row},{tail}").unwrap();
    }
    out
}

/// The rows in another order, where theirs is hidden.
fn placed(csv: String, hidden: Hidden) -> String {
    if hidden != Hidden::Reordered {
        return csv;
    }
    let mut rows: Vec<&str> = csv.lines().collect();
    rows[1..].reverse();
    let middle = rows.len() / 3;
    rows[1..].rotate_left(middle);
    rows.join("\n") + "\n"
}

fn groups_csv(hidden: Hidden) -> String {
    let mut csv = HEALTH.to_owned();
    let secret = if hidden == Hidden::Extreme { "9223372036854775807" } else { "1" };
    visible(&mut csv, "45", 0, secret);
    hide(&mut csv, hidden);
    placed(csv, hidden)
}

/// Rodez and Millau have fewer than five people in every hub.
fn small_csv(hidden: Hidden) -> String {
    let mut csv = HEALTH.to_owned();
    visible(&mut csv, "45", 0, "1");
    match hidden {
        Hidden::Absent | Hidden::Reordered => {}
        Hidden::Plain => writeln!(csv, "s00777,Rodez,93,HIV,4242,17.25,2026-02-03,0,1").unwrap(),
        Hidden::Extreme => {
            for pid in ["s00777", "s00778", "s00779", "s00780"] {
                let far = "9223372036854775807,-9999999.75,1700-01-01,x,1";
                writeln!(csv, "{pid},Millau,0,1/0,{far}").unwrap();
            }
        }
    }
    placed(csv, hidden)
}

fn meters_csv(hidden: Hidden) -> String {
    let mut csv = "pid,zone,month,kwh\n".to_owned();
    for number in (0..PEOPLE).filter(|number| consents_to(*number)) {
        for month in 1..=2 {
            writeln!(csv, "{},{},{month},{}.5e0", subject(number), COMMUNES[number % 4], 100 + number * month).unwrap();
        }
    }
    for number in [10, 20, 30] {
        match hidden {
            Hidden::Absent | Hidden::Reordered => {}
            Hidden::Plain => writeln!(csv, "{},Albi,1,7.5e0", subject(number)).unwrap(),
            Hidden::Extreme => writeln!(csv, "{},Zzz,0,1e308", subject(number)).unwrap(),
        }
    }
    csv
}

/// The requester's own notes on people, hidden ones included; `times` rows for each.
fn own_csv(times: usize) -> String {
    let mut csv = "pid,place,tag,w\n".to_owned();
    let places = COMMUNES.into_iter().chain(["Rodez", "Millau"]);
    let people = (0..PEOPLE).map(subject).zip(places.cycle());
    for (pid, place) in people.chain([("s00777".to_owned(), "Rodez")]) {
        for w in 0..times {
            let tag = if pid == "s00777" { "target" } else { "other" };
            writeln!(csv, "{pid},{place},{tag},{w}").unwrap();
        }
    }
    csv
}

fn communes_csv() -> String {
    let mut csv = "code,department,population\n".to_owned();
    let departments = ["Tarn", "Ariege", "Gers", "Herault", "Aveyron", "Aveyron"];
    for (code, department) in COMMUNES.into_iter().chain(["Rodez", "Millau"]).zip(departments) {
        writeln!(csv, "{code},{department},{}", 1_000 * code.len()).unwrap();
    }
    csv
}
