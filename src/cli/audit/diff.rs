//! `odh audit diff`: where two exports, or an export and a checkpoint that somebody holds, begin to differ.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use clap::Args as ClapArgs;
use serde_json::json;

use crate::{
    audit::{
        Checkpoint, Frontier, Hash, VerifierKey,
        export::{CHECKPOINT, LEAF_HASHES},
    },
    cli::{Session, failure::Failure, files},
    domain::Digest,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// An export (a folder) or a checkpoint (a file).
    left: PathBuf,
    /// What to compare it with.
    right: PathBuf,
    /// The log's key, its text or a file; by default that of the export.
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
}

/// Runs `odh audit diff`.
pub(super) fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let folder = [&args.left, &args.right].into_iter().find(|path| path.is_dir());
    let key = super::export::key(folder.map(PathBuf::as_path), args.key.as_deref())?;
    let (left, right) = (Side::open(&args.left, &key)?, Side::open(&args.right, &key)?);
    let (sizes, finding) = ([left.checkpoint.size, right.checkpoint.size], compare(left, right)?);
    let first = match finding {
        Finding::Same => None,
        Finding::Entry(index) => Some(index),
        Finding::Before(size) => {
            return Err(Failure::unverified(
                format!("they differ somewhere in the first {size} entries: compare two exports to know where"),
                format!("ils diffèrent dans les {size} premières entrées : comparez deux exports pour savoir où"),
            ));
        }
    };
    if let Some(index) = first {
        return Err(Failure::unverified(
            format!("entry {index} is the first that differs: these are two histories of one log"),
            format!("l'entrée {index} est la première à différer : ce sont deux histoires d'un même journal"),
        ));
    }
    session.out.object(&json!({"same": sizes[0].min(sizes[1]), "sizes": sizes}))?;
    session.out.say("one continues the other", "l'un est la suite de l'autre");
    Ok(())
}

/// An export or a checkpoint, of which the signature is good.
struct Side {
    checkpoint: Checkpoint,
    hashes: Option<Hashes>,
}

/// What a comparison has shown.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Same,
    Entry(u64),
    /// Among the first so many entries; which one cannot be told without both lists.
    Before(u64),
}

impl Side {
    fn open(path: &Path, key: &VerifierKey) -> Result<Self, Failure> {
        let (note, hashes) = if path.is_dir() {
            let list = path.join(LEAF_HASHES);
            let file = File::open(&list).map_err(|e| Failure::file(&list, &e))?;
            (path.join(CHECKPOINT), Some(Hashes { path: list, lines: BufReader::new(file).lines() }))
        } else {
            (path.to_owned(), None)
        };
        let refused = |e: crate::error::Error| Failure::unverified(e.message_en(), e.message_fr());
        Ok(Self { checkpoint: Checkpoint::verify(&files::read_text(&note)?, key).map_err(refused)?, hashes })
    }
}

/// The leaf hashes of an export, one after the other.
struct Hashes {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
}

impl Hashes {
    fn next(&mut self) -> Result<Hash, Failure> {
        let line = self.lines.next().transpose().map_err(|e| Failure::file(&self.path, &e))?;
        let hash = line.and_then(|line| line.parse::<Digest>().ok()).map(|digest| digest.0);
        let shown = self.path.display();
        hash.ok_or_else(|| {
            Failure::unverified(
                format!("`{shown}` ends too early or is malformed"),
                format!("`{shown}` est incomplet ou mal formé"),
            )
        })
    }
}

/// Reads each list once; memory does not depend on the log.
fn compare(left: Side, right: Side) -> Result<Finding, Failure> {
    let common = left.checkpoint.size.min(right.checkpoint.size);
    match (left.hashes, right.hashes) {
        (Some(mut one), Some(mut other)) => {
            for index in 0..common {
                if one.next()? != other.next()? {
                    return Ok(Finding::Entry(index));
                }
            }
            Ok(Finding::Same)
        }
        (Some(mut list), None) => against(&mut list, left.checkpoint.size, &right.checkpoint),
        (None, Some(mut list)) => against(&mut list, right.checkpoint.size, &left.checkpoint),
        (None, None) if left.checkpoint.size == right.checkpoint.size => {
            Ok(if left.checkpoint.root == right.checkpoint.root { Finding::Same } else { Finding::Before(common) })
        }
        (None, None) => Err(Failure::usage(
            "two checkpoints of different sizes can only be compared with an export",
            "deux points de tailles différentes ne se comparent qu'avec un export",
        )),
    }
}

fn against(list: &mut Hashes, listed: u64, held: &Checkpoint) -> Result<Finding, Failure> {
    if held.size > listed {
        return Err(Failure::unverified(
            format!("the export has {listed} entries and the checkpoint {}: it is older, or went back", held.size),
            format!("l'export a {listed} entrées et le point {} : il est plus ancien, ou en arrière", held.size),
        ));
    }
    let mut frontier = Frontier::default();
    for _ in 0..held.size {
        frontier.append(&list.next()?);
    }
    Ok(if frontier.root() == held.root { Finding::Same } else { Finding::Before(held.size) })
}
