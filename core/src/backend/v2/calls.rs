//! The verbs that have an answer, as requests and back. Each is one atomic step of the store, but for the read that shows why a
//! leave or a refresh was not applied, and for a check, which reads one key after the other.

use http::Method;

use super::http::{Call, Http, Incoming};
use super::keys::{Key, in_a_form};
use super::status::{self, COMPARE_FAILED, Fault, NOT_A_FILE, NOT_FOUND};
use super::words::{self, Event, Garbled};
use crate::backend::again::{READ_AGAIN, ask_again};
use crate::error::ErrorKind;
use crate::machine::{Answer, Failure, Op, Reply, Seen, Stamp, Written};
use crate::member::{OWN_TTL, Revision};

/// Of a directory's list: far above any election.
const MAX_LIST_BYTES: usize = 16 << 20;
/// Of the answer about one entry.
pub(super) const MAX_ENTRY_BYTES: usize = 1 << 20;
/// Read by the raft leader of a majority, not from what this member happens to know.
const LINEARIZABLE: &str = "quorum=true";

/// One member's verbs. Clones share its connections.
#[derive(Clone)]
pub(super) struct Calls {
    http: Http,
}

/// What etcd said, if it is an answer.
enum Said {
    Yes(Stamp, Event),
    /// Nothing was done, for the reason with this code.
    No(Stamp, u32),
}

impl Calls {
    pub(super) fn new(http: Http) -> Calls {
        Calls { http }
    }

    /// What the calls are made on.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// Performs one of the verbs that have an answer.
    pub(super) async fn perform(self, op: Op) -> Result<Reply, Fault> {
        match op {
            Op::Post { prefix, name, ttl_s } => {
                self.post(Key::new(&prefix).map_err(Fault::answered)?, name, ttl_s).await
            }
            Op::Refresh { key, name, written, ttl_s, visible } => {
                let key = Key::new(&key).map_err(Fault::answered)?;
                self.refresh(key, &name, written, ttl_s, visible).await
            }
            Op::Look { prefix, own, up_to } => self.look(Key::new(&prefix).map_err(Fault::answered)?, own, up_to).await,
            Op::Check { keys } => self.check(&keys).await,
            Op::Withdraw { key, name, revision, written } => {
                let key = Key::new(&key).map_err(Fault::answered)?;
                match self.delete(&key, format!("prevIndex={written}&prevValue={}", in_a_form(&name))).await? {
                    Some(reply) => Ok(reply),
                    None => self.withdraw(key, &name, revision).await,
                }
            }
            Op::Open { .. } => Err(internal("this link is open")),
            Op::Close | Op::Watch { .. } | Op::Unwatch { .. } => Err(internal("this verb has no answer")),
            Op::Grant { .. }
            | Op::Renew { .. }
            | Op::Confirm { .. }
            | Op::ListKeys { .. }
            | Op::Revoke { .. }
            | Op::Join { .. }
            | Op::Touch { .. }
            | Op::Leave { .. } => Err(internal("this verb is one of v3")),
        }
    }

    /// The first request of a link. The list of members is the only one that etcd answers without a check of the password.
    pub(super) async fn open(&self, key: &[u8], is_proof: bool) -> Result<Reply, Fault> {
        let directory = Key::new(key).map_err(Fault::answered)?;
        let stamp = if is_proof || self.http.login().is_none() {
            self.first_read(&directory).await?
        } else {
            self.meet(&directory).await?
        };
        Ok(Reply { stamp, answer: Answer::Opened })
    }

    async fn meet(&self, directory: &Key) -> Result<Stamp, Fault> {
        let call = Call { method: Method::GET, path: "/v2/members".into(), query: String::new(), form: None };
        let incoming = self.http.send(&call).await?;
        if !incoming.status.is_success() {
            return match refusal(&self.http, directory, incoming).await? {
                Refused::Answer(_) => Err(self.unexpected()),
                Refused::Failure(failure) => Err(Fault::answered(failure)),
            };
        }
        let stamp = self.sound(words::stamp_without_index(&incoming.headers, incoming.is_direct))?;
        // A connection can be used again once an answer is read to its end.
        incoming.body(MAX_ENTRY_BYTES).await?;
        Ok(stamp)
    }

    /// A read of the directory. Each may cost etcd the check of a password.
    async fn first_read(&self, directory: &Key) -> Result<Stamp, Fault> {
        ask_again(READ_AGAIN, || self.list(directory)).await.map(|(stamp, _)| stamp)
    }

    async fn look(&self, directory: Key, own: Vec<u8>, up_to: Revision) -> Result<Reply, Fault> {
        let (stamp, listed) = self.list(&directory).await?;
        let seen = match listed {
            Some(event) => self.sound(event.seen(&directory, &own, up_to, stamp.revision))?,
            None => Seen::default(),
        };
        Ok(Reply { stamp, answer: Answer::Looked(seen) })
    }

    /// The directory, if there is one.
    async fn list(&self, directory: &Key) -> Result<(Stamp, Option<Event>), Fault> {
        match self.ask(directory, get(directory), MAX_LIST_BYTES).await? {
            Said::Yes(_, event) if !event.is_directory() => {
                Err(Fault::answered(status::not_a_directory(self.http.endpoint(), directory, "it holds a value")))
            }
            Said::Yes(stamp, event) => Ok((stamp, Some(event))),
            Said::No(stamp, NOT_FOUND) => Ok((stamp, None)),
            Said::No(..) => Err(self.unexpected()),
        }
    }

    async fn post(&self, directory: Key, name: Vec<u8>, ttl_s: u32) -> Result<Reply, Fault> {
        let form = format!("value={}&ttl={ttl_s}", in_a_form(&name));
        let call = Call { method: Method::POST, path: directory.path(), query: String::new(), form: Some(form) };
        match self.ask(&directory, call, MAX_ENTRY_BYTES).await? {
            Said::Yes(stamp, event) => {
                let own = self.sound(event.created(&directory, stamp.revision))?;
                if own.name != name {
                    return Err(self.garbled("the new entry has another value"));
                }
                Ok(Reply { stamp, answer: Answer::Posted { own } })
            }
            Said::No(..) => Err(self.unexpected()),
        }
    }

    /// Never without `prevExist`, `prevIndex` and `prevValue`: it must not make an entry, nor write another's. A wiped store
    /// gives keys and numbers out again.
    async fn refresh(
        &self,
        key: Key,
        name: &[u8],
        written: Revision,
        ttl_s: u32,
        visible: bool,
    ) -> Result<Reply, Fault> {
        let name = in_a_form(name);
        let what = if visible { format!("value={name}") } else { "refresh=true".into() };
        let form = format!("{what}&ttl={ttl_s}&prevExist=true&prevIndex={written}&prevValue={name}");
        let call = Call { method: Method::PUT, path: key.path(), query: String::new(), form: Some(form) };
        let (stamp, applied, found) = match self.ask(&key, call, MAX_ENTRY_BYTES).await? {
            Said::Yes(stamp, event) => {
                let found = self.sound(event.entry(&key, stamp.revision))?;
                if found.as_ref().is_none_or(|found| found.at <= written) {
                    return Err(self.garbled("a refresh wrote nothing"));
                }
                (stamp, true, found)
            }
            Said::No(stamp, NOT_FOUND | NOT_A_FILE) => (stamp, false, None),
            Said::No(..) => {
                let (stamp, found) = self.entry(&key, get(&key)).await?;
                (stamp, false, found)
            }
        };
        Ok(Reply { stamp, answer: Answer::Refreshed { applied, found } })
    }

    /// The entry that this read finds, if there is one.
    async fn entry(&self, key: &Key, read: Call) -> Result<(Stamp, Option<Written>), Fault> {
        match self.ask(key, read, MAX_ENTRY_BYTES).await? {
            Said::Yes(stamp, event) => Ok((stamp, self.sound(event.entry(key, stamp.revision))?)),
            Said::No(stamp, NOT_FOUND) => Ok((stamp, None)),
            Said::No(..) => Err(self.unexpected()),
        }
    }

    /// Reads of this member's own, which cost no raft: a follower that has just refreshed its entry here sees a state that is no
    /// older than that.
    async fn check(&self, keys: &[Vec<u8>]) -> Result<Reply, Fault> {
        let mut oldest: Option<Stamp> = None;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let key = Key::new(key).map_err(Fault::answered)?;
            let (stamp, entry) = self.entry(&key, Call { query: String::new(), ..get(&key) }).await?;
            if oldest.is_some_and(|oldest| oldest.cluster != stamp.cluster) {
                return Err(Fault::answered(status::another_store(self.http.endpoint())));
            }
            oldest = oldest.filter(|oldest| oldest.revision <= stamp.revision).or(Some(stamp));
            found.push(entry.map(|entry| entry.member));
        }
        let stamp = oldest.ok_or_else(|| internal("there is no key to read"))?;
        Ok(Reply { stamp, answer: Answer::Glimpsed { found } })
    }

    /// Nothing is said if the entry is not as the query has it.
    async fn delete(&self, key: &Key, query: String) -> Result<Option<Reply>, Fault> {
        let call = Call { method: Method::DELETE, path: key.path(), query, form: None };
        Ok(match self.ask(key, call, MAX_ENTRY_BYTES).await? {
            Said::Yes(stamp, _) => Some(Reply { stamp, answer: Answer::Left { was_there: true } }),
            Said::No(stamp, NOT_FOUND | NOT_A_FILE) => Some(Reply { stamp, answer: Answer::Left { was_there: false } }),
            Said::No(..) => None,
        })
    }

    async fn withdraw(&self, key: Key, name: &[u8], revision: Revision) -> Result<Reply, Fault> {
        let (stamp, found) = self.entry(&key, get(&key)).await?;
        let Some(found) = found.filter(|found| found.member.revision == revision) else {
            return Ok(Reply { stamp, answer: Answer::Left { was_there: false } });
        };
        if found.member.name != name && found.member.lease == OWN_TTL {
            return Ok(Reply { stamp, answer: Answer::Spared });
        }
        let reply = self.delete(&key, format!("prevIndex={}", found.at)).await?;
        reply.ok_or_else(|| Fault::answered(status::overtaken(self.http.endpoint(), &key)))
    }

    async fn ask(&self, key: &Key, call: Call, max_bytes: usize) -> Result<Said, Fault> {
        let incoming = self.http.send(&call).await?;
        let (status, stamp) = (incoming.status, words::stamp(&incoming.headers, incoming.is_direct));
        if status.is_success() {
            let stamp = self.sound(stamp)?;
            let event = words::event(&incoming.body(max_bytes).await?);
            return Ok(Said::Yes(stamp, self.sound(event)?));
        }
        match refusal(&self.http, key, incoming).await? {
            Refused::Answer(code) => Ok(Said::No(self.sound(stamp)?, code)),
            Refused::Failure(failure) => Err(Fault::answered(failure)),
        }
    }

    fn sound<T>(&self, checked: Result<T, Garbled>) -> Result<T, Fault> {
        checked.map_err(|what| self.garbled(what))
    }

    fn garbled(&self, what: Garbled) -> Fault {
        Fault::answered(status::garbled(self.http.endpoint(), what))
    }

    fn unexpected(&self) -> Fault {
        self.garbled("it refuses for a reason that this request cannot have")
    }
}

/// What a refusal is.
pub(super) enum Refused {
    /// An answer: one of the codes of [`status`].
    Answer(u32),
    /// A failure.
    Failure(Failure),
}

/// Reads an answer that is not a success.
pub(super) async fn refusal(http: &Http, key: &Key, incoming: Incoming) -> Result<Refused, Fault> {
    let status = incoming.status;
    let body = incoming.body(MAX_ENTRY_BYTES).await?;
    Ok(match words::refusal(&body) {
        Some(refusal) if matches!(refusal.error_code, NOT_FOUND | COMPARE_FAILED | NOT_A_FILE) => {
            Refused::Answer(refusal.error_code)
        }
        Some(refusal) => Refused::Failure(status::refused(http.peer(), key, status, &refusal)),
        None => Refused::Failure(status::foreign(http.peer(), key, status, &body)),
    })
}

fn get(key: &Key) -> Call {
    Call { method: Method::GET, path: key.path(), query: LINEARIZABLE.into(), form: None }
}

fn internal(detail: &str) -> Fault {
    Fault::answered(Failure::new(ErrorKind::Internal, detail))
}
