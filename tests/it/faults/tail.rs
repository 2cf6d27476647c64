//! The last record of the write-ahead log is torn, at each of its bytes: the database is what it was before, whole.

use std::{fs, ops::Range, path::Path};

use super::{Template, files, long, told::Told};
use crate::harness::sane;

/// A frame of SQLite's write-ahead log: a header and a page (<https://sqlite.org/fileformat2.html#walformat>).
const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_is_torn_at_any_byte_leaves_the_state_before_it() {
    let template = Template::new().await;
    let home = template.copy("torn").await;
    let hub = home.serve().await;
    let actors = template.actors(&hub).await;
    let mut told = Told::default();
    actors.act("kept", &mut told).await;
    let kept = told.receipts.last().unwrap().checkpoint.clone();
    told.change(&actors.steward, "torn").await;
    assert_eq!(told.refused, 0);
    hub.kill();

    let [database, wal] = files(&home);
    let (database, wal) = (fs::read(database).unwrap(), fs::read(wal).unwrap());
    let last = last_record(&wal);
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let open = async |cut: usize| {
        fs::write(scratch.path().join("hub.db"), &database).unwrap();
        fs::write(scratch.path().join("hub.db-wal"), &wal[..cut]).unwrap();
        let _ = fs::remove_file(scratch.path().join("hub.db-shm"));
        let url = format!("sqlite://{}", scratch.path().join("hub.db").display());
        sane::state(&url, home.dir()).await
    };
    let before = open(last.start).await;
    let after = open(last.end).await;
    assert_eq!(after.entries, before.entries + 1);
    let cuts: Vec<usize> = last.clone().filter(|at| long() || sampled(last.start, *at)).collect();
    for cut in &cuts {
        assert_eq!(open(*cut).await, before, "torn at byte {cut} of {last:?}");
    }
    println!("torn at {} of the {} bytes of the last record", cuts.len(), last.len());

    // And the hub goes on from there: as after a crash in the middle of that write, of which nobody was told.
    for cut in [last.start + 1, last.start + FRAME / 2, last.end - 1] {
        let copy = template.copy(&format!("torn_{cut}")).await;
        fs::write(copy.dir().join("hub.db"), &database).unwrap();
        fs::write(copy.dir().join("hub.db-wal"), &wal[..cut]).unwrap();
        fs::write(checkpoint_file(copy.dir()), &kept).unwrap();
        for object in fs::read_dir(home.dir().join("objects")).unwrap() {
            let object = object.unwrap().path();
            fs::copy(&object, copy.dir().join("objects").join(object.file_name().unwrap())).unwrap();
        }
        let mut told = Told { datasets: vec!["kept".to_owned()], receipts: told.receipts.clone(), ..Told::default() };
        told.receipts.pop();
        template.holds(&copy, &told).await;
    }
}

/// Every byte of a frame's header, and some of its page.
const fn sampled(start: usize, at: usize) -> bool {
    let within = (at - start) % FRAME;
    within < 26 || within.is_multiple_of(509) || within == FRAME - 1
}

/// The bytes of the last transaction: from the end of the one before to the end of its commit frame.
fn last_record(wal: &[u8]) -> Range<usize> {
    let salt = &wal[16..24];
    let mut ends = vec![HEADER];
    for start in (HEADER..).step_by(FRAME).take_while(|start| start + FRAME <= wal.len()) {
        let frame = &wal[start..start + FRAME];
        if &frame[8..16] != salt {
            break;
        }
        // The size of the database after a commit; zero in any other frame.
        if frame[4..8] != [0; 4] {
            ends.push(start + FRAME);
        }
    }
    let [.., start, end] = ends.as_slice() else { panic!("the log has no record") };
    *start..*end
}

fn checkpoint_file(dir: &Path) -> std::path::PathBuf {
    dir.join("keys.checkpoint")
}
