//! What must be true of a hub's directory and database after every scenario, read without the hub's code paths.

use std::{collections::BTreeSet, fs, path::Path};

use odh::{
    audit::{Verified, VerifierKey, export::hash_line, verify_export},
    trust::KeyStore,
};
use sqlx::{AnyConnection, Connection as _, Row as _};

/// Checks it, and gives what the log proves.
///
/// The log verifies offline, as a whole; parties' counters have no gaps; every query has its outcome; no upload is
/// half done; each snapshot has its object.
pub(crate) async fn check(database_url: &str, dir: &Path) -> Verified {
    let mut db = connect(database_url).await;
    let verified = verify_log(&mut db, dir).await;
    counters_have_no_gaps(&mut db).await;
    let open: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM query_run").fetch_one(&mut db).await.unwrap();
    // On PostgreSQL another replica may still run what has no outcome yet: it is closed after ten minutes only.
    assert!(open == 0 || database_url.starts_with("postgres"), "{open} queries without an outcome");
    assert_eq!(files(&dir.join("uploads")), BTreeSet::new(), "uploads that were left");
    let snapshots = sqlx::query("SELECT id FROM snapshot").fetch_all(&mut db).await.unwrap();
    let wanted: BTreeSet<String> =
        snapshots.iter().map(|row| format!("{}.parquet", row.get::<String, _>("id"))).collect();
    assert_eq!(files(&dir.join("objects")), wanted, "objects and snapshots disagree");
    db.close().await.unwrap();
    verified
}

/// A connection to a hub's database beside the hub.
pub(crate) async fn connect(database_url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(database_url).await.unwrap()
}

async fn verify_log(db: &mut AnyConnection, dir: &Path) -> Verified {
    let key = VerifierKey::of(KeyStore::open(&dir.join("keys")).unwrap().log_signer().as_ref()).unwrap();
    let rows = sqlx::query("SELECT leaf, leaf_hash FROM entry ORDER BY idx").fetch_all(&mut *db).await.unwrap();
    let (mut entries, mut hashes) = (Vec::new(), String::new());
    for row in &rows {
        entries.extend(row.get::<Vec<u8>, _>("leaf"));
        entries.push(b'\n');
        hashes.push_str(&hash_line(&row.get::<Vec<u8>, _>("leaf_hash").try_into().unwrap()));
    }
    let checkpoint: String = sqlx::query_scalar("SELECT checkpoint FROM log_head").fetch_one(db).await.unwrap();
    let verified =
        verify_export(entries.as_slice(), std::io::Cursor::new(&hashes), &checkpoint, &key, &mut |_| {}).unwrap();
    assert_eq!((verified.entries, verified.first_missing), (rows.len() as u64, None));
    verified
}

async fn counters_have_no_gaps(db: &mut AnyConnection) {
    let sql = "SELECT party, COUNT(*) AS n, MIN(seq) AS low, MAX(seq) AS high FROM party_entry GROUP BY party";
    for row in sqlx::query(sql).fetch_all(db).await.unwrap() {
        let (n, low, high): (i64, i64, i64) = (row.get("n"), row.get("low"), row.get("high"));
        assert_eq!((low, high), (0, n - 1), "the counter of `{}` has a gap", row.get::<String, _>("party"));
    }
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
