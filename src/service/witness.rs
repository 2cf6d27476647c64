//! Witnesses: taking in what they cosign, showing it with the checkpoint, and waiting for it where it is required.
//!
//! A witness follows the log from outside and vouches that it never forked or went back. With `require_witness = k` an
//! act of a member is acknowledged, and data released, only once `k` of them have seen a log that has its entry.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Services;
use crate::{
    audit::{Checkpoint, Committed, Note, VerifierKey, WitnessKey, add_cosignatures},
    error::{Error, Reason, Result},
    store::{Tx, audit as log, cosignature},
};

/// Longest wait of a reader for a checkpoint that is larger than the one it has.
const LONGEST_POLL: Duration = Duration::from_secs(2);
/// How often the database is asked, for what another replica has written.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Whose cosignatures are taken, and how many are required.
#[derive(Debug)]
pub struct Witnesses {
    keys: Vec<WitnessKey>,
    required: usize,
    timeout: Duration,
    /// The size of the log that the required number of witnesses have seen.
    seen: watch::Sender<u64>,
}

impl Witnesses {
    /// Takes cosignatures of these keys; `required` of them are awaited for `timeout` in all with the commit.
    pub fn new(keys: Vec<WitnessKey>, required: usize, timeout: Duration) -> Self {
        Self { keys, required, timeout, seen: watch::Sender::new(0) }
    }

    /// The largest size that the required number has reached, of these largest sizes of each witness.
    fn quorum(&self, sizes: &[(String, u64)]) -> u64 {
        let known = |name: &str| self.keys.iter().any(|key| key.to_string() == name);
        let mut sizes: Vec<u64> = sizes.iter().filter(|(name, _)| known(name)).map(|(_, size)| *size).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        self.required.checked_sub(1).and_then(|last| sizes.get(last).copied()).unwrap_or(0)
    }
}

impl Services {
    /// The signed checkpoint of the log as it is now, with what witnesses have cosigned of exactly this size.
    pub async fn checkpoint(&self) -> Result<String> {
        let mut tx = self.read().await?;
        let head = log::head(&mut tx, self.origin()).await?;
        self.with_cosignatures(&mut tx, head.frontier.size(), &head.checkpoint).await
    }

    /// The checkpoint once the log has more than `size` entries, or as it is after two seconds.
    pub async fn checkpoint_beyond(&self, size: u64) -> Result<String> {
        let started = Instant::now();
        let mut head = self.inner.store.writer().head();
        while started.elapsed() < LONGEST_POLL {
            if log::head(&mut self.read().await?, self.origin()).await?.frontier.size() > size {
                break;
            }
            // A commit of this replica wakes up at once; one of another is found at the next turn.
            let _ = tokio::time::timeout(ASK_AGAIN, head.changed()).await;
        }
        self.checkpoint().await
    }

    /// The largest checkpoint that the required number of witnesses, at least one, have cosigned.
    pub async fn witnessed_checkpoint(&self) -> Result<Option<String>> {
        let mut tx = self.read().await?;
        let required = self.inner.witnesses.required.max(1) as u64;
        let Some((size, checkpoint)) = cosignature::largest(&mut tx, self.origin(), required).await? else {
            return Ok(None);
        };
        self.with_cosignatures(&mut tx, size, &checkpoint).await.map(Some)
    }

    /// Takes the cosignatures of known witnesses on `note`, a checkpoint of this log; gives their number.
    ///
    /// Anyone may bring them: they are worth what their signatures are. Refused if none is of a known witness, if the
    /// checkpoint is not one that this hub has signed, or if it is not of this log's past.
    pub async fn add_cosignatures(&self, note: &str) -> Result<usize> {
        let parsed = Note::parse(note)?;
        let mut found = Vec::new();
        for key in &self.inner.witnesses.keys {
            found.extend(key.find(&parsed)?.map(|cosignature| (key.to_string(), cosignature.line)));
        }
        if found.is_empty() {
            return Err(Error::new(Reason::SignatureInvalid).with("detail", "no cosignature of a known witness"));
        }
        let checkpoint = Checkpoint::verify(note, &VerifierKey::of(self.keys().log_signer().as_ref())?)?;
        let mut tx = self.read().await?;
        let size = log::head(&mut tx, self.origin()).await?.frontier.size();
        let contradicts = || Error::invalid("checkpoint", "it is not of the past of this log");
        if checkpoint.size == 0 || checkpoint.size > size {
            return Err(contradicts());
        }
        if log::root(&mut tx, self.origin(), checkpoint.size).await? != checkpoint.root {
            return Err(contradicts());
        }
        drop(tx);
        let (count, origin) = (found.len(), checkpoint.origin.clone());
        let own = own_note(note)?;
        let writer = self.inner.store.writer();
        writer
            .stage(move |tx| {
                Box::pin(async move {
                    for (witness, line) in &found {
                        cosignature::add(tx, &origin, checkpoint.size, witness, &own, line).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.look_at_cosignatures().await?;
        Ok(count)
    }

    /// Waits until the required witnesses have seen a log with this entry, as long as a caller waits in all.
    pub(super) async fn await_witnesses(&self, committed: &Committed, started: Instant) -> Result<()> {
        let witnesses = &self.inner.witnesses;
        if witnesses.required == 0 {
            return Ok(());
        }
        let needed = committed.receipt().index + 1;
        let mut seen = witnesses.seen.subscribe();
        loop {
            if *seen.borrow_and_update() >= needed || self.look_at_cosignatures().await? >= needed {
                return Ok(());
            }
            if started.elapsed() >= witnesses.timeout {
                return Err(Error::new(Reason::AuditUnavailable));
            }
            let _ = tokio::time::timeout(ASK_AGAIN, seen.changed()).await;
        }
    }

    /// Reads how far the required witnesses have seen the log.
    async fn look_at_cosignatures(&self) -> Result<u64> {
        let sizes = cosignature::sizes(&mut self.read().await?, self.origin()).await?;
        let quorum = self.inner.witnesses.quorum(&sizes);
        self.inner
            .witnesses
            .seen
            .send_if_modified(|seen| std::mem::replace(seen, quorum.max(*seen)) != quorum.max(*seen));
        Ok(quorum)
    }

    async fn with_cosignatures(&self, tx: &mut Tx, size: u64, checkpoint: &str) -> Result<String> {
        let known = |name: &str| self.inner.witnesses.keys.iter().any(|key| key.to_string() == name);
        let lines = cosignature::of_size(tx, self.origin(), size).await?;
        let lines = lines.iter().filter(|(name, _)| known(name)).map(|(_, line)| line.as_str());
        Ok(add_cosignatures(checkpoint, lines))
    }
}

/// The note with the signature of the log alone, which is the first line after the empty one.
fn own_note(note: &str) -> Result<String> {
    let malformed = || Error::invalid("checkpoint", "it is not a signed note");
    let (text, lines) = note.rsplit_once("\n\n").ok_or_else(malformed)?;
    let first = lines.lines().next().ok_or_else(malformed)?;
    Ok(format!("{text}\n\n{first}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> WitnessKey {
        let pem = crate::trust::WitnessSigner::new_key_pem().unwrap();
        WitnessKey::of(&crate::trust::WitnessSigner::from_pem(name, &pem).unwrap()).unwrap()
    }

    #[test]
    fn a_quorum_is_what_that_many_known_witnesses_have_reached() {
        let keys = ["a", "b", "c"].map(key);
        let sizes: Vec<_> = keys.iter().map(ToString::to_string).zip([30, 10, 20]).collect();
        let quorum = |required| Witnesses::new(keys.to_vec(), required, Duration::ZERO).quorum(&sizes);
        assert_eq!([0, 1, 2, 3, 4].map(quorum), [0, 30, 20, 10, 0]);
        let stranger = [(key("d").to_string(), 99)];
        assert_eq!(Witnesses::new(keys.to_vec(), 1, Duration::ZERO).quorum(&stranger), 0);
    }
}
