//! Messages on the wire and back, within bounds.
//!
//! tonic refuses a message that is longer than it may be before it is received. But two bytes of protobuf can be a
//! hundred in memory, so what it consists of is counted before it is decoded.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{self, DecodeBuf};
use tonic_prost::ProstEncoder;

/// Far above what the narrow ranges of an election give: a thousand revisions, nine fields for each event.
const MAX_FIELDS: usize = 1 << 16;
/// Of an answer that has a few numbers, or a token that is sent back as a header.
pub(super) const MAX_SHORT_BYTES: usize = 64 << 10;
/// How deep what repeats may lie: in a transaction the entries of a read.
const DEPTH: usize = 3;

/// What [`tonic_prost::ProstCodec`] does, for answers of no more than [`MAX_FIELDS`].
pub(super) struct Codec<Q, A>(PhantomData<(Q, A)>);

/// See [`Codec`].
pub(super) struct Decoder<A>(PhantomData<A>);

impl<Q, A> Default for Codec<Q, A> {
    fn default() -> Codec<Q, A> {
        Codec(PhantomData)
    }
}

impl<Q: Message + 'static, A: Message + Default + 'static> codec::Codec for Codec<Q, A> {
    type Encode = Q;
    type Decode = A;
    type Encoder = ProstEncoder<Q>;
    type Decoder = Decoder<A>;

    fn encoder(&mut self) -> ProstEncoder<Q> {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Decoder<A> {
        Decoder(PhantomData)
    }
}

impl<A: Message + Default> codec::Decoder for Decoder<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let mut left = MAX_FIELDS;
        if !is_within(&bytes, DEPTH, &mut left) {
            return Err(Status::internal(format!("decoded message length too large: more than {MAX_FIELDS} fields")));
        }
        let message = A::decode(bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Takes the fields of a message, and of those in it down to `depth`, from what is `left`; false if that is not enough.
/// What looks like a message may be a text: it has few that could be fields, or it is not one of an election.
fn is_within(mut bytes: &[u8], depth: usize, left: &mut usize) -> bool {
    while let Ok((tag, kind)) = decode_key(&mut bytes) {
        let Some(less) = left.checked_sub(1) else { return false };
        *left = less;
        if kind != WireType::LengthDelimited {
            if skip_field(kind, tag, &mut bytes, Default::default()).is_err() {
                break;
            }
            continue;
        }
        let length = decode_varint(&mut bytes).ok().and_then(|length| usize::try_from(length).ok());
        let Some((inner, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else { break };
        if depth > 1 && !is_within(inner, depth - 1, left) {
            return false;
        }
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::proto;
    use super::*;

    fn fits(message: &impl Message) -> bool {
        is_within(&message.encode_to_vec(), DEPTH, &mut { MAX_FIELDS })
    }

    fn kv() -> proto::KeyValue {
        let (key, value) = (b"/jobs/nightly/743dcacfd5e2515f".to_vec(), vec![b'\n'; 1 << 20]);
        proto::KeyValue { key, create_revision: 5, mod_revision: 6, version: 2, value, lease: 7 }
    }

    #[test]
    fn what_repeats_is_counted_wherever_it_is() {
        let range = |count| proto::RangeResponse { kvs: vec![proto::KeyValue::default(); count], ..Default::default() };
        let txn = |count| {
            let response = Some(proto::response_op::Response::ResponseRange(range(count)));
            proto::TxnResponse { responses: vec![proto::ResponseOp { response }], ..Default::default() }
        };
        let watch = |count| proto::WatchResponse { events: vec![proto::Event::default(); count], ..Default::default() };
        assert!(fits(&range(MAX_FIELDS)) && fits(&txn(MAX_FIELDS - 2)) && fits(&watch(MAX_FIELDS)));
        assert!(!fits(&range(MAX_FIELDS + 1)) && !fits(&txn(MAX_FIELDS - 1)) && !fits(&watch(MAX_FIELDS + 1)));
        let responses = vec![proto::ResponseOp::default(); MAX_FIELDS + 1];
        assert!(!fits(&proto::TxnResponse { responses, ..Default::default() }));
    }

    /// A value that is no message is not taken for a long one; etcd's largest answers pass.
    #[test]
    fn what_etcd_answers_is_within() {
        let kv = kv();
        let range = proto::RangeResponse { kvs: vec![kv.clone(); 3], ..Default::default() };
        let response = Some(proto::response_op::Response::ResponseRange(range));
        assert!(fits(&proto::TxnResponse {
            responses: vec![proto::ResponseOp { response }; 100],
            ..Default::default()
        }));
        let small = proto::KeyValue { value: b"one".to_vec(), ..kv };
        let events = vec![proto::Event { r#type: 1, kv: Some(small) }; 7_000];
        assert!(fits(&proto::WatchResponse { events, ..Default::default() }));
        let cancel_reason = "etcdserver: mvcc: required revision has been compacted".into();
        assert!(fits(&proto::WatchResponse { cancel_reason, ..Default::default() }));
        assert!(fits(&proto::AuthenticateResponse { token: "eyJ0".repeat(1000), ..Default::default() }));
    }
}
