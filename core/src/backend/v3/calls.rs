//! The verbs that are one call each: one request and one atomic step of the store. Only a touch may be two or three.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::auth::Auth;
use super::channel::Channel;
use super::codec::MAX_SHORT_BYTES;
use super::proto::cluster_client::ClusterClient;
use super::proto::kv_client::KvClient;
use super::proto::lease_client::LeaseClient;
use super::proto::{self, RangeRequest, TxnRequest, request_op::Request};
use super::status;
use super::txn::{created_at, get, lowest, neighbours, newest, oldest, op, parent, written_at};
use super::words::{self, Garbled};
use crate::backend::again::{READ_AGAIN, ask_again};
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::{Answer, Failure, Op, Reply, Seen, Sign, Stamp};
use crate::member::{LeaseId, Revision};

/// How long a server may take to show that it is etcd itself, and no proxy.
const LISTING: Duration = Duration::from_secs(2);
/// Far above any answer to our requests; a foreign entry of an election may hold up to etcd's 1.5 MiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// One endpoint's services.
#[derive(Clone)]
pub(super) struct Calls {
    endpoint: Endpoint,
    auth: Auth,
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    cluster: ClusterClient<Channel>,
    /// Whether a link to this endpoint has met an etcd server before. Those to one endpoint share it.
    has_met: Arc<AtomicBool>,
    /// The newest stamp of this link, for the one answer that has none. Clones share it.
    newest: Arc<Mutex<Stamp>>,
}

impl Calls {
    pub(super) fn new(
        endpoint: Endpoint,
        auth: Auth,
        channel: Channel,
        origin: http::Uri,
        has_met: Arc<AtomicBool>,
    ) -> Calls {
        let cluster =
            ClusterClient::with_origin(channel.clone(), origin.clone()).max_decoding_message_size(MAX_SHORT_BYTES);
        let kv = KvClient::with_origin(channel.clone(), origin.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let lease = LeaseClient::with_origin(channel, origin).max_decoding_message_size(MAX_ANSWER_BYTES);
        Calls { endpoint, auth, kv, lease, cluster, has_met, newest: Arc::default() }
    }

    /// Gives the user and the token of this link.
    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Performs one of the verbs that are calls.
    pub(super) async fn perform(self, op: Op) -> Result<Reply, Failure> {
        match op {
            Op::Open { key, .. } => self.open(key).await,
            Op::Grant { lease, ttl_s } => self.grant(lease, ttl_s).await,
            Op::Confirm { key, keys } => self.confirm(key, keys).await,
            Op::Check { keys } => {
                let parent = keys.first().map_or(Vec::new(), |key| parent(key).to_vec());
                self.confirm(parent, keys).await
            }
            Op::ListKeys { lease } => self.list_keys(lease).await,
            Op::Revoke { lease } => self.revoke(lease).await,
            Op::Join { prefix, own, name, lease } => self.join(prefix, own, name, lease).await,
            Op::Touch { key, name, revision, written, lease, shows, sign } => {
                let put = proto::PutRequest { key, value: name, lease };
                self.touch(put, (revision, written), shows, sign).await
            }
            Op::Look { prefix, own, up_to } => self.look(prefix, own, up_to).await,
            Op::Leave { key, revision } => self.leave(key, revision).await,
            Op::Close | Op::Renew { .. } | Op::Watch { .. } | Op::Unwatch { .. } => {
                Err(Failure::new(ErrorKind::Internal, "this verb is not a call"))
            }
            Op::Post { .. } | Op::Refresh { .. } | Op::Withdraw { .. } => {
                Err(Failure::new(ErrorKind::Internal, "this verb is one of v2"))
            }
        }
    }

    /// Reads once on a new link; at the first contact with a server it also asks which server that is.
    async fn open(&self, key: Vec<u8>) -> Result<Reply, Failure> {
        let (read, met) = tokio::join!(self.first_read(key), self.meet());
        let reply = read?;
        self.has_met.fetch_or(met?, Ordering::Relaxed);
        self.auth.opened();
        Ok(reply)
    }

    /// `etcd grpc-proxy` answers renewals and watches in the name of many clients, so that no renewal through it can be
    /// confirmed. It is known by its list of members, which it makes up itself, without a header. Gives
    /// whether the server has answered.
    async fn meet(&self) -> Result<bool, Failure> {
        if self.has_met.load(Ordering::Relaxed) {
            return Ok(true);
        }
        // A login may take long where many log in at once, which says nothing of the server. The read tells why one fails.
        if self.auth.ready().await.is_err() {
            return Ok(false);
        }
        let list = |request| {
            let mut cluster = self.cluster.clone();
            async move { cluster.member_list(request).await }
        };
        let asked = self.auth.try_call(proto::MemberListRequest {}, list);
        match timeout(LISTING, asked).await {
            Ok(Ok(Ok(list))) if list.get_ref().header.is_none() => Err(status::grpc_proxy(&self.endpoint)),
            Ok(Ok(_)) => Ok(true),
            // A server that does not say is asked on the next link.
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }

    /// A linearizable read.
    async fn first_read(&self, key: Vec<u8>) -> Result<Reply, Failure> {
        let read = ask_again(READ_AGAIN, || self.read_stamp(key.clone())).await;
        read.map(|stamp| Reply { stamp, answer: Answer::Opened })
    }

    /// A linearizable read of nothing but the stamp. It names a key that we may read, as permissions are by key.
    async fn read_stamp(&self, key: Vec<u8>) -> Result<Stamp, Failure> {
        let request = RangeRequest { key: key.clone(), limit: 1, count_only: true, ..RangeRequest::default() };
        let range = |request| {
            let mut kv = self.kv.clone();
            async move { kv.range(request).await }
        };
        let answer = self.auth.call(request, &key, range).await?;
        self.stamp(answer.header)
    }

    async fn grant(&self, lease: LeaseId, ttl_s: u32) -> Result<Reply, Failure> {
        let request = proto::LeaseGrantRequest { ttl: i64::from(ttl_s), id: lease };
        let grant = |request| {
            let mut lease = self.lease.clone();
            async move { lease.lease_grant(request).await }
        };
        let answer = self.auth.call(request, b"", grant).await?;
        if !answer.error.is_empty() {
            return Err(Failure::new(
                ErrorKind::Server,
                format!("{}: {}", self.endpoint, self.auth.fit(&answer.error)),
            ));
        }
        if answer.id != lease {
            return Err(status::foreign_lease(&self.endpoint));
        }
        self.reply(answer.header, || Ok(Answer::Granted { ttl_s: answer.ttl }))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Reply, Failure> {
        let revoke = |request| {
            let mut lease = self.lease.clone();
            async move { lease.lease_revoke(request).await }
        };
        match self.auth.try_call(proto::LeaseRevokeRequest { id: lease }, revoke).await? {
            Err(refusal) if status::refused(&self.endpoint, None, &refusal).kind == ErrorKind::LeaseLost => {
                // A refusal has no header.
                let stamp = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Reply { stamp, answer: Answer::Revoked })
            }
            Err(refusal) => Err(self.auth.failure(&refusal, None)),
            Ok(answer) => self.reply(answer.into_inner().header, || Ok(Answer::Revoked)),
        }
    }

    async fn list_keys(&self, lease: LeaseId) -> Result<Reply, Failure> {
        let request = proto::LeaseTimeToLiveRequest { id: lease, keys: true };
        let list = |request| {
            let mut lease = self.lease.clone();
            async move { lease.lease_time_to_live(request).await }
        };
        let answer = self.auth.call(request, b"", list).await?;
        self.reply(answer.header, || Ok(Answer::Listed { keys: answer.keys }))
    }

    async fn confirm(&self, key: Vec<u8>, keys: Vec<Vec<u8>>) -> Result<Reply, Failure> {
        if keys.is_empty() {
            let stamp = self.read_stamp(key).await?;
            return Ok(Reply { stamp, answer: Answer::Confirmed { found: Vec::new() } });
        }
        let reads = keys.iter().map(|key| get(key)).collect();
        let answer = self.transact(TxnRequest { success: reads, ..TxnRequest::default() }, &key, keys.len()).await?;
        let mut reads = answer.responses.into_iter();
        self.reply(answer.header, || {
            let found = keys.iter().map(|key| words::read_one(reads.next(), key)).collect::<Result<_, _>>()?;
            Ok(Answer::Confirmed { found })
        })
    }

    async fn join(&self, prefix: Vec<u8>, own: Vec<u8>, name: Vec<u8>, lease: LeaseId) -> Result<Reply, Failure> {
        let put = proto::PutRequest { key: own.clone(), value: name, lease };
        let request = TxnRequest {
            compare: vec![created_at(own.clone(), 0)],
            // As many operations as a look has: a server that takes fewer refuses us here, and not when we are to lead.
            success: vec![op(Request::RequestPut(put)), get(&own), lowest(&prefix)],
            failure: vec![get(&own)],
        };
        let answer = self.txn(request, &prefix).await?;
        let created = answer.succeeded;
        let mut answers = self.counted(answer.responses, if created { 3 } else { 1 })?.into_iter();
        let stamp = self.stamp(answer.header)?;
        let seen = if created {
            let _put = answers.next();
            // The reads see the put of their own transaction.
            let ours = self.sound(words::read_one(answers.next(), &own))?;
            let (mut all, count) = self.sound(words::read(answers.next()))?;
            all.sort_by(|one, other| one.rank().cmp(&other.rank()));
            // Of too many it shows only some.
            all.truncate(if all.len() == count { count } else { 0 });
            let latest = all.iter().rev().take(2).cloned().collect();
            all.truncate(2);
            Seen { own: ours, latest, first: all, count }
        } else {
            let own = self.sound(words::read_one(answers.next(), &own))?;
            Seen { own, ..Seen::default() }
        };
        Ok(Reply { stamp, answer: Answer::Joined { created, seen } })
    }

    async fn look(&self, prefix: Vec<u8>, own: Vec<u8>, up_to: Revision) -> Result<Reply, Failure> {
        // One more than is wanted: of two entries of one revision, the one above ours does not count.
        let reads = vec![get(&own), newest(&prefix, 3, up_to), oldest(&prefix)];
        let answer = self.transact(TxnRequest { success: reads, ..TxnRequest::default() }, &prefix, 3).await?;
        let mut answers = answer.responses.into_iter();
        self.reply(answer.header, || {
            let ours = words::read_one(answers.next(), &own)?;
            let (latest, first, count) = neighbours(&mut answers, &own, up_to)?;
            Ok(Answer::Looked(Seen { own: ours, latest, first, count }))
        })
    }

    async fn leave(&self, key: Vec<u8>, revision: Revision) -> Result<Reply, Failure> {
        let delete = proto::DeleteRangeRequest { key: key.clone() };
        let request = TxnRequest {
            compare: vec![created_at(key.clone(), revision)],
            success: vec![op(Request::RequestDeleteRange(delete))],
            failure: Vec::new(),
        };
        let answer = self.txn(request, parent(&key)).await?;
        self.reply(answer.header, || Ok(Answer::Left { was_there: answer.succeeded }))
    }

    /// Writes an entry so that it has the sign wanted: once if it has the other one now, and if not, more often. All writes but the
    /// last say nothing.
    async fn touch(
        &self,
        put: proto::PutRequest,
        (revision, mut written): (Revision, Revision),
        shows: Sign,
        sign: Sign,
    ) -> Result<Reply, Failure> {
        let mut is_last = sign == Sign::Nothing || ![sign, Sign::Nothing].contains(&shows);
        let mut has_written = false;
        loop {
            let key = put.key.clone();
            let compare = vec![created_at(key.clone(), revision), written_at(key.clone(), written)];
            let mut written_now = put.clone();
            written_now.value.extend((!is_last).then_some(words::QUIET));
            let success = vec![op(Request::RequestPut(written_now)), get(&key)];
            let request = TxnRequest { compare, success, failure: vec![get(&key)] };
            let answer = self.txn(request, parent(&key)).await;
            let answer = answer.map_err(|failure| if has_written { in_part(failure) } else { failure })?;
            let touched = answer.succeeded;
            let mut answers = self.counted(answer.responses, if touched { 2 } else { 1 })?.into_iter();
            if !touched {
                let found = self.sound(words::read_written(answers.next(), &key))?;
                return self.reply(answer.header, || Ok(Answer::Touched { touched, found }));
            }
            let entry = self.sound(words::read_entry(answers.nth(1), &key))?;
            let reply = self.reply(answer.header, || Ok(Answer::Touched { touched, found: None }))?;
            let shown = entry.as_ref().map_or(Sign::Nothing, words::sign);
            // On another lease than the one that it is named after it has no sign.
            let is_done = [shown, Sign::Nothing].contains(&sign) || (is_last && shown == Sign::Nothing);
            let Some(entry) = entry.filter(|_| !is_done) else { return Ok(reply) };
            is_last = words::next_sign(&entry) == sign;
            (written, has_written) = (reply.stamp.revision, true);
        }
    }

    /// A transaction on keys under this prefix.
    async fn txn(&self, request: TxnRequest, prefix: &[u8]) -> Result<proto::TxnResponse, Failure> {
        let txn = |request| {
            let mut kv = self.kv.clone();
            async move { kv.txn(request).await }
        };
        self.auth.call(request, prefix, txn).await
    }

    /// A transaction without conditions that must have this many answers.
    async fn transact(
        &self,
        request: TxnRequest,
        prefix: &[u8],
        answers: usize,
    ) -> Result<proto::TxnResponse, Failure> {
        let mut answer = self.txn(request, prefix).await?;
        answer.responses = self.counted(answer.responses, answers)?;
        Ok(answer)
    }

    fn counted<T>(&self, answers: Vec<T>, wanted: usize) -> Result<Vec<T>, Failure> {
        self.sound(if answers.len() == wanted {
            Ok(answers)
        } else {
            Err("a transaction has too many or too few answers")
        })
    }

    fn sound<T>(&self, checked: Result<T, Garbled>) -> Result<T, Failure> {
        checked.map_err(|what| status::garbled(&self.endpoint, what))
    }

    fn stamp(&self, header: Option<proto::ResponseHeader>) -> Result<Stamp, Failure> {
        let stamp = self.sound(words::stamp(header))?;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.revision >= newest.revision {
            *newest = stamp;
        }
        Ok(stamp)
    }

    fn reply(
        &self,
        header: Option<proto::ResponseHeader>,
        answer: impl FnOnce() -> Result<Answer, Garbled>,
    ) -> Result<Reply, Failure> {
        Ok(Reply { stamp: self.stamp(header)?, answer: self.sound(answer())? })
    }
}

/// The failure of a verb of which an earlier write was applied: a refusal of a later one does not refuse the whole.
fn in_part(failure: Failure) -> Failure {
    if failure.kind.is_definite_refusal() { Failure::new(ErrorKind::Server, failure.detail) } else { failure }
}
