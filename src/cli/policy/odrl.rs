//! Policies in ODRL: read from it wherever a manifest is read, and written as it.
//!
//! Converted here and not by the hub: what is written is the policy whose digest has been compared, and what is read
//! reaches the hub as the typed policy.

use std::path::Path;

use clap::ValueEnum;
use serde_json::Value as Json;

use super::{super::output::Format, Session, show};
use crate::{
    cli::{failure::Failure, files},
    domain::Policy,
    grpc::pb,
    policy::{manifest, odrl, vocabulary},
};

/// The forms that a policy can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// ODRL 2.2 in JSON-LD, from which the same policy can be read.
    Odrl,
    /// One ODRL Offer a permission, for connectors of the Dataspace Protocol; says what they will not hold.
    OdrlOffers,
    /// The manifest.
    Yaml,
}

/// The policy in a file, written as a manifest or in ODRL (`.jsonld`, or JSON with a `@context`).
pub(super) fn read(path: &Path) -> Result<Policy, Failure> {
    let text = files::read_text(path)?;
    if path.extension().is_some_and(|extension| extension == "jsonld") || odrl::is_odrl(&text) {
        return Ok(odrl::from_odrl(&text, &vocabulary::load()?)?);
    }
    Ok(manifest::parse(&text)?)
}

/// Prints a policy as the manifest that it could be written as, or with `-o json` in its canonical form.
pub(super) fn import(policy: &Policy, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.out.format == Format::Json {
        let json: Json = serde_json::from_slice(&policy.canonical_json()).map_err(crate::error::Error::internal)?;
        return session.out.json(&json);
    }
    session.out.line(manifest::to_yaml(policy)?.trim_end())
}

/// Prints a version in another form.
pub(super) fn export(version: &pb::PolicyVersion, form: Form, session: &mut Session<'_>) -> Result<(), Failure> {
    let policy = show::read(version)?;
    match form {
        Form::Odrl => session.out.json(&odrl::to_odrl(&policy, &vocabulary::load()?)?),
        Form::OdrlOffers => {
            let odrl::Offers { offers, warnings } = odrl::to_offers(&policy, policy.digest(), &vocabulary::load()?)?;
            for warning in warnings {
                let path = warning.path;
                session.out.say(format!("{path}: {}", warning.message_en), format!("{path} : {}", warning.message_fr));
            }
            session.out.json(&offers.into())
        }
        Form::Yaml => session.out.line(manifest::to_yaml(&policy)?.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        cli::{
            env::{Env, Lang},
            output::Out,
        },
        policy::assets::TEMPLATES,
    };

    #[test]
    fn what_is_exported_is_read_where_a_manifest_is() {
        let folder = tempfile::tempdir().unwrap();
        for template in TEMPLATES {
            let policy = manifest::parse(template.text).unwrap();
            let version = pb::PolicyVersion {
                digest: policy.digest().to_string(),
                canonical_json: String::from_utf8(policy.canonical_json()).unwrap(),
                ..pb::PolicyVersion::default()
            };
            for (form, file) in [(Form::Odrl, "p.jsonld"), (Form::Odrl, "p"), (Form::Yaml, "p.yaml")] {
                let (mut out, stdout, _) = Out::captured(Lang::En);
                let env = Env::default();
                let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
                export(&version, form, &mut session).unwrap();
                let path = folder.path().join(file);
                fs::write(&path, stdout.text()).unwrap();
                assert_eq!(read(&path).unwrap(), policy);
            }
        }
    }

    #[test]
    fn offers_go_to_the_output_and_warnings_to_the_person() {
        let policy = manifest::parse(TEMPLATES[1].text).unwrap();
        let version = pb::PolicyVersion {
            digest: policy.digest().to_string(),
            canonical_json: String::from_utf8(policy.canonical_json()).unwrap(),
            ..pb::PolicyVersion::default()
        };
        let (mut out, stdout, stderr) = Out::captured(Lang::Fr);
        let env = Env::default();
        let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
        export(&version, Form::OdrlOffers, &mut session).unwrap();
        let offers: Vec<Json> = serde_json::from_str(&stdout.text()).unwrap();
        assert_eq!(offers.len(), 1);
        assert!(stderr.text().contains("rules[1] : "), "{}", stderr.text());
    }

    #[test]
    fn a_file_by_its_name_of_odrl_is_not_taken_for_a_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.jsonld");
        fs::write(&path, "dataset: a.b\nrules: []\n").unwrap();
        assert!(read(&path).is_err());
    }
}
