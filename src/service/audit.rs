//! Reading the log: auditors see all of it, a participant what concerns it.

use std::time::Duration;

use super::Services;
use crate::{
    audit::{
        CheckpointSigner as _, Committed, Hash, Opening, Shard, TileId, TilePath, consistency_ranges, inclusion_ranges,
        tile::{TILE_WIDTH, add_to_bundle, exists, tile_bytes},
    },
    domain::{AuditEvent, Caller, DatasetId, EntryDraft, EntryKind, Page, PageRequest, ParticipantId, Timestamp},
    error::{Error, Result},
    policy::{Act, Domain, Family, Permit},
    store::{Tx, audit as log, audit::Filter, member, shard},
};

/// How long a tail waits before it looks again: for entries of other replicas, and whether it may still go on.
const TAIL: Duration = Duration::from_secs(1);
/// Most entries of one message of a tail.
const TAIL_PAGE: u32 = 64;

/// Which entries a list or export shows.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Of this kind, or of this family of kinds.
    pub kind: Option<String>,
    /// That concern this participant.
    pub participant: Option<ParticipantId>,
    /// By this participant.
    pub actor: Option<ParticipantId>,
    /// About this dataset.
    pub dataset: Option<DatasetId>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// What an export starts with.
#[derive(Debug, Clone)]
pub struct ExportHead {
    /// The signed checkpoint that the export leads to.
    pub checkpoint: String,
    /// How many entries it covers, visible or not.
    pub size: u64,
    /// Only entries that concern this participant; none means all.
    pub party: Option<ParticipantId>,
}

/// A proof that an entry is in the log.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// Size of the tree.
    pub size: u64,
    /// Hash of the entry's leaf.
    pub leaf_hash: Hash,
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The latest checkpoint.
    pub checkpoint: String,
}

impl Services {
    /// Entries in the order of the log, of those the caller may see.
    pub async fn entries(&self, caller: &Caller, filter: EntryFilter, page: &PageRequest) -> Result<Page<AuditEvent>> {
        let (permit, party) = self.view(caller, Act::Read, Act::ReadAll).await?;
        let filter = Filter {
            party,
            also: filter.participant,
            kind: filter.kind,
            actor: filter.actor,
            dataset: filter.dataset,
            since: filter.since,
            until: filter.until,
        };
        log::list(&mut self.read_as(&permit).await?, &filter, page).await
    }

    /// Starts an export, which is itself an entry of the log and part of it.
    ///
    /// With a size other than 0 it is the log as it was at the end of a half-year, which the entry is not part of.
    pub async fn start_export(&self, caller: &Caller, size: u64) -> Result<(ExportHead, Committed)> {
        let (permit, party) = self.view(caller, Act::Export, Act::ExportAll).await?;
        let shard = match size {
            0 => None,
            _ => Some(self.shard_of_size(size).await?),
        };
        let scope = if party.is_some() { "own" } else { "all" };
        let entry = EntryDraft::by(EntryKind::AuditExported, caller).fact("scope", scope);
        let ((), committed) = self.change(&permit, move |_| Box::pin(async move { Ok(((), vec![entry])) })).await?;
        if let Some(shard) = shard {
            return Ok((ExportHead { checkpoint: shard.checkpoint, size: shard.size, party }, committed));
        }
        let head = self.log_head(&mut self.read().await?).await?;
        Ok((ExportHead { checkpoint: head.checkpoint, size: head.frontier.size(), party }, committed))
    }

    /// The next leaf hashes of an export from `index` on, a multiple of 256; none when it has them all.
    pub async fn export_hashes(&self, head: &ExportHead, index: u64) -> Result<Vec<Hash>> {
        if index >= head.size {
            return Ok(Vec::new());
        }
        let id = TileId { level: 0, n: index / TILE_WIDTH };
        let mut hashes = log::tile(&mut self.read().await?, self.origin(), id, head.size).await?;
        hashes.truncate(usize::try_from(id.width(head.size)).unwrap_or(usize::MAX));
        Ok(hashes)
    }

    /// The next entries of an export after `after`; none when it has ended.
    pub async fn export_page(&self, head: &ExportHead, after: Option<u64>) -> Result<Vec<AuditEvent>> {
        let filter = Filter { party: head.party.clone(), ..Filter::default() };
        let page = PageRequest { size: PageRequest::MAX_SIZE, after: after.map(|index| index.to_string()) };
        let mut found = log::list(&mut self.read().await?, &filter, &page).await?.items;
        found.retain(|event| event.index < head.size);
        Ok(found)
    }

    /// What opens commitments in these entries of an export: numbers of its participant and acts of its members.
    pub async fn export_openings(&self, head: &ExportHead, first: u64, last: u64) -> Result<Vec<(u64, Opening)>> {
        match &head.party {
            Some(party) => log::openings(&mut self.read().await?, party, first, last).await,
            None => Ok(Vec::new()),
        }
    }

    /// Entries after `after` that the caller may see, as soon as there are some; none after a second without any.
    ///
    /// Whether the caller may see them is decided anew each time. The checkpoint covers them.
    pub async fn next_entries(
        &self,
        caller: &Caller,
        filter: &EntryFilter,
        after: Option<u64>,
    ) -> Result<(Vec<AuditEvent>, String)> {
        let mut committed = self.inner.store.writer().head();
        for wait in [false, true] {
            if wait {
                let _ = tokio::time::timeout(TAIL, committed.changed()).await;
            }
            // Its standing of now (P2): a stream outlives the call that it began with.
            let (credential, now) = (caller.credential.clone(), self.now());
            let mut tx = self.read().await?;
            let caller = &member::identify(&mut tx, caller.member, &caller.participant, credential, now).await?;
            drop(tx);
            let page = PageRequest { size: TAIL_PAGE, after: after.map(|index| index.to_string()) };
            let found = self.entries(caller, filter.clone(), &page).await?.items;
            if !found.is_empty() {
                return Ok((found, self.checkpoint().await?));
            }
        }
        Ok((Vec::new(), String::new()))
    }

    /// The index of the last entry of the log.
    pub async fn last_index(&self) -> Result<Option<u64>> {
        Ok(self.log_head(&mut self.read().await?).await?.frontier.size().checked_sub(1))
    }

    /// The proof that an entry is in the tree of `size` (0: of now). For every active member: hashes hide the leaves.
    pub async fn inclusion_proof(&self, caller: &Caller, index: u64, size: u64) -> Result<Inclusion> {
        caller.require_active()?;
        let mut tx = self.read().await?;
        let head = self.log_head(&mut tx).await?;
        let size = if size == 0 { head.frontier.size() } else { size };
        if size > head.frontier.size() || index >= size {
            return Err(Error::invalid("index", "the log has no such entry or size"));
        }
        let mut ranges = inclusion_ranges(index, size)?;
        ranges.push(index..index + 1);
        let tiles = log::tiles(&mut tx, self.origin(), &ranges, size).await?;
        let mut hashes = ranges.iter().map(|range| tiles.root(range)).collect::<Result<Vec<_>>>()?;
        let leaf_hash = hashes.pop().unwrap_or_default();
        Ok(Inclusion { size, leaf_hash, hashes, checkpoint: head.checkpoint })
    }

    /// The consistency proof between two sizes (the later 0: of now). For every active member.
    pub async fn consistency_proof(&self, caller: &Caller, from: u64, to: u64) -> Result<(u64, Vec<Hash>, String)> {
        caller.require_active()?;
        let mut tx = self.read().await?;
        let head = self.log_head(&mut tx).await?;
        let to = if to == 0 { head.frontier.size() } else { to };
        if from > to || to > head.frontier.size() {
            return Err(Error::invalid("to_size", "the log has no such sizes"));
        }
        let ranges = consistency_ranges(from, to)?;
        let tiles = log::tiles(&mut tx, self.origin(), &ranges, to).await?;
        Ok((to, ranges.iter().map(|range| tiles.root(range)).collect::<Result<_>>()?, head.checkpoint))
    }

    /// The half-years of the log that have ended, and the index below which entries are pruned. For every active member.
    pub async fn shards(&self, caller: &Caller) -> Result<(Vec<Shard>, u64)> {
        caller.require_active()?;
        let mut tx = self.read().await?;
        let ended = shard::ended(&mut tx, self.origin()).await?;
        Ok((ended, self.log_head(&mut tx).await?.min_index))
    }

    async fn shard_of_size(&self, size: u64) -> Result<Shard> {
        let ended = shard::ended(&mut self.read().await?, self.origin()).await?;
        let found = ended.into_iter().find(|shard| shard.size == size);
        found.ok_or_else(|| Error::invalid("tree_size", "no half-year of the log ended at this size"))
    }

    /// The bytes of a hash tile, which anyone may read; none if the log has no such tile.
    pub async fn hash_tile(&self, id: TileId, width: u64) -> Result<Option<Vec<u8>>> {
        let mut tx = self.read().await?;
        let size = self.log_head(&mut tx).await?.frontier.size();
        if !exists(&TilePath::Hashes { id, width }, size) {
            return Ok(None);
        }
        let hashes = log::tile(&mut tx, self.origin(), id, size).await?;
        let hashes = usize::try_from(width).ok().and_then(|width| hashes.get(..width));
        hashes.map(|hashes| Some(tile_bytes(hashes))).ok_or_else(|| Error::internal("a tile of the log is too narrow"))
    }

    /// The bytes of a bundle of entries, for who may read every entry; none if the log has no such bundle any more.
    pub async fn entry_bundle(&self, caller: &Caller, n: u64, width: u64) -> Result<Option<Vec<u8>>> {
        let permit = self.authorise_in(caller, Domain::Hub, Family::Audit, Act::ReadAll).await?;
        let mut tx = self.read_as(&permit).await?;
        let size = self.log_head(&mut tx).await?.frontier.size();
        if !exists(&TilePath::Entries { n, width }, size) {
            return Ok(None);
        }
        let entries = log::bundle(&mut tx, n, width).await?;
        if entries.len() as u64 != width {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        entries.iter().try_for_each(|entry| add_to_bundle(&mut bytes, &entry.leaf))?;
        Ok(Some(bytes))
    }

    /// The origin of the log.
    pub(super) fn origin(&self) -> &str {
        self.keys().log_signer().origin()
    }

    async fn log_head(&self, tx: &mut Tx) -> Result<crate::store::LogHead> {
        log::head(tx, self.origin()).await
    }

    /// Whose entries the caller may see: all of them (`None`), or those of its participant.
    async fn view(&self, caller: &Caller, own: Act, all: Act) -> Result<(Permit, Option<ParticipantId>)> {
        if let Ok(permit) = self.authorise_in(caller, Domain::Hub, Family::Audit, all).await {
            return Ok((permit, None));
        }
        let permit = self.authorise(caller, &caller.participant, Family::Audit, own).await?;
        Ok((permit, Some(caller.participant.clone())))
    }
}
