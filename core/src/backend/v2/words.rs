//! etcd's headers and JSON as the words of the machines. Nothing a server sends is believed before it was checked here.

use http::HeaderMap;
use http::header::DATE;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::date;
use super::keys::Key;
use crate::machine::{Change, LINE, Seen, Sign, Stamp, Written};
use crate::member::{Member, OWN_TTL, Revision};

/// Why a message is not one that etcd sends.
pub(super) type Garbled = &'static str;

/// What a request did, or a watch saw.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    action: String,
    node: Node,
}

/// A key or a directory, as it is now.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    key: String,
    value: Option<String>,
    #[serde(default)]
    dir: bool,
    created_index: Revision,
    modified_index: Revision,
    ttl: Option<i64>,
    /// Only whether it is there: an entry that should be gone by now has a ttl of 0, which etcd leaves out.
    expiration: Option<IgnoredAny>,
    #[serde(default)]
    nodes: Vec<Node>,
}

/// etcd's own error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    /// 0 if it has none.
    #[serde(default)]
    pub(super) error_code: u32,
    pub(super) message: String,
    #[serde(default)]
    pub(super) cause: String,
}

/// What the headers of an answer say of the store. `is_direct` says that it is the asked member's own.
pub(super) fn stamp(headers: &HeaderMap, is_direct: bool) -> Result<Stamp, Garbled> {
    let stamp = stamp_without_index(headers, is_direct)?;
    let text = |name| text(headers, name);
    let revision = text("x-etcd-index").ok_or("it has no X-Etcd-Index")?;
    let revision = revision.parse().ok().filter(is_possible).ok_or("its X-Etcd-Index is not an index")?;
    let term = text("x-raft-term").map_or(Ok(0), str::parse).map_err(|_| "its X-Raft-Term is not a number")?;
    Ok(Stamp { revision, term, ..stamp })
}

/// The same of an answer that says nothing of the store.
pub(super) fn stamp_without_index(headers: &HeaderMap, is_direct: bool) -> Result<Stamp, Garbled> {
    let cluster = text(headers, "x-etcd-cluster-id").ok_or("it has no X-Etcd-Cluster-Id")?;
    let cluster = u64::from_str_radix(cluster, 16).map_err(|_| "its X-Etcd-Cluster-Id is not a number")?;
    let clock_s = text(headers, DATE.as_str()).filter(|_| is_direct).and_then(date::seconds);
    Ok(Stamp { cluster, revision: 0, term: 0, clock_s })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn event(body: &[u8]) -> Result<Event, Garbled> {
    let event: Event = serde_json::from_slice(body).map_err(|_| "it is not the JSON of an event")?;
    event.node.check()?;
    Ok(event)
}

/// The error in an answer, if it is one of etcd's.
pub(super) fn refusal(body: &[u8]) -> Option<Refusal> {
    serde_json::from_slice(body).ok()
}

impl Event {
    /// The entry that was created below this directory.
    pub(super) fn created(self, directory: &Key, at_most: Revision) -> Result<Member, Garbled> {
        self.node.known_at(at_most)?;
        let key = directory.entry(&self.node.key).ok_or("the new entry is not in its directory")?;
        self.node.member(key)
    }

    /// The entry that was read or written; `None` if a directory has its place.
    pub(super) fn entry(self, key: &Key, at_most: Revision) -> Result<Option<Written>, Garbled> {
        self.node.known_at(at_most)?;
        if self.node.key.as_bytes() != key.theirs {
            return Err("another key was asked for");
        }
        if self.node.dir {
            return Ok(None);
        }
        let at = self.node.modified_index;
        Ok(Some(Written { member: self.node.member(key.ours.clone())?, at }))
    }

    /// Whether what was read is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.node.dir
    }

    /// The entries of a directory as a look wants them. Directories in it are none.
    pub(super) fn seen(self, directory: &Key, own: &[u8], up_to: Revision, at_most: Revision) -> Result<Seen, Garbled> {
        if self.node.key.as_bytes() != directory.theirs {
            return Err("another directory was asked for");
        }
        let mut members = Vec::with_capacity(self.node.nodes.len());
        for node in self.node.nodes {
            node.check()?;
            node.known_at(at_most)?;
            let key = directory.entry(&node.key).ok_or("an entry is not in the directory that was asked for")?;
            if !node.dir {
                members.push(node.member(key)?);
            }
        }
        members.sort_by(|one, other| one.rank().cmp(&other.rank()));
        if members.windows(2).any(|pair| pair[0].rank() == pair[1].rank()) {
            return Err("an entry is listed twice");
        }
        let ours = members.iter().find(|member| member.key == own).cloned();
        let latest = members.iter().rev().filter(|member| member.rank() <= (up_to, own)).take(2).cloned().collect();
        let count = members.len();
        members.truncate(LINE);
        Ok(Seen { own: ours, latest, first: members, count })
    }

    /// The revision of what a watch saw.
    pub(super) fn at(&self) -> Revision {
        self.node.modified_index
    }

    /// What a watch of this key saw; `None` if it is not about the key.
    pub(super) fn change(self, key: &Key) -> Result<Option<Change>, Garbled> {
        let at = self.node.modified_index;
        let is_end = match self.action.as_str() {
            "delete" | "expire" | "compareAndDelete" => true,
            "set" | "create" | "update" | "compareAndSwap" => false,
            _ => return Err("a watch saw an action that etcd does not have"),
        };
        let ended = Change { at, key: key.ours.clone(), now: None, sign: Sign::Nothing };
        if self.node.key.as_bytes() == key.theirs {
            let is_gone = is_end || self.node.dir;
            return Ok(Some(if is_gone {
                ended
            } else {
                Change { now: Some(self.node.member(key.ours.clone())?), ..ended }
            }));
        }
        if is_end && key.is_below(&self.node.key) {
            return Ok(Some(ended));
        }
        // etcd compares text: the end of the directory /a is told to those who watch /ab, too.
        if is_end && key.theirs.starts_with(self.node.key.as_bytes()) {
            return Ok(None);
        }
        Err("a watch saw another key")
    }
}

impl Node {
    fn check(&self) -> Result<(), Garbled> {
        let is_root = self.key.is_empty() || self.key == "/";
        let is_sound = is_possible(&self.modified_index) && self.created_index <= self.modified_index;
        if is_root || (is_sound && self.created_index > 0) { Ok(()) } else { Err("an entry has impossible indexes") }
    }

    fn known_at(&self, at_most: Revision) -> Result<(), Garbled> {
        if self.modified_index <= at_most { Ok(()) } else { Err("an entry is newer than its store") }
    }

    fn member(self, key: Vec<u8>) -> Result<Member, Garbled> {
        let name = self.value.ok_or("an entry has no value")?.into_bytes();
        let has_ttl = self.ttl.is_some() || self.expiration.is_some();
        Ok(Member { key, name, revision: self.created_index, lease: if has_ttl { OWN_TTL } else { 0 } })
    }
}

/// etcd counts with 63 bits, and one more is always to come.
fn is_possible(revision: &Revision) -> bool {
    *revision < i64::MAX as Revision
}
