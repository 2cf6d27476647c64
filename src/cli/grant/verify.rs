//! `odh grant verify`: what a third party does with a grant. Reads a key set, a signed form and the clock, no context.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args as ClapArgs;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{client::legacy, rt::TokioExecutor};

use crate::{
    cli::{
        Session,
        failure::{Exit, Failure},
        files,
        output::Format,
    },
    domain::{Clock as _, SystemClock, Timestamp},
    trust::{
        GrantClaims, Jwks,
        tls::{Connector, client_config},
        verify_grant,
    },
};

/// A key set is small; more than this is not read.
const MAX_JWKS: usize = 64 * 1_024;
/// How long the download of a key set may take.
const DOWNLOAD: Duration = Duration::from_secs(30);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The signed form (a compact JWS), a file that holds it, or `-` for standard input.
    grant: String,
    /// The hub's key set: a file, or an https URL such as https://HOST:PORT/.well-known/jwks.json.
    #[arg(long, value_name = "FILE|URL")]
    jwks: String,
    /// File of the hub's authority, PEM; needed for a URL.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The hub id that the grant must be of; by default that which it names itself.
    #[arg(long, value_name = "ID")]
    hub: Option<String>,
}

/// Runs `odh grant verify`.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let jws = signed_form(&args.grant)?;
    let document = if args.jwks.contains("://") {
        download(&args.jwks, args.ca.as_ref()).await?
    } else {
        files::read_text(args.jwks.as_ref())?.into_bytes()
    };
    let claims = verify(&jws, &document, args.hub.as_deref(), SystemClock.now())?;
    if session.out.quiet {
        return Ok(());
    }
    let json = serde_json::to_value(&claims).map_err(|e| Failure::protocol(&e.to_string()))?;
    match session.out.format {
        Format::Table => session.out.json(&json)?,
        _ => session.out.object(&json)?,
    }
    let (hub, until) = (&claims.iss, claims.expires_at());
    session.out.say(
        format!("genuine: signed by the hub `{hub}`, valid until {until}; ask the hub whether it has been revoked"),
        format!("authentique : signé par le hub `{hub}`, valable jusqu'à {until} ; le hub sait s'il a été révoqué"),
    );
    Ok(())
}

/// Verifies a grant with a key set at `now`. Without `hub` the key set alone says whose grant it must be.
pub(super) fn verify(jws: &str, key_set: &[u8], hub: Option<&str>, now: Timestamp) -> Result<GrantClaims, Failure> {
    let keys = Jwks::parse(key_set)?;
    let named = super::decode(jws).ok().and_then(|parts| parts.get(1)?["iss"].as_str().map(str::to_owned));
    let hub = hub.map(str::to_owned).or(named).unwrap_or_default();
    verify_grant(jws, &keys, &hub, now).map_err(|refusal| {
        Failure::unverified(
            format!("the grant is not genuine: {refusal}"),
            format!("l'accord n'est pas authentique : {refusal}"),
        )
    })
}

/// What looks like a JWS is one; anything else is a file.
fn signed_form(argument: &str) -> Result<String, Failure> {
    let is_jws = argument.split('.').count() == 3
        && argument.len() > 100
        && argument.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_jws { Ok(argument.to_owned()) } else { Ok(files::read_text(argument.as_ref())?.trim().to_owned()) }
}

/// The document at an https URL of the hub.
async fn download(url: &str, ca: Option<&PathBuf>) -> Result<Vec<u8>, Failure> {
    let uri: Uri = url.parse().ok().filter(|uri: &Uri| uri.scheme_str() == Some("https")).ok_or_else(|| {
        Failure::usage(format!("`{url}` is not an https URL"), format!("`{url}` n'est pas une URL https"))
    })?;
    let ca = ca.ok_or_else(|| {
        Failure::usage(
            "a URL needs the file of the hub's authority: add --ca FILE",
            "une URL demande le fichier de l'autorité du hub : ajoutez --ca FICHIER",
        )
    })?;
    let mut config = client_config(&files::read_text(ca)?, None)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let unreachable = |cause: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Unreachable,
            format!("`{url}` cannot be read: {cause}"),
            format!("`{url}` est inaccessible : {cause}"),
        )
    };
    let client = legacy::Client::builder(TokioExecutor::new()).build(Connector::new(Arc::new(config)));
    let request = Request::get(uri).body(Empty::<bytes::Bytes>::new()).map_err(|e| unreachable(&e))?;
    let fetch = async {
        let response = client.request(request).await.map_err(|e| {
            let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            unreachable(&cause)
        })?;
        if !response.status().is_success() {
            return Err(unreachable(&response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_JWKS).collect().await.map_err(|e| unreachable(&e))?;
        Ok(body.to_bytes().to_vec())
    };
    tokio::time::timeout(DOWNLOAD, fetch).await.unwrap_or_else(|_| Err(unreachable(&"no answer in time")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{AccessRequestId, Action, Columns, Digest, Grant, GrantId, GrantState, LegalBasis, MemberId},
        trust::{P256Key, Tokens},
    };

    fn now() -> Timestamp {
        "2026-11-23T07:30:00Z".parse().unwrap()
    }

    fn signed() -> (String, Vec<u8>) {
        let tokens = Tokens::new("hub.example", &P256Key::generate().unwrap(), &P256Key::generate().unwrap()).unwrap();
        let grant = Grant {
            id: GrantId::generate(now()),
            access_request: AccessRequestId::generate(now()),
            grantee: "lab".parse().unwrap(),
            dataset: "chu.stays".parse().unwrap(),
            policy: Digest::of(b"policy"),
            rule: "research".parse().unwrap(),
            action: Action::Aggregate,
            columns: Columns::All,
            purpose: "scientific_research".parse().unwrap(),
            legal_basis: LegalBasis::Consent,
            duties: Vec::new(),
            valid_from: now(),
            valid_until: now().plus(Duration::from_hours(1)),
            state: GrantState::Active,
            decided_by: MemberId::generate(now()),
            jws: String::new(),
            revision: 1,
        };
        (tokens.sign_grant(&grant, now()).unwrap(), tokens.jwks().to_json().unwrap().into_bytes())
    }

    #[test]
    fn a_genuine_grant_is_told_from_a_forged_a_foreign_and_a_late_one() {
        let (jws, keys) = signed();
        assert_eq!(verify(&jws, &keys, None, now()).unwrap().sub.as_str(), "lab");
        assert_eq!(verify(&jws, &keys, Some("hub.example"), now()).unwrap().iss, "hub.example");
        let (_, foreign) = signed();
        let late = now().plus(Duration::from_hours(2));
        let forged = {
            let (body, signature) = jws.rsplit_once('.').unwrap();
            format!("{body}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..])
        };
        for (jws, keys, hub, at) in [
            (&forged, &keys, None, now()),
            (&jws, &foreign, None, now()),
            (&jws, &keys, Some("other.example"), now()),
            (&jws, &keys, None, late),
        ] {
            assert_eq!(verify(jws, keys, hub, at).unwrap_err().exit(), Exit::Unverified);
        }
        assert_eq!(verify(&jws, b"{}", None, now()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn the_signed_form_can_be_given_itself_or_in_a_file() {
        let (jws, _) = signed();
        assert_eq!(signed_form(&jws).unwrap(), jws);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b.jws");
        std::fs::write(&path, format!("{jws}\n")).unwrap();
        assert_eq!(signed_form(path.to_str().unwrap()).unwrap(), jws);
        assert!(signed_form("no.such.file").unwrap_err().to_string().contains("`no.such.file`"));
    }

    #[tokio::test]
    async fn keys_come_only_over_tls_from_a_known_authority() {
        let ca = PathBuf::from("ca.pem");
        assert!(download("http://hub/jwks.json", Some(&ca)).await.unwrap_err().to_string().contains("https"));
        assert!(download("https://hub/jwks.json", None).await.unwrap_err().to_string().contains("--ca"));
    }
}
