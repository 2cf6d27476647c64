//! `odh policy`: usage policies as manifests, their versions, and what they decide.

mod diff;
mod new;
mod odrl;
mod show;
mod simulate;
mod test;
mod words;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

pub(super) use show::covered;

use super::{
    Session, access,
    choices::{self, ListArgs, pages},
    client::Client,
    env::Lang,
    failure::Failure,
    names,
    output::Column,
};
use crate::{
    domain::Policy,
    grpc::{pb, policy_document::policy_message},
};

const COLUMNS: &[Column] = &[
    Column::new("POLICY", "/name"),
    Column::new("STATE", "/state"),
    Column::new("PUBLISHED", "/publish_time"),
    Column::new("DIGEST", "/digest"),
];

const PURPOSES: &[Column] =
    &[Column::new("PURPOSE", "/slug"), Column::new("BELOW", "/parents"), Column::new("MEANING", "/label/en")];

const FINALITES: &[Column] =
    &[Column::new("FINALITÉ", "/slug"), Column::new("SOUS", "/parents"), Column::new("SENS", "/label/fr")];

/// Usage policies: who may do what with a dataset, why, when and how.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a policy from a template, asking what it needs to know.
    New(Box<new::Args>),
    /// Check a policy without storing it. For a steward of the owner.
    Check {
        /// The manifest, YAML or JSON, or the policy in ODRL; `-` is standard input.
        #[arg(short, long)]
        file: PathBuf,
        /// List what becomes of each term at each place instead of a summary.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Store a policy as a draft, the next version of its dataset. For a steward of the owner.
    Apply {
        /// The manifest, YAML or JSON, or the policy in ODRL; `-` is standard input.
        #[arg(short, long)]
        file: PathBuf,
        /// Publish it, too. Signed with your key.
        #[arg(long)]
        publish: bool,
    },
    /// Put a draft in force. Signed with your key. For a steward of the owner.
    Publish {
        /// The version, OWNER.DATASET@VERSION.
        policy: String,
    },
    /// Show a policy as a manifest, with what the hub does about each term.
    Show {
        /// The dataset (then the policy in force, or else the newest), or OWNER.DATASET@VERSION.
        policy: String,
    },
    /// Print a policy in another form, for others to read.
    Export {
        /// The dataset (then the policy in force, or else the newest), or OWNER.DATASET@VERSION.
        policy: String,
        /// The form.
        #[arg(long, value_enum, default_value = "odrl")]
        format: odrl::Form,
    },
    /// Print a policy in ODRL as a manifest, or say where it leaves the hub's profile. Needs no hub.
    Import {
        /// The document, JSON-LD; `-` is standard input.
        #[arg(short, long)]
        file: PathBuf,
    },
    /// List the versions of a dataset's policy.
    List {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Tell what changes from one policy to another: who gains or loses what, limits and duties.
    Diff {
        /// The older one: a manifest, OWNER.DATASET@VERSION, or OWNER.DATASET for the one in force.
        old: String,
        /// The newer one, likewise.
        new: String,
    },
    /// Replay what was asked against a policy: who would gain or lose what. For a steward of the owner.
    Simulate(simulate::Args),
    /// Stop a policy from taking new grants. For a steward of the owner.
    Retire {
        /// The version, OWNER.DATASET@VERSION.
        policy: String,
    },
    /// End a policy together with its grants, at once. Signed with your key. For a steward of the owner.
    Revoke {
        /// The version, OWNER.DATASET@VERSION.
        policy: String,
        /// Why; grantees can read it.
        #[arg(long)]
        reason: String,
    },
    /// Run the tests that lie beside policies, without a hub. Exit code 1 if a case fails, 2 if a file cannot be read.
    Test(test::Args),
    /// List the purposes that policies and queries can name.
    Purposes,
    /// Show what the policy in force decides, and why.
    Explain {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        /// What would be done.
        #[arg(long, default_value = "aggregate", value_parser = choices::any_action())]
        action: pb::Action,
        /// The purpose; needed unless the action is discover.
        #[arg(long, default_value = "", hide_default_value = true)]
        purpose: String,
        /// The columns, separated by commas; by default every column.
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        columns: Vec<String>,
        /// The participant that would do it; by default your own.
        #[arg(long)]
        participant: Option<String>,
    },
}

/// Runs `odh policy`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::New(args) => new::run(&args, session),
        Command::Check { file, verbose } => {
            let policy = odrl::read(&file)?;
            let response = session.client().await?.check_policy(&policy).await?;
            show::check(&response, verbose, session)
        }
        Command::Apply { file, publish } => {
            let policy = odrl::read(&file)?;
            apply(&policy, publish, session).await
        }
        Command::Publish { policy } => {
            let client = session.client().await?;
            let version = get(&client, names::policy(&policy)?).await?;
            show::read(&version)?;
            self::publish(&client, version, session.request_id.clone(), session).await
        }
        Command::Show { policy } => {
            let version = find(&session.client().await?, &policy).await?;
            show::version(&version, session)
        }
        Command::Export { policy, format } => {
            let version = find(&session.client().await?, &policy).await?;
            odrl::export(&version, format, session)
        }
        Command::Import { file } => odrl::import(&odrl::read(&file)?, session),
        Command::List { dataset, list } => {
            let client = session.client().await?;
            let (versions, more) = versions(&client, names::dataset(&dataset)?, list.limit).await?;
            session.out.list(&versions, COLUMNS)?;
            session.more(more);
            Ok(())
        }
        Command::Retire { policy } => {
            let (name, request_id) = (names::policy(&policy)?, session.request_id.clone());
            let request = pb::RetirePolicyRequest { name, etag: String::new(), request_id };
            let response = session.client().await?.policies().retire_policy(request).await?.into_inner();
            session.out.changed(&response, response.policy_version.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Revoke { policy, reason } => {
            let name = names::policy(&policy)?;
            let client = session.client().await?;
            let signature = client.sign("policy.revoke", &name).await?;
            let request_id = session.request_id.clone();
            let request = pb::RevokePolicyRequest { name, reason, signature, etag: String::new(), request_id };
            let response = client.policies().revoke_policy(request).await?.into_inner();
            session.out.changed(&response, response.policy_version.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Diff { old, new } => diff::run(&old, &new, session).await,
        Command::Simulate(args) => simulate::run(args, session).await,
        Command::Test(args) => test::run(&args, session),
        Command::Purposes => purposes(session).await,
        Command::Explain { dataset, action, purpose, columns, participant } => {
            let request = pb::ExplainDecisionRequest {
                dataset: names::dataset(&dataset)?,
                action: action.into(),
                purpose,
                columns: access::only(columns),
                participant: participant.map(|id| names::participant(&id)).transpose()?.unwrap_or_default(),
            };
            let response = session.client().await?.policies().explain_decision(request).await?.into_inner();
            let decision = response.decision.ok_or_else(|| Failure::protocol("it lacks the decision"))?;
            show::decision(&decision, session)
        }
    }
}

impl Client {
    /// Checks a policy without storing it.
    pub async fn check_policy(&self, policy: &Policy) -> Result<pb::CheckPolicyResponse, Failure> {
        let request = pb::CheckPolicyRequest { policy: Some(policy_message(policy.clone())) };
        Ok(self.policies().check_policy(request).await?.into_inner())
    }

    /// Stores a policy as a draft of its dataset. The draft must be this very policy: its digest is compared.
    pub async fn create_policy(&self, policy: &Policy, request_id: &str) -> Result<pb::CreatePolicyResponse, Failure> {
        let request =
            pb::CreatePolicyRequest { policy: Some(policy_message(policy.clone())), request_id: request_id.to_owned() };
        let response = self.policies().create_policy(request).await?.into_inner();
        let draft = response.policy_version.as_ref().ok_or_else(lacks_version)?;
        if draft.digest == policy.digest().to_string() {
            return Ok(response);
        }
        Err(Failure::unverified(
            format!("the hub has stored another policy as `{}`: the digests differ", names::short(&draft.name)),
            format!("le hub a enregistré une autre politique, `{}` : l'empreinte diffère", names::short(&draft.name)),
        ))
    }

    /// Publishes a draft, signing its digest.
    pub async fn publish_policy(
        &self,
        draft: &pb::PolicyVersion,
        request_id: &str,
    ) -> Result<pb::PublishPolicyResponse, Failure> {
        let request = pb::PublishPolicyRequest {
            name: draft.name.clone(),
            etag: draft.etag.clone(),
            signature: self.sign("policy.publish", &draft.digest).await?,
            request_id: request_id.to_owned(),
        };
        Ok(self.policies().publish_policy(request).await?.into_inner())
    }
}

async fn apply(policy: &Policy, publish: bool, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let response = client.create_policy(policy, &session.request_id).await?;
    if !publish {
        let version = response.policy_version.as_ref();
        return session.out.changed(&response, version, COLUMNS, response.receipt.as_ref());
    }
    session.out.recorded(response.receipt.as_ref());
    let draft = response.policy_version.ok_or_else(lacks_version)?;
    // Its own call: the request id is that of the draft.
    self::publish(&client, draft, String::new(), session).await
}

async fn publish(
    client: &Client,
    draft: pb::PolicyVersion,
    request_id: String,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let response = client.publish_policy(&draft, &request_id).await?;
    session.out.changed(&response, response.policy_version.as_ref(), COLUMNS, response.receipt.as_ref())
}

async fn purposes(session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let (purposes, _) = pages(usize::MAX, |page_size, page_token| {
        let mut service = client.policies();
        async move {
            let page = service.list_purposes(pb::ListPurposesRequest { page_size, page_token }).await?.into_inner();
            Ok((page.purposes, page.next_page_token))
        }
    })
    .await?;
    let columns = if session.out.lang == Lang::Fr { FINALITES } else { PURPOSES };
    session.out.list(&purposes, columns)
}

async fn versions(client: &Client, parent: String, limit: usize) -> Result<(Vec<pb::PolicyVersion>, bool), Failure> {
    pages(limit, |page_size, page_token| {
        let request = pb::ListPoliciesRequest { parent: parent.clone(), page_size, page_token };
        let mut service = client.policies();
        async move {
            let page = service.list_policies(request).await?.into_inner();
            Ok((page.policy_versions, page.next_page_token))
        }
    })
    .await
}

/// The published version, or the newest if none is.
async fn in_force(client: &Client, dataset: String) -> Result<pb::PolicyVersion, Failure> {
    let short = names::short(&dataset);
    let (mut versions, _) = versions(client, dataset, usize::MAX).await?;
    let published = versions.iter().position(|version| version.state() == pb::PolicyState::Published);
    if versions.is_empty() {
        return Err(Failure::new(
            super::failure::Exit::Denied,
            format!("`{short}` has no policy that you may see"),
            format!("`{short}` n'a pas de politique que vous puissiez voir"),
        ));
    }
    Ok(versions.swap_remove(published.unwrap_or_default()))
}

/// The version of this name, or that in force of the dataset of this name.
async fn find(client: &Client, policy: &str) -> Result<pb::PolicyVersion, Failure> {
    match names::dataset(policy) {
        Ok(dataset) => in_force(client, dataset).await,
        Err(_) => get(client, names::policy(policy)?).await,
    }
}

async fn get(client: &Client, name: String) -> Result<pb::PolicyVersion, Failure> {
    let response = client.policies().get_policy(pb::GetPolicyRequest { name }).await?.into_inner();
    response.policy_version.ok_or_else(lacks_version)
}

fn lacks_version() -> Failure {
    Failure::protocol("it lacks the version of the policy")
}
