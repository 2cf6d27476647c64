//! The log over public HTTPS (C2SP tlog-tiles), and proofs for every member.

use odh::{
    audit::{
        Checkpoint, HashTiles, TilePath, VerifierKey, leaf_hash,
        tile::{all_tiles, bundle_entries, tile_hashes},
        verify_consistency, verify_inclusion,
    },
    grpc::pb,
};
use tonic::Code;

use crate::{
    harness::{Hub, Site, on_both_engines, raw},
    personas::{Persona, refused},
    world,
};

on_both_engines!(
    anyone_can_compute_the_root_from_the_public_tiles,
    a_path_that_the_specification_does_not_have_is_unknown,
    entries_are_for_who_may_read_all_of_them,
    a_member_without_any_role_over_the_log_gets_proofs,
);

async fn checkpoint(site: &Site) -> Checkpoint {
    let (_, key) = raw::get_public(site, "/log.vkey").await.unwrap();
    let key: VerifierKey = key.trim().parse().unwrap();
    Checkpoint::verify(&raw::get_public(site, "/checkpoint").await.unwrap().1, &key).unwrap()
}

async fn anyone_can_compute_the_root_from_the_public_tiles(hub: &mut Hub) {
    let world = world::small(hub).await;
    let site = hub.site();
    // Enough for full tiles and a second level.
    while checkpoint(&site).await.size < 300 {
        let denied = world.requester.client.audit().list_entries(pb::ListEntriesRequest::default()).await;
        refused(denied, Code::PermissionDenied, "ROLE_MISSING");
    }
    let checkpoint = checkpoint(&site).await;
    let mut tiles = HashTiles::default();
    for (id, width) in all_tiles(checkpoint.size) {
        let path = format!("/{}", TilePath::Hashes { id, width });
        let answer = raw::fetch_public(&site, &path, None).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let immutable = answer.headers()["cache-control"].to_str().unwrap().contains("immutable");
        assert_eq!(immutable, width == 256, "{path}");
        let hashes = tile_hashes(answer.body()).unwrap();
        assert_eq!(hashes.len() as u64, width, "{path}");
        tiles.insert(id, hashes);
    }
    assert_eq!(tiles.root(&(0..checkpoint.size)).unwrap(), checkpoint.root);
    let narrow = raw::fetch_public(&site, "/tile/0/000.p/7", None).await.unwrap();
    assert_eq!(narrow.body().len(), 7 * 32, "a partial tile of an earlier size is still served");
}

async fn a_path_that_the_specification_does_not_have_is_unknown(hub: &mut Hub) {
    let site = hub.site();
    for path in [
        "/tile/0/0",
        "/tile/0/000",
        "/tile/00/000",
        "/tile/0/999",
        "/tile/64/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/1/000.p/1",
        "/tile/0/x000/000",
        "/tile/entries/000",
        "/tile/0/000.p/1?x=1",
        "/tile/0/000.p/1/",
        "/tile//0/000.p/1",
        "/tile/0/..%2f0/000",
        "/tile/",
        "/tile",
    ] {
        // Some of them need an identity before the hub says that they do not exist.
        let status = raw::fetch_public(&site, path, None).await.unwrap().status().as_u16();
        assert!(status == 404 || (path.contains("entries") && status == 401), "{path}: {status}");
    }
}

async fn token_of(admin: &Persona, member: &Persona) -> String {
    let request = pb::CreateAccessTokenRequest { member: member.name.clone(), ..Default::default() };
    admin.client.participants().create_access_token(request).await.unwrap().into_inner().access_token
}

async fn entries_are_for_who_may_read_all_of_them(hub: &mut Hub) {
    let world = world::small(hub).await;
    let site = hub.site();
    let path = "/tile/entries/000.p/5";
    let of_auditor = token_of(&world.operator, &world.auditor).await;
    let of_steward = token_of(&world.owner, &world.steward).await;
    let status = async |bearer: Option<&str>| raw::fetch_public(&site, path, bearer).await.unwrap().status().as_u16();
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("x.y.z")).await, 401);
    assert_eq!(status(Some(&of_steward)).await, 403, "a steward reads the entries that concern it, over gRPC");
    let answer = raw::fetch_public(&site, path, Some(&of_auditor)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    let entries = bundle_entries(answer.body()).unwrap();
    let tile = raw::fetch_public(&site, "/tile/0/000.p/5", None).await.unwrap();
    let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    assert_eq!(tile_hashes(tile.body()).unwrap(), hashes);
    let beyond = raw::fetch_public(&site, "/tile/entries/001", Some(&of_auditor)).await.unwrap();
    assert_eq!(beyond.status(), 404);
}

async fn a_member_without_any_role_over_the_log_gets_proofs(hub: &mut Hub) {
    let world = world::small(hub).await;
    let now = checkpoint(&hub.site()).await;
    let mut audit = world.requester.client.audit();
    for index in [0, 1, now.size / 2, now.size - 1] {
        let request = pb::GetInclusionProofRequest { index, tree_size: now.size };
        let proof = audit.get_inclusion_proof(request).await.unwrap().into_inner();
        let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
        let leaf = proof.leaf_hash.as_ref().try_into().unwrap();
        assert!(verify_inclusion(&leaf, index, now.size, &hashes, &now.root), "{index}");
    }
    for from_size in 1..now.size {
        let request = pb::GetConsistencyProofRequest { from_size, to_size: now.size };
        let proof = audit.get_consistency_proof(request).await.unwrap().into_inner();
        let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
        let request = pb::GetConsistencyProofRequest { from_size: 1, to_size: from_size };
        let old = audit.get_consistency_proof(request).await.unwrap().into_inner();
        assert_eq!(old.to_size, from_size);
        assert!(hashes.len() < 20);
        let tiles = root_of(&hub.site(), from_size).await;
        assert!(verify_consistency(from_size, &tiles, now.size, &now.root, &hashes), "{from_size}");
        if from_size > 40 {
            break;
        }
    }
    let beyond = pb::GetInclusionProofRequest { index: 1_000_000, tree_size: 0 };
    refused(audit.get_inclusion_proof(beyond).await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

async fn root_of(site: &Site, count: u64) -> [u8; 32] {
    let mut tiles = HashTiles::default();
    for (id, width) in all_tiles(count) {
        let path = format!("/{}", TilePath::Hashes { id, width });
        tiles.insert(id, tile_hashes(raw::fetch_public(site, &path, None).await.unwrap().body()).unwrap());
    }
    tiles.root(&(0..count)).unwrap()
}
