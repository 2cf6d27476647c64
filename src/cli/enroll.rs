//! Getting an identity: a key that is made here and never leaves, its certificate, and the context that holds both.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{
    Session, choices,
    client::{Client, Target},
    context::{self, Context, Contexts, check_name},
    failure::Failure,
    files, names,
};
use crate::{domain::Digest, grpc::pb, trust::new_csr};

/// Which hub. The context to make is named by `--context`, or after the participant.
#[derive(Debug, ClapArgs)]
pub struct HubArgs {
    /// The hub's gRPC address, https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    hub: String,
    /// File of the hub's authority, PEM, from a source that you trust.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    hub: HubArgs,
    /// The one-time token; `-` reads it from standard input, so that no other process sees it.
    #[arg(long)]
    token: String,
}

/// What a new participant says about itself.
#[derive(Debug, ClapArgs)]
pub struct RegisterArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// The one-time token of the invitation; `-` reads it from standard input.
    #[arg(long)]
    invitation: String,
    /// The participant's id: a lower-case letter, then lower-case letters, digits or `_`. It never changes.
    #[arg(long)]
    id: String,
    /// The SIREN, nine digits.
    #[arg(long)]
    siren: String,
    /// The legal name.
    #[arg(long)]
    legal_name: String,
    /// What sort of organisation it is.
    #[arg(long, value_parser = choices::kind())]
    kind: pb::ParticipantKind,
    /// The sector, for example `health`.
    #[arg(long, default_value = "", hide_default_value = true)]
    sector: String,
    /// The country of the seat, ISO 3166-1 alpha-2.
    #[arg(long, default_value = "FR")]
    country: String,
    /// Your name, as colleagues will see it: you become the first participant-admin.
    #[arg(long)]
    admin_name: String,
}

/// Runs `odh enroll`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let token = secret(args.token)?;
    let staged = Staged::begin(&args.hub, session)?;
    let client = staged.client(session).await?;
    let request = pb::EnrolMemberRequest {
        enrolment_token: token.to_string(),
        csr_pem: staged.csr.clone().into(),
        request_id: session.request_id.clone(),
    };
    let response = client.participants().enrol_member(request).await?.into_inner();
    let member = response.member.as_ref().ok_or_else(|| Failure::protocol("it lacks the member"))?;
    let name = staged.finish(&member.name, &response.certificate_chain_pem, session)?;
    welcome(&name, session);
    session.out.changed(&response, response.member.as_ref(), super::member::COLUMNS, response.receipt.as_ref())
}

/// Runs `odh participant register`.
pub async fn register(args: RegisterArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let invitation = secret(args.invitation)?;
    let staged = Staged::begin(&args.hub, session)?;
    let client = staged.client(session).await?;
    let request = pb::RegisterParticipantRequest {
        invitation_token: invitation.to_string(),
        participant_id: args.id,
        siren: args.siren,
        legal_name: args.legal_name,
        kind: args.kind.into(),
        sector: args.sector,
        country: args.country,
        admin_display_name: args.admin_name,
        csr_pem: staged.csr.clone().into(),
        request_id: session.request_id.clone(),
    };
    let response = client.participants().register_participant(request).await?.into_inner();
    let member = response.member.as_ref().ok_or_else(|| Failure::protocol("it lacks the member"))?;
    let name = staged.finish(&member.name, &response.certificate_chain_pem, session)?;
    welcome(&name, session);
    session.out.say("next: odh charter show, odh charter sign", "ensuite : odh charter show, odh charter sign");
    let columns = super::participant::COLUMNS;
    session.out.changed(&response, response.participant.as_ref(), columns, response.receipt.as_ref())
}

/// Runs `odh member renew`: a new key and certificate take the place of those of the context.
pub async fn renew(session: &mut Session<'_>) -> Result<(), Failure> {
    if session.env.get("ODH_CERT").is_some() {
        return Err(Failure::usage(
            "a certificate given by ODH_CERT is not renewed: use a context",
            "un certificat donné par ODH_CERT ne se renouvelle pas : utilisez un contexte",
        ));
    }
    let home = session.env.home()?;
    let mut contexts = Contexts::load(&home)?;
    let name = context::chosen(session.context, session.env, &contexts).ok_or_else(context::none_chosen)?;
    let mut context = contexts.get(&name)?.clone();
    let client = session.client().await?;
    let (key, csr) = new_csr()?;
    let folder = home.join(&name);
    files::private_folder(&folder)?;
    // Before the call: a certificate whose key could not be written would be of no use.
    let staged = folder.join("key.staged");
    files::write_private(&staged, key.as_bytes())?;
    let request = pb::RenewCertificateRequest { csr_pem: csr.into(), request_id: session.request_id.clone() };
    let response = client.participants().renew_certificate(request).await?.into_inner();
    let (cert_path, key_path) = identity_paths(&response.certificate_chain_pem)?;
    files::write_public(&folder.join(&cert_path), response.certificate_chain_pem.as_bytes())?;
    files::rename(&staged, &folder.join(&key_path))?;
    let of_ours = |path: &PathBuf| home.join(path).starts_with(&folder);
    let old: Vec<PathBuf> = [context.cert.take(), context.key.take()].into_iter().flatten().filter(of_ours).collect();
    context.cert = Some(Path::new(&name).join(cert_path));
    context.key = Some(Path::new(&name).join(key_path));
    contexts.contexts.insert(name, context);
    // From here on the new pair is the one in use, so the old one can go.
    contexts.save(&home)?;
    for path in old {
        let _ = std::fs::remove_file(home.join(path));
    }
    session.out.changed(
        &response,
        response.certificate.as_ref(),
        super::member::CERTIFICATES,
        response.receipt.as_ref(),
    )
}

/// A key and its request, in a folder of their own until the hub has answered.
struct Staged {
    home: PathBuf,
    folder: PathBuf,
    hub: String,
    ca_pem: String,
    csr: String,
    name: Option<String>,
}

impl Staged {
    fn begin(args: &HubArgs, session: &Session<'_>) -> Result<Self, Failure> {
        let home = session.env.home()?;
        if let Some(name) = session.context {
            check_name(name)?;
            if Contexts::load(&home)?.contexts.contains_key(name) || home.join(name).exists() {
                return Err(Failure::usage(
                    format!("there is a context `{name}` already: remove it, or choose another name with --context"),
                    format!(
                        "il y a déjà un contexte `{name}` : supprimez-le ou choisissez un autre nom avec --context"
                    ),
                ));
            }
        }
        let ca_pem = files::read_text(&args.ca)?;
        let (key, csr) = new_csr()?;
        let tag: String = Digest::of(csr.as_bytes()).hex().chars().take(12).collect();
        let folder = home.join(format!(".enrolling-{tag}"));
        files::private_folder(&folder)?;
        let staged =
            Self { home, folder, hub: args.hub.clone(), ca_pem, csr, name: session.context.map(str::to_owned) };
        files::write_private(&staged.folder.join("key.pem"), key.as_bytes())?;
        files::write_public(&staged.folder.join("ca.pem"), staged.ca_pem.as_bytes())?;
        Ok(staged)
    }

    async fn client(&self, session: &Session<'_>) -> Result<Client, Failure> {
        Client::connect(Target::new(&self.hub, &self.ca_pem).speaking(session.out.lang)).await
    }

    /// Keeps the certificate of `member`, names the folder after the context and makes this the current one.
    fn finish(&self, member: &str, chain_pem: &str, session: &Session<'_>) -> Result<String, Failure> {
        let participant = member.split('/').nth(1).unwrap_or_default().to_owned();
        let mut contexts = Contexts::load(&self.home)?;
        let wanted = self.name.clone().unwrap_or_else(|| participant.clone());
        check_name(&wanted)?;
        let is_free = |name: &String| !contexts.contexts.contains_key(name) && !self.home.join(name).exists();
        let numbered = (2_u32..).map(|number| format!("{wanted}-{number}"));
        let name = std::iter::once(wanted.clone()).chain(numbered).find(is_free).unwrap_or_default();
        let (cert, key) = identity_paths(chain_pem)?;
        files::write_public(&self.folder.join(&cert), chain_pem.as_bytes())?;
        files::rename(&self.folder.join("key.pem"), &self.folder.join(&key))?;
        files::rename(&self.folder, &self.home.join(&name))?;
        let context = Context {
            hub: Target::new(&self.hub, "").hub().to_owned(),
            ca: Path::new(&name).join("ca.pem"),
            cert: Some(Path::new(&name).join(cert)),
            key: Some(Path::new(&name).join(key)),
            participant: Some(participant),
            member: Some(names::short(member)),
        };
        contexts.contexts.insert(name.clone(), context);
        contexts.current = Some(name.clone());
        contexts.save(&session.env.home()?)?;
        Ok(name)
    }
}

impl Drop for Staged {
    /// Whatever is still staged is of no use: the hub has refused it. After `finish` there is nothing left here.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Names of the certificate's and key's files: by fingerprint, so that a pair is never mixed with another one.
fn identity_paths(chain_pem: &str) -> Result<(String, String), Failure> {
    let certificate = CertificateDer::from_pem_slice(chain_pem.as_bytes())
        .map_err(|_| Failure::protocol("the certificate is not PEM"))?;
    let fingerprint: String = Digest::of(&certificate).hex().chars().take(16).collect();
    Ok((format!("cert-{fingerprint}.pem"), format!("key-{fingerprint}.pem")))
}

/// The token itself, or standard input's first line for `-`.
fn secret(argument: String) -> Result<Zeroizing<String>, Failure> {
    let text = if argument == "-" { files::read_text(Path::new("-"))? } else { argument };
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn welcome(name: &str, session: &mut Session<'_>) {
    session.out.say(
        format!("enrolled; `{name}` is the current context"),
        format!("inscription faite ; `{name}` est le contexte courant"),
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cli::{
            env::{Env, Lang},
            output::Out,
        },
        domain::{ManualClock, Timestamp},
        trust::KeyStore,
    };

    const ID: &str = "0190b8a0-0000-7000-8000-000000000001";

    struct Hub {
        keys: KeyStore,
        _folder: tempfile::TempDir,
    }

    impl Hub {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let keys = KeyStore::init(&folder.path().join("keys"), "hub.example", &ManualClock::new(now())).unwrap();
            Self { keys, _folder: folder }
        }

        fn certify(&self, csr: &str) -> String {
            let hour = Duration::from_hours(1);
            self.keys
                .authority()
                .issue_client(csr, &"chu".parse().unwrap(), ID.parse().unwrap(), now(), hour)
                .unwrap()
                .chain_pem
        }
    }

    fn now() -> Timestamp {
        "2026-11-23T07:30:00Z".parse().unwrap()
    }

    fn enrol(hub: &Hub, folder: &Path, name: Option<&str>) -> Result<String, Failure> {
        let ca = folder.join("downloaded.pem");
        std::fs::write(&ca, hub.keys.authority().certificate_pem()).unwrap();
        let home = folder.join("odh");
        let env = Env::of([("ODH_HOME", home.to_str().unwrap())]);
        let (mut out, _, _) = Out::captured(Lang::En);
        let session = Session { env: &env, out: &mut out, context: name, request_id: String::new() };
        let args = HubArgs { hub: "hub.example:1".to_owned(), ca };
        let staged = Staged::begin(&args, &session)?;
        let chain = hub.certify(&staged.csr);
        staged.finish(&format!("participants/chu/members/{ID}"), &chain, &session)
    }

    #[test]
    fn an_identity_is_kept_privately_and_becomes_the_current_context() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(enrol(&Hub::new(), folder.path(), None).unwrap(), "chu");
        let home = folder.path().join("odh");
        let contexts = Contexts::load(&home).unwrap();
        let context = contexts.get("chu").unwrap();
        assert_eq!((contexts.current.as_deref(), context.member.as_deref()), (Some("chu"), Some(ID)));
        assert!(!files::is_exposed(&home.join(context.key.as_ref().unwrap())));
        context::target(context, &home).unwrap();
        let left: Vec<_> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
    }

    #[test]
    fn a_second_identity_of_a_participant_gets_a_name_of_its_own() {
        let (folder, hub) = (tempfile::tempdir().unwrap(), Hub::new());
        enrol(&hub, folder.path(), None).unwrap();
        assert_eq!(enrol(&hub, folder.path(), None).unwrap(), "chu-2");
        assert_eq!(enrol(&hub, folder.path(), Some("other")).unwrap(), "other");
        assert!(enrol(&hub, folder.path(), Some("chu")).unwrap_err().to_string().contains("already"));
    }

    #[test]
    fn what_the_hub_refuses_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("odh");
        let env = Env::of([("ODH_HOME", home.to_str().unwrap())]);
        let (mut out, _, _) = Out::captured(Lang::En);
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, "pem").unwrap();
        let session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
        let args = HubArgs { hub: "h".to_owned(), ca };
        drop(Staged::begin(&args, &session).unwrap());
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    }
}
