//! What the lab asks, and what it should not have asked.

use std::time::Instant;

use super::persona::Persona;
use crate::{
    cli::{failure::Failure, output::records::Records},
    grpc::pb,
};

/// The purpose of the lab's grants.
pub(super) const PURPOSE: &str = "scientific_research";

/// All three datasets in one query, by département.
pub(super) const BY_DEPARTEMENT: &str = "\
SELECT c.departement, count(DISTINCT s.patient) AS patients,
  round(avg(s.cost), 2) AS avg_cost, round(avg(m.kwh), 1) AS avg_kwh
FROM chu.stays s
JOIN energie.meters m ON m.person = s.patient
JOIN observatoire.communes c ON c.code_insee = s.commune
GROUP BY c.departement
ORDER BY patients DESC";

/// Respiratory stays (diagnoses in J) by heating.
pub(super) const BY_HEATING: &str = "\
SELECT m.heating, s.diagnosis, count(DISTINCT s.patient) AS patients
FROM chu.stays s
JOIN energie.meters m ON m.person = s.patient
JOIN observatoire.communes c ON c.code_insee = s.commune
WHERE s.diagnosis IN ('I', 'J')
GROUP BY m.heating, s.diagnosis
ORDER BY m.heating, s.diagnosis";

/// A column under a mask.
pub(super) const MASKED: &str = "\
SELECT diagnosis, admitted, count(DISTINCT patient) AS patients
FROM chu.stays
GROUP BY diagnosis, admitted
ORDER BY patients DESC";

/// A value that the mask hides.
pub(super) const BEHIND_THE_MASK: &str =
    "SELECT diagnosis, count(*) AS stays FROM chu.stays WHERE diagnosis = 'J18.9' GROUP BY diagnosis";

/// A question that is refused.
pub(super) struct Refused {
    /// What it tries, for a person.
    pub(super) what: &'static str,
    pub(super) sql: &'static str,
    pub(super) purpose: &'static str,
    /// Why it is refused.
    pub(super) reason: &'static str,
    /// The rule of admission that it breaks, if it is one.
    pub(super) rule: &'static str,
}

/// What must be refused, each for its own reason.
pub(super) const REFUSED: [Refused; 7] = [
    Refused {
        what: "another purpose: marketing",
        sql: "SELECT count(*) AS stays FROM chu.stays",
        purpose: "marketing",
        reason: "PURPOSE_NOT_PERMITTED",
        rule: "",
    },
    Refused {
        what: "a column outside the grant: age",
        sql: "SELECT age, count(*) AS stays FROM chu.stays GROUP BY age",
        purpose: PURPOSE,
        reason: "QUERY_REJECTED",
        rule: "unknown_column",
    },
    Refused {
        what: "single rows of aggregate-only data",
        sql: "SELECT commune, cost FROM chu.stays LIMIT 5",
        purpose: PURPOSE,
        reason: "QUERY_REJECTED",
        rule: "aggregate_only",
    },
    Refused {
        what: "one patient by name",
        sql: "SELECT count(*) AS stays FROM chu.stays WHERE patient = 'p_0000000000000000'",
        purpose: PURPOSE,
        reason: "QUERY_REJECTED",
        rule: "subject_key",
    },
    Refused {
        what: "a dataset without a grant: energie.outages",
        sql: "SELECT commune, minutes FROM energie.outages",
        purpose: PURPOSE,
        reason: "GRANT_REQUIRED",
        rule: "",
    },
    Refused {
        what: "a file of the server: '/etc/passwd'",
        sql: "SELECT * FROM '/etc/passwd'",
        purpose: PURPOSE,
        reason: "QUERY_REJECTED",
        rule: "unknown_table",
    },
    Refused {
        what: "a second statement: ; DROP TABLE",
        sql: "SELECT count(*) AS communes FROM observatoire.communes; DROP TABLE observatoire.communes",
        purpose: PURPOSE,
        reason: "QUERY_REJECTED",
        rule: "one_statement",
    },
];

/// A complete answer.
pub(super) struct Answer {
    pub(super) records: Records,
    /// The audit entries of decision and outcome.
    pub(super) decision: u64,
    pub(super) outcome: u64,
    pub(super) milliseconds: u128,
}

impl Answer {
    /// The sum of a column of whole numbers.
    pub(super) fn sum(&self, column: usize) -> Result<u64, Failure> {
        let rows = self.records.text()?;
        Ok(rows.iter().filter_map(|row| row.get(column)?.parse::<u64>().ok()).sum())
    }
}

/// Asks, and takes the whole answer.
pub(super) async fn ask(who: &Persona, sql: &str, purpose: &str) -> Result<Answer, Failure> {
    let started = Instant::now();
    let answer = who.client.query(sql, purpose, &[]).await?;
    let index = |receipt: &Option<pb::Receipt>| receipt.as_ref().map(|receipt| receipt.index);
    let (decision, outcome) = (index(&answer.receipt.decision), index(&answer.receipt.outcome));
    match (decision, outcome) {
        (Some(decision), Some(outcome)) if decision < outcome => {
            let milliseconds = started.elapsed().as_millis();
            Ok(Answer { records: answer.records, decision, outcome, milliseconds })
        }
        _ => Err(Failure::protocol("a query without receipts of its decision and outcome")),
    }
}
