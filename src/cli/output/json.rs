//! Messages of the API as JSON, through the API's own descriptors.
//!
//! Fields are named as in `proto/` and always there, but for messages and `optional` fields that are unset. Enum values
//! are in lower case without their prefix, as in filters; instants are RFC 3339, durations seconds (`3600s`), bytes
//! base64; 64-bit numbers stay numbers.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json};

use super::Failure;
use crate::{domain::Timestamp, grpc::pb};

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).ok());

/// A message as JSON.
pub fn to_json<M: prost::Name>(message: &M) -> Result<Json, Failure> {
    let broken = || Failure::protocol("it does not fit the API that this program was built with");
    let descriptor = POOL.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name())).ok_or_else(broken)?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|_| broken())?;
    Ok(object(&dynamic))
}

fn object(message: &DynamicMessage) -> Json {
    let number = |field: &str| match message.get_field_by_name(field).as_deref() {
        Some(Value::I64(number)) => *number,
        Some(Value::I32(number)) => i64::from(*number),
        _ => 0,
    };
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            let micros = number("seconds").saturating_mul(1_000_000).saturating_add(number("nanos") / 1_000);
            Timestamp::from_micros(micros).to_string().into()
        }
        "google.protobuf.Duration" => match number("nanos") {
            0 => format!("{}s", number("seconds")).into(),
            nanos => {
                let text = format!("{}.{:09}", number("seconds"), nanos.abs());
                format!("{}s", text.trim_end_matches('0')).into()
            }
        },
        _ => {
            let mut fields = Map::new();
            for field in message.descriptor().fields() {
                if !field.supports_presence() || message.has_field(&field) {
                    let value = message.get_field(&field);
                    fields.insert(field.name().to_owned(), json(&value, &field.kind()));
                }
            }
            Json::Object(fields)
        }
    }
}

fn json(value: &Value, kind: &Kind) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        Value::F32(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => STANDARD.encode(value).into(),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => enum_value(descriptor, *number),
            _ => (*number).into(),
        },
        Value::Message(message) => object(message),
        Value::List(values) => values.iter().map(|value| json(value, kind)).collect(),
        Value::Map(entries) => {
            let value_kind = match kind {
                Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
                other => other.clone(),
            };
            entries.iter().map(|(key, value)| (map_key(key), json(value, &value_kind))).collect()
        }
    }
}

/// `DATASET_STATE_DRAFT` of `DatasetState` is `draft`; what is not stated is empty.
fn enum_value(descriptor: &EnumDescriptor, number: i32) -> Json {
    let Some(value) = descriptor.get_value(number) else { return number.into() };
    if number == 0 {
        return "".into();
    }
    let prefix: String = descriptor
        .name()
        .chars()
        .enumerate()
        .flat_map(|(at, c)| {
            (at > 0 && c.is_ascii_uppercase()).then_some('_').into_iter().chain([c.to_ascii_uppercase()])
        })
        .collect();
    let name = value.name();
    let short = name.strip_prefix(&prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name);
    short.to_ascii_lowercase().into()
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unset_messages_are_left_out_and_everything_else_is_there() {
        let dataset = pb::Dataset { table: "chu.stays".to_owned(), ..pb::Dataset::default() };
        let json = to_json(&dataset).unwrap();
        assert_eq!((&json["table"], &json["state"]), (&json!("chu.stays"), &json!("")));
        assert_eq!((&json["keywords"], &json["synthetic"]), (&json!([]), &json!(false)));
        assert!(json.get("snapshot").is_none() && json.get("create_time").is_none());
    }

    #[test]
    fn nested_messages_maps_and_oneofs_keep_their_shape() {
        let mask = pb::Mask { mask: Some(pb::mask::Mask::PrefixLength(2)) };
        let how =
            pb::How { masks: [("commune".to_owned(), mask)].into(), max_rows: Some(u64::MAX), ..pb::How::default() };
        assert_eq!(
            to_json(&how).unwrap(),
            json!({
                "masks": {"commune": {"prefix_length": 2}},
                "max_rows": u64::MAX,
                "certificate_required": false,
                "consent_required": false,
                "difference_check": false,
                "no_join_on": [],
                "rates": [],
            })
        );
        let error = pb::Refusal { reason: pb::ErrorReason::GrantRequired.into(), ..pb::Refusal::default() };
        assert_eq!(to_json(&error).unwrap()["reason"], "grant_required");
    }

    #[test]
    fn durations_are_seconds_and_bytes_are_base64() {
        let receipt = pb::QueryReceipt {
            duration: Some(prost_types::Duration { seconds: 1, nanos: 250_000_000 }),
            decision: Some(pb::Receipt { leaf_hash: vec![255, 0].into(), ..pb::Receipt::default() }),
            ..pb::QueryReceipt::default()
        };
        let json = to_json(&receipt).unwrap();
        assert_eq!((&json["duration"], &json["decision"]["leaf_hash"]), (&json!("1.25s"), &json!("/wA=")));
    }
}
