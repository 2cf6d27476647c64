//! `odh policy diff`: what changes from one policy to another, in the user's language.
//!
//! Two files are compared here, without a hub; as soon as one side is a version, the hub compares.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::{odrl, words};
use crate::{
    cli::{
        Session,
        failure::Failure,
        names,
        output::{Column, Format, Out},
    },
    domain::Policy,
    grpc::{pb, policy_document::policy_message},
    policy::{self, DifferenceKind, check::MAX_RULES, vocabulary},
};

const DIFFERENCES: &[Column] =
    &[Column::new("CHANGE", "/kind"), Column::new("RULE", "/rule"), Column::new("DIFFERENCE", "/text")];

const CHANGEMENTS: &[Column] =
    &[Column::new("EFFET", "/kind"), Column::new("RÈGLE", "/rule"), Column::new("DIFFÉRENCE", "/text")];

/// A policy that the hub has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// This version.
    Version(String),
    /// The version in force of this dataset.
    InForce(String),
}

/// A policy as it was named on the command line.
#[derive(Debug)]
pub(super) enum Side {
    /// One that the hub has.
    Stored(Stored),
    /// A file.
    File(Box<Policy>),
}

impl Side {
    /// `OWNER.DATASET@VERSION`, `OWNER.DATASET`, or a file (a manifest or ODRL); what exists as a file is one.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let path = Path::new(text);
        if text != "-" && !path.exists() {
            if text.contains('@') {
                return Ok(Self::Stored(Stored::Version(names::policy(text)?)));
            }
            if let Ok(dataset) = names::dataset(text) {
                return Ok(Self::Stored(Stored::InForce(dataset)));
            }
        }
        Ok(Self::File(Box::new(odrl::read(path)?)))
    }

    /// As the hub is asked about it.
    pub(super) fn into_choice(self) -> pb::PolicyChoice {
        use pb::policy_choice::Choice;
        let choice = match self {
            Self::Stored(Stored::Version(name)) => Choice::Name(name),
            Self::Stored(Stored::InForce(dataset)) => Choice::InForceOf(dataset),
            Self::File(policy) => Choice::Policy(policy_message(*policy)),
        };
        pb::PolicyChoice { choice: Some(choice) }
    }
}

/// Compares two policies.
pub(super) async fn run(old: &str, new: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    match (Side::read(old)?, Side::read(new)?) {
        (Side::File(old), Side::File(new)) => {
            if old.dataset != new.dataset {
                let (one, other) = (&old.dataset, &new.dataset);
                return Err(Failure::usage(
                    format!("one policy is about `{one}`, the other about `{other}`"),
                    format!("une politique porte sur `{one}`, l'autre sur `{other}`"),
                ));
            }
            let most = old.rules.len().max(new.rules.len());
            if most > MAX_RULES {
                return Err(Failure::usage(
                    format!("a policy has {most} rules, more than the {MAX_RULES} that one may have"),
                    format!("une politique a {most} règles, plus que les {MAX_RULES} permises"),
                ));
            }
            let lang = session.out.lang;
            let rows: Vec<Json> = policy::diff(&old, &new, None, &vocabulary::load()?)
                .into_iter()
                .map(|one| {
                    let rule = one.rule.map(|rule| rule.to_string()).unwrap_or_default();
                    json!({"kind": words::word(session.out, kind(one.kind)), "rule": rule, "path": one.path,
                           "text": lang.pick(&one.text.en, &one.text.fr)})
                })
                .collect();
            show(&rows, session)
        }
        (old, new) => {
            let request = pb::ComparePoliciesRequest { old: Some(old.into_choice()), new: Some(new.into_choice()) };
            let response = session.client().await?.policies().compare_policies(request).await?.into_inner();
            if session.out.format == Format::Json {
                return session.out.show(&response);
            }
            let rows: Vec<Json> = response.differences.iter().map(|one| row(one, session.out)).collect();
            show(&rows, session)
        }
    }
}

/// A difference as a row of a table.
fn row(one: &pb::Difference, out: &Out) -> Json {
    let kind = words::value(out, one.kind().as_str_name(), "DIFFERENCE_KIND_");
    json!({"kind": kind, "rule": one.rule, "path": one.path, "text": super::show::text(one.message.as_ref(), out.lang)})
}

fn show(rows: &[Json], session: &mut Session<'_>) -> Result<(), Failure> {
    if rows.is_empty() && session.out.format == Format::Table {
        session.out.say("the two policies are the same", "les deux politiques sont les mêmes");
        return Ok(());
    }
    session.out.rows(rows, words::titles(session.out, DIFFERENCES, CHANGEMENTS))
}

const fn kind(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Gained => "gained",
        DifferenceKind::Lost => "lost",
        DifferenceKind::Tightened => "tightened",
        DifferenceKind::Loosened => "loosened",
        DifferenceKind::Changed => "changed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{
        env::{Env, Lang},
        output::Out,
    };

    const OLD: &str = "dataset: chu.stays\nrules: [{id: r, effect: permit, actions: [read], legal_basis: contract, \
                       how: {max_rows: 10}}]\n";

    #[tokio::test]
    async fn two_files_are_compared_without_a_hub_in_ones_language() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new.yaml"));
        std::fs::write(&old, OLD).unwrap();
        std::fs::write(&new, OLD.replace("10", "5")).unwrap();
        for (lang, said, kind) in
            [(Lang::En, "at most 5 rows", "tightened"), (Lang::Fr, "au plus 5 lignes", "resserré")]
        {
            let (mut out, stdout, _) = Out::captured(lang);
            let env = Env::default();
            let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
            run(old.to_str().unwrap(), new.to_str().unwrap(), &mut session).await.unwrap();
            assert!(stdout.text().contains(said) && stdout.text().contains(kind), "{}", stdout.text());
        }
        let (mut out, stdout, stderr) = Out::captured(Lang::En);
        let env = Env::default();
        let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
        run(old.to_str().unwrap(), old.to_str().unwrap(), &mut session).await.unwrap();
        assert!(stdout.text().is_empty() && stderr.text().contains("the same"));
    }

    #[test]
    fn what_is_no_file_is_a_version_or_the_one_in_force() {
        let name = "participants/chu/datasets/stays";
        let version = Stored::Version(format!("{name}/policies/3"));
        assert!(matches!(Side::read("chu.stays@3"), Ok(Side::Stored(stored)) if stored == version));
        let in_force = Stored::InForce(name.to_owned());
        assert!(matches!(Side::read("chu.stays"), Ok(Side::Stored(stored)) if stored == in_force));
        assert!(Side::read("no/such.yaml").is_err());
    }

    #[tokio::test]
    async fn policies_in_odrl_are_compared_and_those_with_too_many_rules_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let policy = crate::policy::manifest::parse(OLD).unwrap();
        let json = crate::policy::odrl::to_odrl(&policy, &vocabulary::load().unwrap()).unwrap();
        std::fs::write(path("p.jsonld"), json.to_string()).unwrap();
        std::fs::write(path("p.yaml"), OLD).unwrap();
        let rule = |index| format!("- {{id: r{index}, effect: deny, actions: [read]}}\n");
        let many: String = (0..=MAX_RULES).map(rule).collect();
        std::fs::write(path("many.yaml"), format!("dataset: chu.stays\nrules:\n{many}")).unwrap();
        let (mut out, _, stderr) = Out::captured(Lang::En);
        let env = Env::default();
        let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
        run(&path("p.yaml"), &path("p.jsonld"), &mut session).await.unwrap();
        assert!(stderr.text().contains("the same"), "{}", stderr.text());
        let refused = run(&path("p.yaml"), &path("many.yaml"), &mut session).await.unwrap_err();
        assert!(refused.message(Lang::En).contains("201 rules"), "{refused}");
    }
}
