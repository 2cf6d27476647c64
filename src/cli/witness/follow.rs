//! Following a log: the next checkpoint, the proof that it continues the last one, and the cosignature.

use super::state::Home;
use crate::{
    audit::{
        AddCheckpoint, Checkpoint, HashTiles, Note, Refusal, TilePath, VerifierKey, WitnessKey, add_cosignatures,
        advance, consistency_ranges, cosign,
        tile::{tile_hashes, tiles_for},
    },
    cli::{failure::Failure, https::Https},
    domain::Timestamp,
    trust::WitnessSigner,
};

/// A witness at work.
pub(super) struct Follower {
    site: Https,
    log: VerifierKey,
    home: Home,
    signer: WitnessSigner,
    own: WitnessKey,
}

/// What a look at the log has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing new: the log shows this size, cosigned already.
    Unchanged(u64),
    /// The hub has the cosignature of this size.
    Cosigned(u64),
}

impl Follower {
    /// Follows the log at `site` for the witness in `home`.
    pub(super) fn new(site: Https, log: VerifierKey, home: Home) -> Result<Self, Failure> {
        let signer = home.signer()?;
        let own = WitnessKey::of(&signer)?;
        Ok(Self { site, log, home, signer, own })
    }

    /// Which log.
    pub(super) fn origin(&self) -> &str {
        self.log.name()
    }

    /// Looks at the log once and cosigns what is new.
    ///
    /// `Unverified` means that the log has contradicted itself; the evidence is kept.
    pub(super) async fn step(&mut self, now: Timestamp) -> Result<Step, Failure> {
        let seen = self.home.seen(&self.log)?;
        let path = match &seen {
            Some((seen, _)) => format!("/checkpoint?after={}", seen.size),
            None => "/checkpoint".to_owned(),
        };
        let shown = text(&self.site.get(&path).await?)?;
        let checkpoint = Checkpoint::verify(&shown, &self.log)?;
        let cosigned = self.own.find(&Note::parse(&shown)?)?.is_some();
        if let Some((seen, _)) = &seen
            && *seen == checkpoint
            && cosigned
        {
            return Ok(Step::Unchanged(checkpoint.size));
        }
        if let Some((held, note)) = &seen
            && checkpoint.size < held.size
        {
            let finding = format!("the log went back from {} entries to {}", held.size, checkpoint.size);
            return Err(self.contradiction(now, note, &shown, &finding)?);
        }
        let old = seen.as_ref().map_or(0, |(seen, _)| seen.size);
        let proof = self.proof(old, checkpoint.size).await?;
        let asked = AddCheckpoint { old, proof, checkpoint: shown.clone() };
        if let Err(refusal) = advance(seen.as_ref().map(|(seen, _)| seen), &asked, &self.log) {
            let held = seen.map(|(_, note)| note).unwrap_or_default();
            return Err(match refusal {
                Refusal::Forked | Refusal::Inconsistent => {
                    self.contradiction(now, &held, &shown, &refusal.to_string())?
                }
                Refusal::Unacceptable(error) => error.into(),
                Refusal::Stale(_) => Failure::protocol("the checkpoint changed while it was looked at"),
            });
        }
        // Durable first: what is signed must never be forgotten.
        self.home.remember(&self.log, &shown)?;
        let time = u64::try_from(now.seconds()).unwrap_or_default();
        let line = cosign(&Note::parse(&shown)?, time, &self.signer)?.line;
        self.site.post("/cosignature", add_cosignatures(&shown, [line.as_str()])).await?;
        Ok(Step::Cosigned(checkpoint.size))
    }

    /// The consistency proof between two sizes, from the log's tiles.
    async fn proof(&self, old: u64, new: u64) -> Result<Vec<[u8; 32]>, Failure> {
        let ranges = consistency_ranges(old, new)?;
        let mut tiles = HashTiles::default();
        for id in tiles_for(&ranges) {
            let path = TilePath::Hashes { id, width: id.width(new) };
            tiles.insert(id, tile_hashes(&self.site.get(&format!("/{path}")).await?)?);
        }
        Ok(ranges.iter().map(|range| tiles.root(range)).collect::<Result<_, _>>()?)
    }

    fn contradiction(&self, now: Timestamp, seen: &str, shown: &str, finding: &str) -> Result<Failure, Failure> {
        let folder = self.home.keep_evidence(now, seen, shown, finding)?;
        let folder = folder.display();
        Ok(Failure::unverified(
            format!("{finding}: not cosigned; both checkpoints are kept in `{folder}`"),
            format!("le journal se contredit ({finding}) : pas de cosignature ; les deux points sont dans `{folder}`"),
        ))
    }
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Failure::protocol("a checkpoint is not text"))
}
