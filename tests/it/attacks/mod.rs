//! Known attacks on governed queries, each run on neighbouring hubs over the wire: nothing that a policy hides may
//! change a byte of an answer, of a refusal or of an explanation (P6).
//!
//! The hubs differ in what is hidden in each of them: filtered rows, people without consent, values under a mask,
//! columns outside the list, people in groups below k. What to run is data ([`table`]), what the hubs hold is in
//! [`neighbours`], and how a query reaches a hub is a [`Runner`], so that each protocol runs the same table.

mod flight;
mod log;
mod neighbours;
mod runner;
mod table;

use std::time::Instant;

use futures::{StreamExt as _, future::join_all, stream};

use self::{
    flight::FlightSql,
    neighbours::Neighbour,
    runner::{QueryService, Runner, Seen},
    table::{Case, Expected},
};

/// How many cases are under way at a time: a hub lets one member run two queries.
const AT_A_TIME: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_tells_neighbouring_hubs_apart() {
    let neighbours = Box::pin(neighbours::all()).await;
    hold(&QueryService, &neighbours).await;
    hold(&FlightSql::default(), &neighbours).await;
    for neighbour in neighbours {
        neighbour.stop().await;
    }
}

/// Runs every case on every neighbour and reports all that differ, not the first alone.
async fn hold<R: Runner>(runner: &R, neighbours: &[Neighbour]) {
    let started = Instant::now();
    let cases: Vec<&Case> = table::CASES.iter().flat_map(|family| family.iter()).collect();
    let troubles: Vec<String> = stream::iter(&cases)
        .map(|case| trouble(runner, neighbours, case))
        .buffered(AT_A_TIME)
        .filter_map(async |it| it)
        .collect()
        .await;
    println!("{} attacks on {} neighbours in {:?}", cases.len(), neighbours.len(), started.elapsed());
    assert!(troubles.is_empty(), "{} of {} attacks:\n{}", troubles.len(), cases.len(), troubles.join("\n"));
}

/// What is wrong with a case: the neighbours differ, or it does not end as the table says.
async fn trouble<R: Runner>(runner: &R, neighbours: &[Neighbour], case: &Case) -> Option<String> {
    let seen: Vec<Seen> = join_all(neighbours.iter().map(|it| runner.run(&it.requester, case.sql))).await;
    let Case { number, expected, sql } = case;
    if let Some(at) = seen.iter().position(|other| *other != seen[0]) {
        return Some(format!("[{number}] `{sql}` LEAKS: {:?} and {:?}", seen[0], seen[at]));
    }
    let as_expected = match (expected, &seen[0].answer) {
        (Expected::Answer, Ok(_)) => true,
        (Expected::Rejected(_), Err(_)) if !R::SAME_RULES => true,
        (Expected::Rejected(rule), Err(refusal)) => refusal.contains(&format!("\"rule\": \"{rule}\"")),
        (Expected::Answer, Err(_)) | (Expected::Rejected(_), Ok(_)) => false,
    };
    (!as_expected).then(|| format!("[{number}] `{sql}` should have been {expected:?}: {:?}", seen[0]))
}
