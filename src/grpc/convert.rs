//! Between messages and the domain: times, receipts, and the enums and terms that services share.
//!
//! Whatever comes in is checked here, so that a service never sees an unstated enum.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use super::pb;
use crate::{
    audit::Committed,
    domain::{Action, Columns, Duty, Kind, LegalBasis, PurposeSlug, Receipt, Role, Timestamp, Value},
    error::{Error, Reason, Result},
    query::ingest::Format,
    service::etag,
};

/// Most names of columns in one message.
const MOST_COLUMNS: usize = 1_024;

/// A text that must not be empty.
pub(super) fn required<'a>(field: &'static str, text: &'a str) -> Result<&'a str> {
    if text.is_empty() { Err(Error::invalid(field, "it is required")) } else { Ok(text) }
}

/// A message that must be set.
pub(super) fn present<T>(field: &'static str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| Error::invalid(field, "it is required"))
}

/// The fields that `paths` name, each one of `known`; `*` names all of them.
pub(super) fn mask<'a>(field: &'static str, paths: &[String], known: &[&'a str]) -> Result<Vec<&'a str>> {
    if paths.is_empty() {
        return Err(Error::invalid(field, "it is required"));
    }
    if paths == ["*"] {
        return Ok(known.to_vec());
    }
    let find = |path: &String| known.iter().copied().find(|name| name == path);
    paths
        .iter()
        .map(|path| find(path).ok_or_else(|| Error::invalid(field, format_args!("it takes {} or *", known.join(", ")))))
        .collect()
}

/// Refuses a change of an object that has another revision than the one that was read; an empty etag asks nothing.
pub(super) fn require_etag(given: &str, revision: i64, object: &str) -> Result<()> {
    if given.is_empty() || given == etag(revision) {
        Ok(())
    } else {
        Err(Error::new(Reason::EtagMismatch).with("object", object))
    }
}

/// PEM as text.
pub(super) fn pem<'a>(field: &'static str, bytes: &'a Bytes) -> Result<&'a str> {
    if bytes.is_empty() || bytes.len() > 16 << 10 {
        return Err(Error::invalid(field, "not between 1 byte and 16 KiB"));
    }
    str::from_utf8(bytes).map_err(|_| Error::invalid(field, "not PEM"))
}

/// An instant for the wire.
pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.micros().rem_euclid(1_000_000) * 1_000;
    prost_types::Timestamp { seconds: at.seconds(), nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// An instant from the wire: of the years 1 to 9999, cut to the microsecond.
pub(super) fn instant(field: &'static str, at: &prost_types::Timestamp) -> Result<Timestamp> {
    const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !YEARS.contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(Error::invalid(field, "not an instant of the years 1 to 9999"));
    }
    Ok(Timestamp::from_micros(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000))
}

/// A span for the wire.
pub(super) fn span(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A span of whole seconds from the wire, within `least` and `most`.
pub(super) fn seconds(
    field: &'static str,
    span: &prost_types::Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration> {
    let duration = u64::try_from(span.seconds).ok().filter(|_| span.nanos == 0).map(Duration::from_secs);
    duration.filter(|duration| (least..=most).contains(duration)).ok_or_else(|| {
        let (least, most) = (least.as_secs(), most.as_secs());
        Error::invalid(field, format_args!("not whole seconds between {least} and {most}"))
    })
}

/// The receipt of a change.
pub(super) fn receipt_of(committed: &Committed) -> pb::Receipt {
    receipt(committed.receipt())
}

/// A receipt for the wire.
pub(super) fn receipt(receipt: &Receipt) -> pb::Receipt {
    pb::Receipt {
        index: receipt.index,
        leaf_hash: Bytes::copy_from_slice(&receipt.leaf_hash),
        checkpoint: receipt.checkpoint.clone(),
    }
}

/// Declares both ways between an enum of the domain and one of the API; the unstated value is refused.
macro_rules! enums {
    ($($(#[$doc:meta])* $to:ident $from:ident $domain:ty = $wire:ty { $($variant:ident => $other:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        pub(super) fn $to(value: $domain) -> i32 {
            match value { $(<$domain>::$variant => <$wire>::$other.into(),)+ }
        }

        $(#[$doc])*
        pub(super) fn $from(field: &'static str, value: i32) -> Result<$domain> {
            match <$wire>::try_from(value) {
                $(Ok(<$wire>::$other) => Ok(<$domain>::$variant),)+
                _ => Err(Error::invalid(field, "not one of its values")),
            }
        }
    )+};
}
pub(super) use enums;

/// As [`enums`], for what only the hub states.
macro_rules! messages {
    ($($(#[$doc:meta])* $to:ident $domain:ty => $wire:ty { $($variant:ident => $other:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        pub(super) fn $to(value: $domain) -> i32 {
            match value { $(<$domain>::$variant => <$wire>::$other.into(),)+ }
        }
    )+};
}
pub(super) use messages;

enums! {
    /// Sorts of organisations.
    kind_message kind Kind = pb::ParticipantKind { Company => Company, Lab => Lab, PublicBody => PublicBody }
    /// Roles.
    role_message role Role = pb::Role {
        Operator => Operator, ParticipantAdmin => ParticipantAdmin, Steward => Steward, Requester => Requester,
        Auditor => Auditor,
    }
    /// Actions.
    action_message action Action = pb::Action { Discover => Discover, Read => Read, Aggregate => Aggregate, Download => Download }
    /// Legal bases.
    basis_message basis LegalBasis = pb::LegalBasis {
        Consent => Consent, Contract => Contract, LegalObligation => LegalObligation,
        VitalInterests => VitalInterests, PublicInterest => PublicInterest,
        LegitimateInterests => LegitimateInterests, NotPersonal => NotPersonal,
    }
}

/// How a file is written.
pub(super) fn format(field: &'static str, value: i32) -> Result<Format> {
    match pb::FileFormat::try_from(value) {
        Ok(pb::FileFormat::Csv) => Ok(Format::Csv),
        Ok(pb::FileFormat::Parquet) => Ok(Format::Parquet),
        _ => Err(Error::invalid(field, "not one of its values")),
    }
}

/// Each value once; a repeated one is refused.
pub(super) fn unique<T: Ord>(field: &'static str, values: impl IntoIterator<Item = Result<T>>) -> Result<BTreeSet<T>> {
    let mut set = BTreeSet::new();
    for value in values {
        if !set.insert(value?) {
            return Err(Error::invalid(field, "it has a value more than once"));
        }
    }
    Ok(set)
}

/// Roles, each at most once and at least one.
pub(super) fn roles(field: &'static str, values: &[i32]) -> Result<BTreeSet<Role>> {
    let roles = unique(field, values.iter().map(|value| role(field, *value)))?;
    if roles.is_empty() { Err(Error::invalid(field, "at least one is required")) } else { Ok(roles) }
}

/// A purpose's slug; what is no slug is no purpose of the vocabulary either.
pub(super) fn purpose(field: &'static str, slug: &str) -> Result<PurposeSlug> {
    required(field, slug)?.parse().map_err(|_| {
        let shown: String = slug.chars().take(80).collect();
        Error::new(Reason::PurposeUnknown).with("purpose", shown.escape_debug())
    })
}

/// Columns from the wire; unset means all.
pub(super) fn columns(field: &'static str, columns: Option<pb::Columns>) -> Result<Columns> {
    use pb::columns::Selection;
    let Some(columns) = columns else { return Ok(Columns::All) };
    match columns.selection {
        None => Err(Error::invalid(field, "neither all nor some columns are selected")),
        Some(Selection::All(_)) => Ok(Columns::All),
        Some(Selection::Only(only)) if only.names.is_empty() || only.names.len() > MOST_COLUMNS => {
            Err(Error::invalid(field, format_args!("not between 1 and {MOST_COLUMNS} names")))
        }
        Some(Selection::Only(only)) => Ok(Columns::Only(unique(field, only.names.into_iter().map(Ok))?)),
    }
}

/// Columns for the wire.
pub(super) fn columns_message(columns: Columns) -> pb::Columns {
    use pb::columns::Selection;
    let selection = match columns {
        Columns::All => Selection::All(pb::AllColumns {}),
        Columns::Only(names) => Selection::Only(pb::ColumnNames { names: names.into_iter().collect() }),
    };
    pb::Columns { selection: Some(selection) }
}

/// A literal from the wire.
pub(super) fn value(field: &'static str, value: Option<pb::Value>) -> Result<Value> {
    use pb::value::Value as Wire;
    match present(field, value.and_then(|value| value.value))? {
        Wire::StringValue(text) if text.len() > 8 << 10 => Err(Error::invalid(field, "longer than 8 KiB")),
        Wire::StringValue(text) => Ok(Value::Text(text)),
        Wire::Int64Value(number) => Ok(Value::Int(number)),
        Wire::BoolValue(truth) => Ok(Value::Bool(truth)),
    }
}

/// A literal for the wire.
pub(super) fn value_message(value: Value) -> pb::Value {
    use pb::value::Value as Wire;
    let value = match value {
        Value::Text(text) => Wire::StringValue(text),
        Value::Int(number) => Wire::Int64Value(number),
        Value::Bool(truth) => Wire::BoolValue(truth),
    };
    pb::Value { value: Some(value) }
}

/// A duty from the wire.
pub(super) fn duty(duty: pb::Duty) -> Result<Duty> {
    use pb::duty::Duty as Wire;
    let text = |text: String| match text.chars().count() {
        1..=1_000 => Ok(text),
        _ => Err(Error::invalid("duties", "a text is not between 1 and 1,000 characters long")),
    };
    Ok(match present("duties", duty.duty)? {
        Wire::Attribute(attribution) => Duty::Attribute(text(attribution)?),
        Wire::DeleteAfterDays(0) => return Err(Error::invalid("duties", "delete_after_days is at least 1")),
        Wire::DeleteAfterDays(days) => Duty::DeleteAfterDays(days),
        Wire::NoReidentification(_) => Duty::NoReidentification,
        Wire::Notify(event) => Duty::Notify(text(event)?),
        Wire::ShareAlike(_) => Duty::ShareAlike,
    })
}

/// A duty for the wire.
pub(super) fn duty_message(duty: Duty) -> pb::Duty {
    use pb::duty::Duty as Wire;
    let duty = match duty {
        Duty::Attribute(text) => Wire::Attribute(text),
        Duty::DeleteAfterDays(days) => Wire::DeleteAfterDays(days),
        Duty::NoReidentification => Wire::NoReidentification(pb::NoReidentificationDuty {}),
        Duty::Notify(text) => Wire::Notify(text),
        Duty::ShareAlike => Wire::ShareAlike(pb::ShareAlikeDuty {}),
    };
    pb::Duty { duty: Some(duty) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_names_known_fields_or_all_of_them() {
        let known = ["title", "licence"];
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert_eq!(mask("m", &paths(&["licence"]), &known).unwrap(), ["licence"]);
        assert_eq!(mask("m", &paths(&["*"]), &known).unwrap(), known);
        for bad in [&[][..], &["name"], &["title", "*"]] {
            assert!(mask("m", &paths(bad), &known).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn instants_round_trip_also_before_the_epoch() {
        for micros in [0, 1, -1, 1_795_419_000_123_456, -62_135_596_800_000_000] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(instant("time", &timestamp(at)).unwrap(), at);
        }
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000), (253_402_300_800, 0)] {
            assert!(instant("time", &prost_types::Timestamp { seconds, nanos }).is_err());
        }
    }

    #[test]
    fn spans_are_whole_seconds_within_their_bounds() {
        let (least, most) = (Duration::from_mins(1), Duration::from_mins(2));
        assert_eq!(seconds("d", &span(most), least, most).unwrap(), most);
        for (whole, nanos) in [(59, 0), (121, 0), (60, 1), (-60, 0)] {
            assert!(seconds("d", &prost_types::Duration { seconds: whole, nanos }, least, most).is_err());
        }
    }

    #[test]
    fn an_unstated_or_unknown_enum_value_is_refused() {
        for known in Role::ALL {
            assert_eq!(role("roles", role_message(known)).unwrap(), known);
        }
        assert!(role("roles", 0).is_err());
        assert!(role("roles", 99).is_err());
        let steward = role_message(Role::Steward);
        assert!(roles("roles", &[steward, steward]).is_err());
        assert!(roles("roles", &[]).is_err());
    }

    #[test]
    fn columns_and_duties_round_trip() {
        for chosen in [Columns::All, Columns::Only(["a".to_owned(), "b".to_owned()].into())] {
            assert_eq!(columns("columns", Some(columns_message(chosen.clone()))).unwrap(), chosen);
        }
        let twice = pb::ColumnNames { names: vec!["a".to_owned(), "a".to_owned()] };
        let selection = Some(pb::columns::Selection::Only(twice));
        assert!(columns("columns", Some(pb::Columns { selection })).is_err());
        for known in [Duty::ShareAlike, Duty::DeleteAfterDays(3), Duty::Notify("use".to_owned())] {
            assert_eq!(duty(duty_message(known.clone())).unwrap(), known);
        }
    }
}
