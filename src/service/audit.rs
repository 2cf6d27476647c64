//! Reading the log: auditors see all of it, a participant what concerns it.

use super::Services;
use crate::{
    audit::{self, CheckpointSigner as _, Committed},
    domain::{AuditEvent, Caller, DatasetId, EntryDraft, EntryKind, Page, PageRequest, ParticipantId, Timestamp},
    error::{Error, Result},
    policy::{Act, Domain, Family, Permit},
    store::{Tx, audit as log, audit::Filter},
};

/// Which entries a list or export shows.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Of this kind, or of this family of kinds.
    pub kind: Option<String>,
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
    /// The leaf hash of every entry below the checkpoint's size, visible or not.
    pub leaf_hashes: Vec<[u8; 32]>,
    /// Only entries that concern this participant; none means all.
    pub party: Option<ParticipantId>,
}

impl Services {
    /// The signed checkpoint of the log as it is now.
    pub async fn checkpoint(&self) -> Result<String> {
        Ok(self.log_head(&mut self.read().await?).await?.checkpoint)
    }

    /// Entries in the order of the log, of those the caller may see.
    pub async fn entries(&self, caller: &Caller, filter: EntryFilter, page: &PageRequest) -> Result<Page<AuditEvent>> {
        let (permit, party) = self.view(caller, Act::Read, Act::ReadAll).await?;
        let filter = Filter {
            party,
            kind: filter.kind,
            actor: filter.actor,
            dataset: filter.dataset,
            since: filter.since,
            until: filter.until,
        };
        log::list(&mut self.read_as(&permit).await?, &filter, page).await
    }

    /// Starts an export, which is itself an entry of the log and part of it.
    pub async fn start_export(&self, caller: &Caller) -> Result<(ExportHead, Committed)> {
        let (permit, party) = self.view(caller, Act::Export, Act::ExportAll).await?;
        let scope = if party.is_some() { "own" } else { "all" };
        let entry = EntryDraft::by(EntryKind::AuditExported, caller).fact("scope", scope);
        let ((), committed) = self.change(&permit, move |_| Box::pin(async move { Ok(((), vec![entry])) })).await?;
        let mut tx = self.read().await?;
        let head = self.log_head(&mut tx).await?;
        let leaf_hashes = log::leaf_hashes(&mut tx, head.frontier.size()).await?;
        Ok((ExportHead { checkpoint: head.checkpoint, leaf_hashes, party }, committed))
    }

    /// The next entries of an export after `after`; none when it has ended.
    pub async fn export_page(&self, head: &ExportHead, after: Option<u64>) -> Result<Vec<AuditEvent>> {
        let filter = Filter { party: head.party.clone(), ..Filter::default() };
        let page = PageRequest { size: PageRequest::MAX_SIZE, after: after.map(|index| index.to_string()) };
        let mut found = log::list(&mut self.read().await?, &filter, &page).await?.items;
        found.retain(|event| event.index < head.leaf_hashes.len() as u64);
        Ok(found)
    }

    /// The inclusion proof of an entry that the caller may see, in a tree of `size` (0: of now).
    pub async fn inclusion_proof(
        &self,
        caller: &Caller,
        index: u64,
        size: u64,
    ) -> Result<(u64, Vec<[u8; 32]>, String)> {
        let (permit, party) = self.view(caller, Act::Read, Act::ReadAll).await?;
        let mut tx = self.read_as(&permit).await?;
        let head = self.log_head(&mut tx).await?;
        let size = if size == 0 { head.frontier.size() } else { size };
        let not_found = || Error::not_found(format_args!("entry {index}"));
        if size > head.frontier.size() || index >= size {
            return Err(not_found());
        }
        if let Some(party) = &party
            && !log::concerns(&mut tx, index, party).await?
        {
            return Err(not_found());
        }
        let hashes = log::leaf_hashes(&mut tx, size).await?;
        Ok((size, audit::inclusion_proof(index, size, audit::subtrees_of(&hashes))?, head.checkpoint))
    }

    /// The consistency proof between two sizes (the later 0: of now).
    pub async fn consistency_proof(&self, caller: &Caller, from: u64, to: u64) -> Result<(u64, Vec<[u8; 32]>, String)> {
        let (permit, _) = self.view(caller, Act::Read, Act::ReadAll).await?;
        let mut tx = self.read_as(&permit).await?;
        let head = self.log_head(&mut tx).await?;
        let to = if to == 0 { head.frontier.size() } else { to };
        if from > to || to > head.frontier.size() {
            return Err(Error::invalid("to_size", "the log has no such sizes"));
        }
        let hashes = log::leaf_hashes(&mut tx, to).await?;
        Ok((to, audit::consistency_proof(from, to, audit::subtrees_of(&hashes))?, head.checkpoint))
    }

    async fn log_head(&self, tx: &mut Tx) -> Result<crate::store::LogHead> {
        log::head(tx, self.keys().log_signer().origin()).await
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
