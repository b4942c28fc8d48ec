//! As much of etcd's API v2 as an election needs of it, and ways not to say it as etcd does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::mutation::{Mutation, mutated};
use super::server::{Server, wait_for_end};
use super::victim::KEY;

/// How a server answers each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) status: Option<u16>,
    /// In the place of etcd's own, if not empty.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
    pub(crate) framing: Framing,
    pub(crate) end: End,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum Body {
    #[default]
    True,
    Mutated(Vec<Mutation>),
    Instead(Vec<u8>),
}

/// How the end of a body is told.
#[derive(Clone, Debug, Default)]
pub(crate) enum Framing {
    #[default]
    True,
    Length(String),
    /// In chunks of this size that are announced so.
    Chunks(usize, Option<Vec<u8>>),
    Close,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum End {
    /// The connection goes on.
    #[default]
    True,
    Close,
    Hang,
}

struct Entry {
    value: String,
    created: u64,
    modified: u64,
}

/// A store with the entries under one key.
struct Store {
    index: u64,
    entries: BTreeMap<String, Entry>,
}

impl Store {
    fn new(is_led: bool) -> Store {
        let mut store = Store { index: 4, entries: BTreeMap::new() };
        if is_led {
            store.post("other".into());
        }
        store
    }

    fn post(&mut self, value: String) -> String {
        self.index += 1;
        let key = format!("{KEY}/{:020}", self.index);
        self.entries.insert(key.clone(), Entry { value, created: self.index, modified: self.index });
        key
    }

    fn node(&self, key: &str) -> String {
        let Entry { value, created, modified } = &self.entries[key];
        format!(
            r#"{{"key":"{key}","value":"{value}","expiration":"2026-01-01T00:00:00Z","ttl":9,"createdIndex":{created},"modifiedIndex":{modified}}}"#
        )
    }

    /// The true answer, if there is one now: status and body.
    fn answer(&mut self, request: &Request) -> Option<(u16, String)> {
        let refused = |status, code: u32, index| {
            Some((status, format!(r#"{{"errorCode":{code},"message":"No","cause":"{KEY}","index":{index}}}"#)))
        };
        let done = |action: &str, node: String| Some((200, format!(r#"{{"action":"{action}","node":{node}}}"#)));
        let path = request.path.as_str();
        match request.method.as_str() {
            _ if request.is_watch() => None,
            "GET" if path == KEY => {
                let nodes: Vec<_> = self.entries.keys().map(|key| self.node(key)).collect();
                let nodes = nodes.join(",");
                done(
                    "get",
                    format!(r#"{{"key":"{KEY}","dir":true,"nodes":[{nodes}],"createdIndex":3,"modifiedIndex":3}}"#),
                )
            }
            "POST" => {
                let key = self.post(request.field("value"));
                Some((201, format!(r#"{{"action":"create","node":{}}}"#, self.node(&key))))
            }
            _ if !self.entries.contains_key(path) => refused(404, 100, self.index),
            "GET" => done("get", self.node(path)),
            "PUT" => {
                self.index += 1;
                let index = self.index;
                let entry = self.entries.get_mut(path)?;
                if entry.modified.to_string() != request.field("prevIndex") {
                    return refused(412, 101, index);
                }
                entry.modified = index;
                done("update", self.node(path))
            }
            "DELETE" => {
                self.index += 1;
                let entry = self.entries.remove(path)?;
                let (created, index) = (entry.created, self.index);
                done(
                    "compareAndDelete",
                    format!(r#"{{"key":"{path}","createdIndex":{created},"modifiedIndex":{index}}}"#),
                )
            }
            _ => None,
        }
    }
}

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    query: String,
    form: String,
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("wait=true")
    }

    fn field(&self, name: &str) -> String {
        let of = |pair: &str| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_string);
        self.form.split('&').find_map(of).unwrap_or_default()
    }

    pub(crate) fn read(client: &mut TcpStream) -> Option<Request> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut form = vec![0; length.unwrap_or(0)];
        client.read_exact(&mut form).ok()?;
        let mut words = head.split(' ');
        let (method, target) = (words.next()?.to_string(), words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix("/v2/keys").unwrap_or(path).to_string();
        Some(Request { method, path, query: query.into(), form: String::from_utf8(form).ok()? })
    }
}

/// A server that answers each request as `manner` says, and tells the truth otherwise.
pub(crate) fn server(is_led: bool, manner: impl Fn(&Request) -> Manner + Send + Sync + 'static) -> Server {
    let store = Arc::new(Mutex::new(Store::new(is_led)));
    Server::new(move |mut client| {
        while let Some(request) = Request::read(&mut client) {
            let manner = manner(&request);
            let truth = store.lock().expect("the store").answer(&request);
            let index = store.lock().expect("the store").index;
            let is_instead = matches!(manner.body, Body::Instead(_));
            let Some((status, body)) = truth.or(is_instead.then(|| (200, String::new()))) else {
                return wait_for_end(&mut client);
            };
            let said = manner.answer(status, index, body.into_bytes());
            if client.write_all(&said).is_err() {
                return;
            }
            match manner.end {
                End::True => {}
                End::Close => return,
                End::Hang => return wait_for_end(&mut client),
            }
        }
    })
}

impl Manner {
    fn answer(&self, status: u16, index: u64, truth: Vec<u8>) -> Vec<u8> {
        let mut said = format!("HTTP/1.1 {} So\r\n", self.status.unwrap_or(status)).into_bytes();
        let mut add = |name: &str, value: &[u8]| said.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        if self.headers.is_empty() {
            add("X-Etcd-Cluster-Id", b"cdf818194e3a8c32");
            add("X-Etcd-Index", index.to_string().as_bytes());
            add("X-Raft-Term", b"2");
        }
        self.headers.iter().for_each(|(name, value)| add(name, value));
        let mut body = match &self.body {
            Body::True => truth,
            Body::Mutated(mutations) => mutated(truth, mutations),
            Body::Instead(bytes) => bytes.clone(),
        };
        match &self.framing {
            Framing::True => add("Content-Length", body.len().to_string().as_bytes()),
            Framing::Length(length) => add("Content-Length", length.as_bytes()),
            Framing::Chunks(size, announced) => {
                add("Transfer-Encoding", b"chunked");
                let head =
                    |chunk: &[u8]| announced.clone().unwrap_or_else(|| format!("{:x}", chunk.len()).into_bytes());
                let chunk = |chunk: &[u8]| [&head(chunk)[..], b"\r\n", chunk, b"\r\n"].concat();
                body = body.chunks((*size).max(1)).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
            }
            Framing::Close => {}
        }
        said.extend(b"\r\n");
        said.extend(body);
        said
    }
}
