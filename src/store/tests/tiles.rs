//! Tiles follow the entries, are made up for, and are refused when they were edited.

use std::sync::Arc;

use super::{Signer, entry, leaf_hashes, store};
use crate::{
    audit::{CheckpointSigner as _, Frontier, Hash},
    store::{Store, audit},
};

/// Lets tiles be changed, as whoever owns the file can.
async fn forget_tiles(store: &Store) {
    let mut tx = store.read().await.unwrap();
    for sql in ["DROP TRIGGER tile_is_never_deleted", "DROP TRIGGER tile_only_grows", "DELETE FROM tile"] {
        sqlx::query(sql).execute(tx.conn()).await.unwrap();
    }
}

#[tokio::test]
async fn tiles_follow_the_entries_and_are_made_up_for_where_they_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let first = store(dir.path(), &signer).await.unwrap();
    let sizes = [1, 254, 1, 1, 300, 90, 256, 2];
    for count in sizes {
        let entries = vec![entry(); count];
        first.writer().submit(|_| Box::pin(async { Ok(((), entries)) })).await.unwrap();
    }
    let size = sizes.iter().sum::<usize>() as u64;
    let hashes = leaf_hashes(&first, size).await;
    let expected = |old: u64| Frontier::from_leaf_hashes(&hashes[..usize::try_from(old).unwrap()]).root();
    let mut tx = first.read().await.unwrap();
    for old in 0..=size {
        assert_eq!(audit::root(&mut tx, signer.origin(), old).await.unwrap(), expected(old), "{old}");
    }
    drop(tx);
    forget_tiles(&first).await;
    first.close().await;
    let second = store(dir.path(), &signer).await.unwrap();
    second.writer().submit(|_| Box::pin(async { Ok(((), vec![entry()])) })).await.unwrap();
    let mut tx = second.read().await.unwrap();
    assert_eq!(audit::root(&mut tx, signer.origin(), size).await.unwrap(), expected(size));
    let head = audit::head(&mut tx, signer.origin()).await.unwrap().frontier;
    assert_eq!(audit::root(&mut tx, signer.origin(), size + 1).await.unwrap(), head.root());
    drop(tx);
    second.close().await;
}

#[tokio::test]
async fn tiles_of_three_levels_lead_to_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), &Arc::new(Signer::new())).await.unwrap();
    let hashes: Vec<Hash> = (0..65_536_u64 + 256 * 3).map(|n| crate::audit::leaf_hash(&n.to_be_bytes())).collect();
    let mut tx = store.read().await.unwrap();
    let mut done = 0;
    for count in [256, 256 * 255, 512, 256] {
        super::super::tile::grow(&mut tx, "a", done as u64, &hashes[done..done + count]).await.unwrap();
        done += count;
        let root = audit::root(&mut tx, "a", done as u64).await.unwrap();
        assert_eq!(root, Frontier::from_leaf_hashes(&hashes[..done]).root(), "{done}");
    }
    drop(tx);
    store.close().await;
}

#[tokio::test]
async fn p4_a_tile_or_head_that_was_edited_is_not_signed_for() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let first = store(dir.path(), &signer).await.unwrap();
    first.writer().submit(|_| Box::pin(async { Ok(((), vec![entry(); 700])) })).await.unwrap();
    let mut tx = first.read().await.unwrap();
    for sql in ["DELETE FROM tile", "UPDATE tile SET hashes = zeroblob(8192)"] {
        assert!(sqlx::query(sql).execute(tx.conn()).await.is_err(), "{sql}");
    }
    drop(tx);
    first.close().await;
    let second = store(dir.path(), &signer).await.unwrap();
    let mut tx = second.read().await.unwrap();
    for sql in ["DROP TRIGGER tile_only_grows", "UPDATE tile SET hashes = zeroblob(64) WHERE level = 1"] {
        sqlx::query(sql).execute(tx.conn()).await.unwrap();
    }
    drop(tx);
    second.close().await;
    let refused = store(dir.path(), &signer).await.unwrap_err();
    assert!(refused.message_en().contains("its entries and its head disagree"), "{refused}");
}
