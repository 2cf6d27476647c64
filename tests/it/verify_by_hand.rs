//! `docs/verify-by-hand.md` is true: its commands check an entry of a real hub, and fail as soon as a byte is flipped.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    harness::{Engine, Hub},
    personas::Persona,
    tutorial::{Block, blocks, run, script},
    world,
};

const PAGE: &str = include_str!("../../docs/verify-by-hand.md");
/// What the page begins with; the rest of the first block fetches the files.
const CHOICE: &str = "N=12\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_accepts_a_genuine_entry_and_no_flipped_byte_of_leaf_receipt_or_key() {
    let mut hub = Hub::start(Engine::Sqlite, "by_hand").await.unwrap();
    let world = world::small(&mut hub).await;
    let folder = tempfile::tempdir().unwrap();
    let (page, identity) = (blocks(PAGE), identity(&world.auditor, folder.path()));
    let (fetch, check) = page.split_first().unwrap();
    assert!(fetch.commands.starts_with(CHOICE) && check.len() >= 4);
    let fetching = format!("{identity}\n{}", script(std::slice::from_ref(fetch)));
    let home = folder.path().to_owned();
    let checking = check_script(check);
    let (folder_of, script_of) = (home.clone(), checking.clone());
    let log = tokio::task::spawn_blocking(move || {
        run(&fetching, &folder_of).unwrap_or_else(|log| panic!("{log}"));
        run(&script_of, &folder_of).unwrap_or_else(|log| panic!("{log}"))
    })
    .await
    .unwrap();
    assert!(log.contains("Signature Verified Successfully"), "{log}");
    hub.stop().await;

    let flips = flips(&home.join("journal"));
    assert!(flips.len() > 40, "{}", flips.len());
    let halves: Vec<Vec<Flip>> = flips.chunks(flips.len().div_ceil(2)).map(<[Flip]>::to_vec).collect();
    let mut running = tokio::task::JoinSet::new();
    for (half, flips) in halves.into_iter().enumerate() {
        let (home, checking) = (home.clone(), checking.clone());
        running.spawn_blocking(move || {
            for flip in flips {
                let copy = home.join(format!("copy-{half}"));
                flip.make(&home.join("journal"), &copy.join("journal"));
                assert!(run(&checking, &copy).is_err(), "a flip went unnoticed: {flip:?}");
            }
        });
    }
    running.join_all().await;
}

/// One byte that is changed.
#[derive(Debug, Clone)]
struct Flip {
    file: &'static str,
    at: usize,
    mask: u8,
}

impl Flip {
    fn make(&self, genuine: &Path, copy: &Path) {
        fs::create_dir_all(copy).unwrap();
        for file in ["entries.jsonl", "proof", "key"] {
            let mut bytes = fs::read(genuine.join(file)).unwrap();
            if file == self.file {
                bytes[self.at] ^= self.mask;
            }
            fs::write(copy.join(file), bytes).unwrap();
        }
    }
}

/// Some bytes of everything that the page reads, and every byte whose last bits base64 does not use.
fn flips(journal: &Path) -> Vec<Flip> {
    let read = |file: &str| fs::read(journal.join(file)).unwrap();
    let entries = read("entries.jsonl");
    let start = entries.split_inclusive(|byte| *byte == b'\n').take(12).map(<[u8]>::len).sum::<usize>();
    let length = entries[start..].iter().position(|byte| *byte == b'\n').unwrap();
    let mut flips: Vec<Flip> = (start..start + length)
        .step_by(length / 12)
        .map(|at| Flip { file: "entries.jsonl", at, mask: 1 << (at % 7) })
        .collect();
    for (file, every) in [("proof", 29), ("key", 11)] {
        let bytes = read(file);
        // The newline at the very end is the only byte that says nothing.
        let last = bytes.len() - 1;
        flips.extend((0..last).step_by(every).map(|at| Flip { file, at, mask: 1 << (at % 7) }));
        let spare = (0..last).filter(|at| bytes[at + 1] == b'=' && bytes[*at] != b'=');
        flips.extend(spare.map(|at| Flip { file, at, mask: neighbour(bytes[at]) }));
    }
    flips
}

/// A mask that makes of a base64 digit the one that differs in the last bit of its value.
fn neighbour(digit: u8) -> u8 {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = DIGITS.iter().position(|known| *known == digit).unwrap();
    digit ^ DIGITS[value ^ 1]
}

fn check_script(check: &[Block]) -> String {
    script(check).replacen('\n', &format!("\n{CHOICE}"), 1)
}

/// Files of a member, and the lines of shell that make `odh` use them.
fn identity(persona: &Persona, folder: &Path) -> String {
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let ca = write("ca.pem", &persona.site.ca_pem);
    let cert = write("member.pem", &persona.chain_pem);
    let key = write("member.key", &persona.key_pem);
    format!(
        "export ODH_GRPC={} ODH_CA={} ODH_CERT={} ODH_KEY={}",
        persona.site.grpc,
        ca.display(),
        cert.display(),
        key.display()
    )
}
