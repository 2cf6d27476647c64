//! How fast the log's sequencer is, optimised: `cargo run --release -- [--database URL] [--writers N] [--seconds N]
//! [--preload N] [--dir DIR]` in this folder. Prints JSON. `odh hammer --direct` measures the same in a whole hub.
#![allow(dead_code, reason = "the hub's own modules, of which this uses a part")]
#![allow(unused_imports, reason = "the hub's own modules, of which this uses a part")]

#[path = "../../../src/audit/mod.rs"]
mod audit;
#[path = "../../../src/cli/hammer/direct.rs"]
mod direct;
#[path = "../../../src/cli/hammer/disk.rs"]
mod disk;
#[path = "../../../src/domain/mod.rs"]
mod domain;
#[path = "../../../src/error.rs"]
mod error;
#[path = "../../../src/cli/hammer/stats.rs"]
mod stats;
#[path = "../../../src/store/mod.rs"]
mod store;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value as Json, json};

use audit::CheckpointSigner;

const USAGE: &str = "[--database URL] [--writers N] [--seconds N] [--preload N] [--dir DIR]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        words.chunks(2).map(|pair| (pair[0].as_str(), pair.get(1).map_or("", String::as_str))).collect();
    if let Some(unknown) = options.keys().find(|name| !USAGE.contains(&format!("[{name} "))) {
        return Err(format!("{unknown}? {USAGE}").into());
    }
    let number = |name: &str, default: u64| options.get(name).map_or(Ok(default), |text| text.parse());
    let temporary = std::env::temp_dir().join(format!("audit-bench-{}", std::process::id()));
    let dir = options.get("--dir").map_or_else(|| temporary.clone(), PathBuf::from);
    std::fs::create_dir_all(&dir)?;
    let url =
        options.get("--database").map_or_else(|| format!("sqlite://{}/hub.db", dir.display()), ToString::to_string);
    let plan = direct::Plan {
        url,
        checkpoint_file: dir.join("checkpoint"),
        signer: Arc::new(Signer(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|e| e.to_string())?)),
        writers: u32::try_from(number("--writers", 64)?)?,
        duration: Duration::from_secs(number("--seconds", 10)?),
        preload: number("--preload", 0)?,
    };
    let disk = disk::measure(&dir, Duration::from_secs(3))?;
    let mut measured = plan.run(&mut |en, _| eprintln!("{en}")).await.map_err(|e| e.message_en())?;
    measured.insert("disk".to_owned(), disk);
    measured.insert("writers".to_owned(), json!(plan.writers));
    println!("{:#}", Json::Object(measured));
    if dir == temporary {
        std::fs::remove_dir_all(&temporary)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Signer(Ed25519KeyPair);

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        "hammer.occitanie.localhost/audit"
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes")
    }

    fn sign(&self, message: &[u8]) -> error::Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes"))
    }
}
