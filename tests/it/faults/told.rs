//! What people were told while something failed, and holding the hub to it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use odh::{
    audit::{Checkpoint, Frontier, Hash, VerifierKey},
    grpc::pb::{self, execute_response::Part},
    trust::KeyStore,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    harness::sane,
    personas::{Requester, Steward},
    world::RESEARCH,
};

/// Two seconds for the audit store (P7), and what a call needs besides while others build and test on the machine.
const BOUND: Duration = Duration::from_millis(2_500);

/// Answers to calls, while something may have failed.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Datasets whose registration was acknowledged.
    pub(super) datasets: Vec<String>,
    /// Proofs that were given out: of changes, and of decisions before their data.
    pub(super) receipts: Vec<pb::Receipt>,
    /// Calls that were refused.
    pub(super) refused: usize,
    /// The longest that anybody waited.
    pub(super) slowest: Duration,
}

impl Told {
    /// Registers a dataset.
    pub(super) async fn change(&mut self, steward: &Steward, id: &str) {
        let started = Instant::now();
        match steward.create_dataset(id, pb::AccessLevel::Open, None).await {
            Ok(done) => {
                self.datasets.push(id.to_owned());
                self.receipts.extend(done.receipt);
            }
            Err(status) => self.refusal(&status),
        }
        self.waited(started);
    }

    /// Asks for data. Whatever arrives comes after the proof of its decision (P1).
    pub(super) async fn query(&mut self, requester: &Requester) {
        let started = Instant::now();
        if let Err(status) = self.read(requester).await {
            self.refusal(&status);
        }
        self.waited(started);
    }

    async fn read(&mut self, requester: &Requester) -> Result<(), Status> {
        let mut stream = requester.start(RESEARCH, "select count(*) from chu.stays").await?;
        let mut decided = false;
        while let Some(message) = stream.message().await? {
            match message.part.unwrap() {
                Part::Header(header) => {
                    decided = true;
                    self.receipts.push(header.decision.unwrap());
                }
                Part::ArrowIpc(_) => assert!(decided, "data without the proof of its decision"),
                Part::Receipt(receipt) => self.receipts.extend(receipt.outcome),
            }
        }
        Ok(())
    }

    /// Nobody is told anything but that it cannot be done now.
    fn refusal(&mut self, status: &Status) {
        self.refused += 1;
        let reason = status.get_details_error_info().map(|info| info.reason);
        let expected = match reason.as_deref() {
            Some("AUDIT_UNAVAILABLE" | "UNAVAILABLE") => status.code() == Code::Unavailable,
            Some(_) => false,
            // The connection ended with the process.
            None => matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled),
        };
        assert!(expected, "{status:?}");
    }

    fn waited(&mut self, started: Instant) {
        let took = started.elapsed();
        assert!(took < BOUND, "somebody waited {took:?}");
        self.slowest = self.slowest.max(took);
    }

    /// Every proof that was given out is one of the log as it is now, and every checkpoint one of its past (P3, P4).
    pub(super) async fn holds(&self, database_url: &str, dir: &Path) {
        assert_eq!(self.lost(database_url, dir).await, Vec::<String>::new());
    }

    /// What does not hold of that which was given out.
    pub(super) async fn lost(&self, database_url: &str, dir: &Path) -> Vec<String> {
        let key = VerifierKey::of(KeyStore::open(&dir.join("keys")).unwrap().log_signer().as_ref()).unwrap();
        let hashes = leaf_hashes(database_url).await;
        let mut lost = Vec::new();
        for receipt in &self.receipts {
            let index = usize::try_from(receipt.index).unwrap();
            let signed = Checkpoint::verify(&receipt.checkpoint, &key).unwrap();
            let size = usize::try_from(signed.size).unwrap();
            assert!(index < size, "a checkpoint of {size} entries does not cover entry {index}");
            match hashes.get(index) {
                None => lost.push(format!("entry {index} was lost")),
                Some(hash) if hash.as_slice() != &receipt.leaf_hash[..] => {
                    lost.push(format!("entry {index} is another one now"));
                }
                Some(_) => match hashes.get(..size) {
                    None => lost.push(format!("{size} entries were signed, {} are there", hashes.len())),
                    Some(prefix) if Frontier::from_leaf_hashes(prefix).root() != signed.root => {
                        lost.push(format!("the log was forked before {size}"));
                    }
                    Some(_) => {}
                },
            }
        }
        lost
    }
}

async fn leaf_hashes(database_url: &str) -> Vec<Hash> {
    use sqlx::Connection as _;
    let mut db = sane::connect(database_url).await;
    let hashes: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT leaf_hash FROM entry ORDER BY idx").fetch_all(&mut db).await.unwrap();
    db.close().await.unwrap();
    hashes.into_iter().map(|hash| hash.try_into().unwrap()).collect()
}
