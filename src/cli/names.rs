//! Names as people type and read them, and the resource names of the API (AIP-122) that they stand for.
//!
//! `chu` is `participants/chu`, `chu.stays` is `participants/chu/datasets/stays`, `chu.stays@3` is version 3 of its
//! policy, and a bare UUID is the access request, grant or member that the command is about. Full names are always
//! accepted.

use uuid::Uuid;

use super::failure::Failure;
use crate::domain::{DatasetId, Name};

/// `chu` or `participants/chu`.
pub fn participant(text: &str) -> Result<String, Failure> {
    let id: Name = text.strip_prefix("participants/").unwrap_or(text).parse()?;
    Ok(format!("participants/{id}"))
}

/// `chu.stays` or `participants/chu/datasets/stays`.
pub fn dataset(text: &str) -> Result<String, Failure> {
    let id = dataset_id(text)?;
    Ok(format!("participants/{}/datasets/{}", id.owner, id.name))
}

/// The dataset that is meant by `chu.stays` or `participants/chu/datasets/stays`.
pub fn dataset_id(text: &str) -> Result<DatasetId, Failure> {
    let full = text.strip_prefix("participants/").and_then(|rest| rest.split_once("/datasets/"));
    match full {
        Some((owner, name)) => Ok(DatasetId { owner: owner.parse()?, name: name.parse()? }),
        None => Ok(text.parse()?),
    }
}

/// `chu.stays@3` or `participants/chu/datasets/stays/policies/3`.
pub fn policy(text: &str) -> Result<String, Failure> {
    let parts = text.split_once('@').or_else(|| text.split_once("/policies/"));
    let (of, version) = parts.ok_or_else(|| {
        Failure::usage(
            format!("`{text}` is not a version of a policy: write OWNER.DATASET@VERSION"),
            format!("`{text}` n'est pas une version de politique : écrivez PROPRIÉTAIRE.JEU@VERSION"),
        )
    })?;
    let version: u32 = version.parse().map_err(|_| {
        Failure::usage(
            format!("`{version}` is not a version: they count from 1"),
            format!("`{version}` n'est pas une version : elles se comptent à partir de 1"),
        )
    })?;
    Ok(format!("{}/policies/{version}", dataset(of)?))
}

/// A UUID or `accessRequests/UUID`.
pub fn access_request(text: &str) -> Result<String, Failure> {
    under("accessRequests", text)
}

/// A UUID or `grants/UUID`.
pub fn grant(text: &str) -> Result<String, Failure> {
    under("grants", text)
}

/// `participants/chu/members/UUID`, `chu/UUID`, or a UUID, which is then one of `own`'s members.
pub fn member(text: &str, own: Option<&str>) -> Result<String, Failure> {
    let rest = text.strip_prefix("participants/").unwrap_or(text);
    let (of, id) = match rest.split_once("/members/").or_else(|| rest.split_once('/')) {
        Some((of, id)) => (of, id),
        None => (own.ok_or_else(|| no_participant(text))?, rest),
    };
    Ok(format!("{}/members/{}", participant(of)?, uuid(id)?))
}

/// A version such as `2`, or `charters/2`.
pub fn charter(text: &str) -> Result<String, Failure> {
    let version = text.strip_prefix("charters/").unwrap_or(text);
    let version: u32 = version.parse().map_err(|_| {
        Failure::usage(
            format!("`{version}` is not a version of the charter"),
            format!("`{version}` n'est pas une version de la charte"),
        )
    })?;
    Ok(format!("charters/{version}"))
}

/// The short form of a resource name for a person to read; anything else as it is.
pub fn short(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["participants", participant] => (*participant).to_owned(),
        ["participants", _, "members", id]
        | ["participants", _, "datasets", _, "snapshots", id]
        | ["accessRequests" | "grants" | "charters", id] => (*id).to_owned(),
        ["participants", owner, "datasets", dataset] => format!("{owner}.{dataset}"),
        ["participants", owner, "datasets", dataset, "policies", version] => format!("{owner}.{dataset}@{version}"),
        _ => name.to_owned(),
    }
}

fn under(collection: &str, text: &str) -> Result<String, Failure> {
    let id = text.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
    Ok(format!("{collection}/{}", uuid(id)?))
}

fn uuid(text: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(text)
        .map_err(|_| Failure::usage(format!("`{text}` is not a UUID"), format!("`{text}` n'est pas un UUID")))
}

fn no_participant(text: &str) -> Failure {
    Failure::usage(
        format!("of which participant is the member `{text}`? Write PARTICIPANT/{text}"),
        format!("de quel participant le membre `{text}` est-il ? Écrivez PARTICIPANT/{text}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190b8a0-0000-7000-8000-000000000001";

    #[test]
    fn short_and_full_forms_mean_the_same() {
        let (text, full) = ("chu.stays", "participants/chu/datasets/stays");
        assert_eq!((dataset(text).unwrap().as_str(), dataset(full).unwrap().as_str()), (full, full));
        assert_eq!(short(full), text);
        assert_eq!(participant("chu").unwrap(), "participants/chu");
        assert_eq!(participant("participants/chu").unwrap(), "participants/chu");
        let version = "participants/chu/datasets/stays/policies/3";
        assert_eq!(policy("chu.stays@3").unwrap(), version);
        assert_eq!(policy(version).unwrap(), version);
        assert_eq!(short(version), "chu.stays@3");
        assert_eq!(grant(ID).unwrap(), format!("grants/{ID}"));
        assert_eq!(access_request(&format!("accessRequests/{ID}")).unwrap(), format!("accessRequests/{ID}"));
        assert_eq!(charter("2").unwrap(), "charters/2");
    }

    #[test]
    fn a_bare_member_belongs_to_the_own_participant() {
        let full = format!("participants/chu/members/{ID}");
        assert_eq!(member(ID, Some("chu")).unwrap(), full);
        assert_eq!(member(&full, None).unwrap(), full);
        assert_eq!(member(&format!("lab/{ID}"), Some("chu")).unwrap(), format!("participants/lab/members/{ID}"));
        assert!(member(ID, None).unwrap_err().to_string().contains("which participant"));
    }

    #[test]
    fn what_is_no_name_is_refused_and_quoted() {
        for bad in ["stays", "chu.stays.x", "Chu.stays", "participants/chu/datasets/", "chu/stays", ""] {
            assert!(dataset(bad).is_err(), "{bad}");
        }
        for bad in ["chu.stays", "chu.stays@", "chu.stays@x", "chu.stays@-1"] {
            assert!(policy(bad).is_err(), "{bad}");
        }
        assert!(grant("accessRequests/x").unwrap_err().to_string().contains("`accessRequests/x`"));
        assert!(participant("a/b").is_err());
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["", "active", "a/b", "sha256:00"] {
            assert_eq!(short(text), text);
        }
    }
}
