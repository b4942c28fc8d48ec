//! As much of etcd's API v3 as an election needs of it, and ways not to say it as etcd does.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use prost::Message;
use prost::bytes::{Buf, BytesMut};

use self::proto::{request_op::Request, response_op};
use super::mutation::{Mutation, mutated};
use super::server::{Server, over_h2};
use super::victim::KEY;

/// What the generated code looks for beside itself.
mod codec {
    pub(super) use tonic_prost::ProstCodec as Codec;
}

#[allow(clippy::all, dead_code, missing_docs, unreachable_pub, unused_qualifications)]
#[rustfmt::skip]
#[path = "../../src/backend/v3/proto.rs"]
pub(crate) mod proto;

/// How a server answers each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) payload: Payload,
    /// The first byte of a message: compressed or not.
    pub(crate) flag: u8,
    /// What it says that the message's length is, if not the truth.
    pub(crate) declared: Option<u32>,
    /// How often the message comes once more.
    pub(crate) again: u16,
    pub(crate) end: End,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum Payload {
    #[default]
    True,
    Mutated(Vec<Mutation>),
    Instead(Vec<u8>),
    /// The lease that was asked for, for so many seconds.
    Granted(i64),
    /// No message at all.
    None,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum End {
    /// As etcd: a call ends well, a stream not at all.
    #[default]
    True,
    Trailers(Vec<(String, Vec<u8>)>),
    Bare,
    Never,
    Reset(u32),
}

/// A store with the entries under one key.
#[derive(Default)]
pub(crate) struct Store {
    revision: i64,
    entries: BTreeMap<Vec<u8>, proto::KeyValue>,
}

impl Store {
    /// One in which somebody is first, if `is_led`.
    pub(crate) fn new(is_led: bool) -> Store {
        let mut store = Store { revision: 4, entries: BTreeMap::new() };
        if is_led {
            store.put(format!("{KEY}/5").into_bytes(), b"other".to_vec(), 5);
        }
        store
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>, lease: i64) {
        self.revision += 1;
        let (create_revision, mod_revision) = (self.revision, self.revision);
        let entry = proto::KeyValue { key: key.clone(), create_revision, mod_revision, version: 1, value, lease };
        self.entries.insert(key, entry);
    }

    fn header(&self) -> Option<proto::ResponseHeader> {
        Some(proto::ResponseHeader { cluster_id: 7, member_id: 8, revision: self.revision, raft_term: 2 })
    }

    fn range(&self, asked: &proto::RangeRequest) -> proto::RangeResponse {
        let is_one = asked.range_end.is_empty();
        let fits = |entry: &&proto::KeyValue| {
            let is_in =
                if is_one { entry.key == asked.key } else { entry.key >= asked.key && entry.key < asked.range_end };
            is_in && (asked.max_create_revision == 0 || entry.create_revision <= asked.max_create_revision)
        };
        let mut kvs: Vec<_> = self.entries.values().filter(fits).cloned().collect();
        kvs.sort_by_key(|entry| entry.create_revision);
        if asked.sort_order == proto::range_request::SortOrder::Descend as i32 {
            kvs.reverse();
        }
        let count = i64::try_from(kvs.len()).expect("few");
        kvs.truncate(if asked.count_only {
            0
        } else if asked.limit > 0 {
            usize::try_from(asked.limit).expect("few")
        } else {
            kvs.len()
        });
        proto::RangeResponse { header: self.header(), kvs, more: false, count }
    }

    fn transact(&mut self, asked: proto::TxnRequest) -> proto::TxnResponse {
        let holds = |compare: &proto::Compare| {
            let Some(proto::compare::TargetUnion::CreateRevision(wanted)) = compare.target_union else { return false };
            self.entries.get(&compare.key).map_or(0, |entry| entry.create_revision) == wanted
        };
        let succeeded = asked.compare.iter().all(holds);
        let ops = if succeeded { asked.success } else { asked.failure };
        let answer = |request| match request {
            Request::RequestRange(range) => response_op::Response::ResponseRange(self.range(&range)),
            Request::RequestPut(put) => {
                self.put(put.key, put.value, put.lease);
                response_op::Response::ResponsePut(proto::PutResponse { header: self.header() })
            }
            Request::RequestDeleteRange(delete) => {
                let deleted = i64::from(self.entries.remove(&delete.key).is_some());
                self.revision += deleted;
                response_op::Response::ResponseDeleteRange(proto::DeleteRangeResponse {
                    header: self.header(),
                    deleted,
                })
            }
        };
        let responses: Vec<_> = ops.into_iter().filter_map(|op| op.request).map(answer).collect();
        let responses = responses.into_iter().map(|response| proto::ResponseOp { response: Some(response) }).collect();
        proto::TxnResponse { header: self.header(), succeeded, responses }
    }

    /// The true answer to a message, if it has one.
    pub(crate) fn answer(&mut self, path: &str, asked: &[u8]) -> Option<Vec<u8>> {
        Some(match path.rsplit('/').next()? {
            "Range" => self.range(&proto::RangeRequest::decode(asked).ok()?).encode_to_vec(),
            "Txn" => self.transact(proto::TxnRequest::decode(asked).ok()?).encode_to_vec(),
            "LeaseGrant" => {
                let asked = proto::LeaseGrantRequest::decode(asked).ok()?;
                let granted = proto::LeaseGrantResponse {
                    header: self.header(),
                    id: asked.id,
                    ttl: asked.ttl,
                    error: String::new(),
                };
                granted.encode_to_vec()
            }
            "LeaseRevoke" => {
                let asked = proto::LeaseRevokeRequest::decode(asked).ok()?;
                self.entries.retain(|_, entry| entry.lease != asked.id);
                proto::LeaseRevokeResponse { header: self.header() }.encode_to_vec()
            }
            "LeaseKeepAlive" => {
                let asked = proto::LeaseKeepAliveRequest::decode(asked).ok()?;
                proto::LeaseKeepAliveResponse { header: self.header(), id: asked.id, ttl: 10 }.encode_to_vec()
            }
            "Watch" => match proto::WatchRequest::decode(asked).ok()?.request_union? {
                proto::watch_request::RequestUnion::CreateRequest(create) => {
                    let (header, watch_id) = (self.header(), create.watch_id);
                    proto::WatchResponse { header, watch_id, created: true, ..Default::default() }.encode_to_vec()
                }
                proto::watch_request::RequestUnion::CancelRequest(_) => return None,
            },
            "Authenticate" => {
                proto::AuthenticateResponse { header: self.header(), token: "simple.7".into() }.encode_to_vec()
            }
            _ => return None,
        })
    }
}

/// A server that answers each request as `manner` says, and tells the truth otherwise.
pub(crate) fn server(is_led: bool, manner: Manner) -> Server {
    server_by(is_led, move |_| manner.clone())
}

/// The same with a manner for each path.
pub(crate) fn server_by(is_led: bool, manner: impl Fn(&str) -> Manner + Send + Sync + 'static) -> Server {
    let (store, manner) = (Arc::new(Mutex::new(Store::new(is_led))), Arc::new(manner));
    Server::new(move |client| {
        let (store, manner) = (store.clone(), manner.clone());
        over_h2(client, |client| async move {
            let Ok(mut connection) = h2::server::handshake(client).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let (path, manner) = (request.uri().path().to_string(), Rc::new(manner(request.uri().path())));
                let store = store.clone();
                tokio::task::spawn_local(async move {
                    // The client may go at any moment.
                    let _ = respond_to(&path, request.into_body(), respond, &manner, &store).await;
                });
            }
        });
    })
}

async fn respond_to(
    path: &str,
    mut body: RecvStream,
    mut respond: SendResponse<prost::bytes::Bytes>,
    manner: &Manner,
    store: &Mutex<Store>,
) -> Result<(), h2::Error> {
    let mut head = Response::builder().status(manner.status.unwrap_or(200)).body(()).expect("a head");
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    add(head.headers_mut(), &manner.headers);
    let mut stream = respond.send_response(head, false)?;
    let mut received = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        received.extend_from_slice(&chunk);
        while let Some(asked) = next_message(&mut received) {
            let Some(truth) = store.lock().expect("the store").answer(path, &asked) else { continue };
            let message = manner.message(truth);
            for _ in 0..=manner.again {
                send(&mut stream, &message).await?;
            }
        }
        if !matches!(manner.end, End::True) {
            break;
        }
    }
    match &manner.end {
        End::True => stream.send_trailers(HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )])),
        End::Trailers(trailers) => {
            let mut map = HeaderMap::new();
            add(&mut map, trailers);
            stream.send_trailers(map)
        }
        End::Bare => stream.send_data(prost::bytes::Bytes::new(), true),
        End::Never => {
            std::future::pending::<()>().await;
            Ok(())
        }
        End::Reset(reason) => {
            stream.send_reset(h2::Reason::from(*reason));
            Ok(())
        }
    }
}

impl Manner {
    /// A message on the wire.
    fn message(&self, truth: Vec<u8>) -> Vec<u8> {
        let payload = match &self.payload {
            Payload::True => truth,
            Payload::Mutated(mutations) => mutated(truth, mutations),
            Payload::Instead(bytes) => bytes.clone(),
            Payload::Granted(ttl) => proto::LeaseGrantResponse {
                ttl: *ttl,
                ..proto::LeaseGrantResponse::decode(truth.as_slice()).unwrap_or_default()
            }
            .encode_to_vec(),
            Payload::None => return Vec::new(),
        };
        let length = self.declared.unwrap_or(u32::try_from(payload.len()).expect("not that long"));
        [&[self.flag][..], &length.to_be_bytes(), &payload].concat()
    }
}

/// Sends as the client takes it.
async fn send(stream: &mut h2::SendStream<prost::bytes::Bytes>, message: &[u8]) -> Result<(), h2::Error> {
    for part in message.chunks(1 << 14) {
        stream.reserve_capacity(part.len());
        let mut sent = 0;
        while sent < part.len() {
            let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.transpose()? else {
                return Ok(());
            };
            let piece = &part[sent..part.len().min(sent + room)];
            stream.send_data(prost::bytes::Bytes::copy_from_slice(piece), false)?;
            sent += piece.len();
        }
    }
    Ok(())
}

fn next_message(received: &mut BytesMut) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(received.get(1..5)?.try_into().ok()?) as usize;
    if received.len() < 5 + length {
        return None;
    }
    received.advance(5);
    Some(received.split_to(length).to_vec())
}

/// Those that can be headers at all; the others are for raw frames.
fn add(headers: &mut HeaderMap, more: &[(String, Vec<u8>)]) {
    for (name, value) in more {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
}
