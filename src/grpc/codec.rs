//! Messages on the wire. A request with a field that the hub does not know is refused: a client that means something
//! by it must not believe that it was heard (P8). What a newer hub adds to its answers, an older client may overlook.

use std::{marker::PhantomData, sync::LazyLock};

use prost::{Message, Name, bytes::Buf as _};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use super::pb;

/// The API with everything that it imports; none if the build were broken, and then no request is read.
static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).ok());

/// The codec of every service.
#[derive(Debug)]
pub struct StrictCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for StrictCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder(PhantomData)
    }
}

/// Reads messages, requests strictly.
#[derive(Debug)]
pub struct StrictDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        // First, since this bounds how deeply the message is nested.
        let message = U::decode(bytes.clone()).map_err(|_| Status::internal("not a message of this call"))?;
        // The API's own rule: a request is called so, and nothing else is.
        if U::NAME.ends_with("Request") {
            let descriptor = POOL.as_ref().and_then(|pool| pool.get_message_by_name(&U::full_name()));
            let descriptor = descriptor.ok_or_else(|| Status::internal("the message is not described"))?;
            require_known(descriptor, bytes)?;
        }
        Ok(Some(message))
    }
}

fn require_known(descriptor: MessageDescriptor, bytes: prost::bytes::Bytes) -> Result<(), Status> {
    let message =
        DynamicMessage::decode(descriptor, bytes).map_err(|_| Status::internal("not a message of this call"))?;
    match unknown(&message) {
        None => Ok(()),
        Some((name, number)) => Err(Status::invalid_argument(format!("field {number} of {name} is not known"))),
    }
}

/// The first field that is not known: the name of its message, and its number.
fn unknown(message: &DynamicMessage) -> Option<(String, u32)> {
    if let Some(field) = message.unknown_fields().next() {
        return Some((message.descriptor().name().to_owned(), field.number()));
    }
    message.fields().find_map(|(_, value)| unknown_in(value))
}

fn unknown_in(value: &Value) -> Option<(String, u32)> {
    match value {
        Value::Message(message) => unknown(message),
        Value::List(values) => values.iter().find_map(unknown_in),
        Value::Map(entries) => entries.values().find_map(unknown_in),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> Result<(), Status> {
        let descriptor = POOL.as_ref().unwrap().get_message_by_name(&pb::CheckPolicyRequest::full_name()).unwrap();
        require_known(descriptor, bytes.into())
    }

    /// A length-delimited field of protobuf.
    fn field(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
        bytes
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_however_deep_it_stands() {
        // Numbers of fields: the request, its policy, the floor, a mask in its map, a rule, whom the rule is about.
        for path in [&[][..], &[1], &[1, 3], &[1, 3, 2, 2], &[1, 2], &[1, 2, 4]] {
            let wrap = |inner: &[u8]| path.iter().rev().fold(inner.to_vec(), |inner, number| field(*number, &inner));
            assert!(read(wrap(&[])).is_ok(), "{path:?}");
            let refused = read(wrap(&field(15, b"new"))).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{path:?}");
            assert!(refused.message().contains("field 15"), "{path:?}: {}", refused.message());
        }
    }
}
