//! Names of resources (AIP-122): each has one spelling, and whatever deviates from it is refused.

use std::{fmt::Display, str::FromStr};

use super::convert::required;
use crate::{
    domain::{DatasetId, MemberId, Name, ParticipantId, SnapshotId},
    error::{Error, Result},
};

/// `participants/{participant}`.
pub(super) fn participant_name(id: &ParticipantId) -> String {
    format!("participants/{id}")
}

/// `participants/{participant}/members/{uuid}`.
pub(super) fn member_name(participant: &ParticipantId, member: MemberId) -> String {
    format!("participants/{participant}/members/{member}")
}

/// `participants/{participant}/datasets/{dataset}`.
pub(super) fn dataset_name(id: &DatasetId) -> String {
    format!("participants/{}/datasets/{}", id.owner, id.name)
}

/// `participants/{participant}/datasets/{dataset}/snapshots/{uuid}`.
pub(super) fn snapshot_name(dataset: &DatasetId, snapshot: SnapshotId) -> String {
    format!("{}/snapshots/{snapshot}", dataset_name(dataset))
}

/// `participants/{participant}/datasets/{dataset}/policies/{version}`.
pub(super) fn policy_name(dataset: &DatasetId, version: i64) -> String {
    format!("{}/policies/{version}", dataset_name(dataset))
}

/// The parts of a name of the form `{pattern[0]}/{part}/{pattern[1]}/{part}...`.
fn parts<'a, const N: usize>(field: &'static str, name: &'a str, pattern: [&str; N]) -> Result<[&'a str; N]> {
    let name = required(field, name)?;
    let malformed = || {
        let form: Vec<String> = pattern.iter().map(|collection| format!("{collection}/*")).collect();
        Error::invalid(field, format_args!("not of the form {}", form.join("/")))
    };
    let mut found = [""; N];
    let mut segments = name.split('/');
    for (part, collection) in found.iter_mut().zip(pattern) {
        if segments.next() != Some(collection) {
            return Err(malformed());
        }
        *part = segments.next().ok_or_else(malformed)?;
    }
    if segments.next().is_some() { Err(malformed()) } else { Ok(found) }
}

/// The id in `participants/{participant}`.
pub(super) fn participant(field: &'static str, name: &str) -> Result<ParticipantId> {
    let [id] = parts(field, name, ["participants"])?;
    id.parse()
}

/// The ids in `participants/{participant}/members/{uuid}`.
pub(super) fn member(field: &'static str, name: &str) -> Result<(ParticipantId, MemberId)> {
    let [participant, member] = parts(field, name, ["participants", "members"])?;
    Ok((participant.parse()?, canonical(field, member)?))
}

/// The id in `participants/{participant}/datasets/{dataset}`.
pub(super) fn dataset(field: &'static str, name: &str) -> Result<DatasetId> {
    let [owner, dataset] = parts(field, name, ["participants", "datasets"])?;
    Ok(DatasetId { owner: owner.parse()?, name: dataset.parse()? })
}

/// The ids in `participants/{participant}/datasets/{dataset}/policies/{version}`.
pub(super) fn policy(field: &'static str, name: &str) -> Result<(DatasetId, i64)> {
    let [owner, dataset, version] = parts(field, name, ["participants", "datasets", "policies"])?;
    Ok((DatasetId { owner: owner.parse()?, name: dataset.parse()? }, canonical(field, version)?))
}

/// The ids in `participants/{participant}/datasets/{dataset}/templates/{template}`.
pub(super) fn template(field: &'static str, name: &str) -> Result<(DatasetId, Name)> {
    let [owner, dataset, template] = parts(field, name, ["participants", "datasets", "templates"])?;
    Ok((DatasetId { owner: owner.parse()?, name: dataset.parse()? }, template.parse()?))
}

/// The id in `{collection}/{id}`, in the one spelling that the hub writes.
pub(super) fn id<T: FromStr + Display>(field: &'static str, collection: &str, name: &str) -> Result<T> {
    let [id] = parts(field, name, [collection])?;
    canonical(field, id)
}

/// Parses what has only one spelling: no upper-case UUID, no leading zero.
fn canonical<T: FromStr + Display>(field: &'static str, text: &str) -> Result<T> {
    text.parse()
        .ok()
        .filter(|parsed: &T| parsed.to_string() == text)
        .ok_or_else(|| Error::invalid(field, "its last part is not an id of this kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0190b8a0-0000-7000-8000-000000000001";

    #[test]
    fn names_round_trip() {
        let chu: ParticipantId = "chu".parse().unwrap();
        let member_id: MemberId = UUID.parse().unwrap();
        let stays: DatasetId = "chu.stays".parse().unwrap();
        assert_eq!(participant("name", &participant_name(&chu)).unwrap(), chu);
        assert_eq!(member("name", &member_name(&chu, member_id)).unwrap(), (chu, member_id));
        assert_eq!(dataset("name", &dataset_name(&stays)).unwrap(), stays);
        assert_eq!(policy("name", &policy_name(&stays, 3)).unwrap(), (stays, 3));
        let grant: crate::domain::GrantId = id("name", "grants", &format!("grants/{UUID}")).unwrap();
        assert_eq!(grant.to_string(), UUID);
    }

    #[test]
    fn a_name_has_one_spelling() {
        for bad in ["", "participants", "participants/", "participants/A", "participants/chu/", "datasets/chu", "/chu"]
        {
            assert!(participant("name", bad).is_err(), "{bad}");
        }
        for bad in [UUID.to_uppercase(), UUID.replace('-', ""), format!("{{{UUID}}}")] {
            assert!(member("name", &format!("participants/chu/members/{bad}")).is_err(), "{bad}");
        }
        for bad in ["03", "+3", "x", "", "3/x"] {
            assert!(policy("name", &format!("participants/chu/datasets/stays/policies/{bad}")).is_err(), "{bad}");
        }
    }
}
