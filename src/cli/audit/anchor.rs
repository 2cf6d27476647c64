//! `odh audit anchor`: a checkpoint under the clock of a timestamping authority (RFC 3161).
//!
//! It shows that the log had this root before that time, to people who trust neither the hub nor each other. What is
//! stamped is the SHA-256 of the checkpoint's body, the part that is signed.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args as ClapArgs;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;

use crate::{
    audit::{Checkpoint, Note},
    cli::{
        Session,
        failure::{Exit, Failure},
        files,
    },
    domain::Digest,
    trust::{Stamped, timestamp_request, verify_timestamp},
};

/// How long an authority may take.
const ANSWER: Duration = Duration::from_secs(30);
/// A timestamp with its certificates is a few KiB.
const LARGEST: usize = 64 * 1_024;

/// Have a checkpoint timestamped (RFC 3161), or verify the timestamp that it has.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// File of the checkpoint, for example that of an export.
    checkpoint: PathBuf,
    /// The log's key, its text or a file.
    #[arg(long, value_name = "VKEY")]
    key: String,
    /// The authority's address, `http://...`; its answer is kept beside the checkpoint as FILE.tsr. Without it the
    /// timestamp that is there is verified.
    #[arg(long, value_name = "URL")]
    tsa: Option<String>,
    /// File of the authorities that you trust for timestamps, PEM.
    #[arg(long, value_name = "FILE")]
    tsa_ca: PathBuf,
}

/// Runs `odh audit anchor`.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let note = files::read_text(&args.checkpoint)?;
    let key = super::export::key(None, Some(&args.key))?;
    let refused = |e: crate::error::Error| Failure::unverified(e.message_en(), e.message_fr());
    let checkpoint = Checkpoint::verify(&note, &key).map_err(refused)?;
    let digest = Digest::of(Note::parse(&note)?.text.as_bytes()).0;
    let authorities = files::read_text(&args.tsa_ca)?;
    let mut name = args.checkpoint.clone().into_os_string();
    name.push(".tsr");
    let path = PathBuf::from(name);
    let Stamped { at, by } = if let Some(url) = &args.tsa {
        let request = timestamp_request(&digest)?;
        let answer = ask(url, request.clone()).await?;
        let stamped = verify_timestamp(&answer, &digest, Some(&request), &authorities).map_err(refused)?;
        files::write_public(&path, &answer)?;
        stamped
    } else {
        let kept = std::fs::read(&path).map_err(|e| Failure::file(&path, &e))?;
        verify_timestamp(&kept, &digest, None, &authorities).map_err(refused)?
    };
    session.out.object(&json!({
        "origin": checkpoint.origin,
        "tree_size": checkpoint.size,
        "existed_at": at.to_string(),
        "authority": by,
        "timestamp": path.display().to_string(),
    }))
}

/// Posts a request to an authority (RFC 3161 section 3.4). Plain HTTP is the rule there: the answer is signed.
async fn ask(url: &str, request: Vec<u8>) -> Result<Bytes, Failure> {
    let unreachable =
        |detail: &str| Failure::new(Exit::Unreachable, format!("{url}: {detail}"), format!("{url} : {detail}"));
    if !url.starts_with("http://") {
        return Err(Failure::usage(
            "the authority's address must begin with http://",
            "l'adresse doit commencer par http://",
        ));
    }
    let request = Request::post(url)
        .header(http::header::CONTENT_TYPE, "application/timestamp-query")
        .body(Full::from(request))
        .map_err(|e| Failure::usage(e.to_string(), e.to_string()))?;
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(HttpConnector::new());
    let answer = async {
        let answer = client.request(request).await.map_err(|e| unreachable(&e.to_string()))?;
        if !answer.status().is_success() {
            return Err(unreachable(&answer.status().to_string()));
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        Ok(body.map_err(|e| unreachable(&e.to_string()))?.to_bytes())
    };
    tokio::time::timeout(ANSWER, answer).await.map_err(|_| unreachable("no answer in time"))?
}
