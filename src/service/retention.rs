//! How long entries are kept: what is older than the configured time is pruned, once a day.

use super::Services;
use crate::{
    audit::tile::TILE_WIDTH,
    domain::{EntryDraft, EntryKind, Timestamp},
    error::Result,
    store::{Tx, audit as log, retention},
};

impl Services {
    /// Prunes the entries that are older than the configured time, whole tiles of them; gives the new minimum index if
    /// it has risen. The hash of each stays, so that no proof is lost.
    pub async fn prune(&self) -> Result<Option<u64>> {
        let before = self.now().minus(self.settings().retention);
        let origin = self.origin().to_owned();
        let mut tx = self.read().await?;
        let head = log::head(&mut tx, &origin).await?;
        let oldest = first_since(&mut tx, before, head.min_index, head.frontier.size()).await?;
        drop(tx);
        let minimum = oldest - oldest % TILE_WIDTH;
        let rises = minimum > head.min_index;
        if rises {
            let entry = EntryDraft::new(EntryKind::AuditPruned).fact("below", minimum.to_string());
            self.change_by_hub(move |tx| {
                Box::pin(async move {
                    retention::raise_minimum(tx, &origin, minimum).await?;
                    Ok(((), vec![entry]))
                })
            })
            .await?;
        }
        // Also what an earlier run did not come to delete.
        let minimum = minimum.max(head.min_index);
        while self.delete_pruned(minimum).await? {}
        Ok(rises.then_some(minimum))
    }

    async fn delete_pruned(&self, minimum: u64) -> Result<bool> {
        let (told, more) = tokio::sync::oneshot::channel();
        let writer = self.inner.store.writer();
        writer
            .stage(move |tx| {
                Box::pin(async move {
                    let deleted = retention::delete_some(tx, minimum).await?;
                    // Who asked may have given up: then the next run goes on.
                    let _ = told.send(deleted);
                    Ok(())
                })
            })
            .await?;
        Ok(more.await.unwrap_or(false))
    }
}

/// The first entry from `low` on that was sequenced at this instant or later; entries are in the order of time.
async fn first_since(tx: &mut Tx, at: Timestamp, mut low: u64, mut high: u64) -> Result<u64> {
    while low < high {
        let middle = low + (high - low) / 2;
        match retention::time_of(tx, middle).await? {
            Some(time) if time >= at => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}
