//! etcd's v3 API: native gRPC, one connection per link.
//!
//! * `channel`: one connection to one member, made once and never mended
//! * `link`: what is under way on it: calls, the keepalive stream, the watch stream
//! * `auth`: the token that calls and streams show
//! * `calls`: the verbs that are one call each, as requests and back
//! * `streams`, `renewals`, `watches`: the two streams that all elections of a link share
//! * `codec`: messages on the wire and back, within bounds
//! * `words`: etcd's messages as the words of the machines, checked
//! * `status`: what a failure means, in one place
//! * `proto`: generated from `proto/etcd.proto`

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::resolve::Resolver;
use super::tasks::Tasks;
use super::{Backend, Commons, Inbox, tls};
use crate::config::{Endpoint, Login, SessionSettings};
use crate::error::ErrorKind;
use crate::machine::{Failure, Input, LinkId, Op, Request, RequestId};

mod auth;
mod calls;
mod channel;
mod codec;
mod link;
#[allow(clippy::all, dead_code, missing_docs, unreachable_pub, unused_qualifications)]
#[rustfmt::skip]
mod proto;
mod renewals;
mod status;
mod streams;
mod txn;
mod watches;
mod words;

pub(super) use auth::Logins;
pub use auth::role_recipe;

/// Speaks etcd's v3 API. To be used within a tokio current-thread runtime, which runs its connections.
pub struct V3 {
    endpoints: Arc<[Endpoint]>,
    tls: tls::Client,
    login: Option<Login>,
    tokens: Arc<auth::Tokens>,
    resolver: Resolver,
    /// Of each endpoint, whether an etcd server was met there.
    has_met: Vec<Arc<AtomicBool>>,
    inbox: Inbox,
    links: HashMap<LinkId, Link>,
}

/// Whether an etcd server was met, by URL: each is asked once who it is, however many sessions there are.
#[derive(Clone, Default)]
pub(super) struct Met(Arc<Mutex<HashMap<String, Arc<AtomicBool>>>>);

impl Met {
    fn at(&self, endpoint: &Endpoint) -> Arc<AtomicBool> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(endpoint.to_string()).or_default().clone()
    }
}

/// A link that was opened and not yet closed.
struct Link {
    wishes: mpsc::UnboundedSender<(RequestId, Op)>,
    tasks: Tasks,
}

impl V3 {
    /// A backend for the endpoints of these settings, which puts what it hears into `inbox`.
    pub fn new(settings: &SessionSettings, inbox: Inbox, commons: &Commons) -> V3 {
        let endpoints = settings.endpoints.clone().into();
        let tls = tls::Client::new(&settings.access.tls, tls::Inside::Http2, commons.threads());
        let login = settings.access.login.clone();
        V3 {
            endpoints,
            tls,
            login,
            tokens: commons.logins.tokens(settings),
            resolver: commons.resolver.clone(),
            has_met: settings.endpoints.iter().map(|endpoint| commons.met.at(endpoint)).collect(),
            inbox,
            links: HashMap::new(),
        }
    }

    fn open(&mut self, link: LinkId, request: RequestId, endpoint: usize, key: Vec<u8>, patience: Duration) {
        let known = self.endpoints.get(endpoint).cloned().zip(self.has_met.get(endpoint).cloned());
        let Some((endpoint, has_met)) = known else {
            let failure = Failure::new(ErrorKind::Internal, format!("there is no endpoint number {endpoint}"));
            return link::tell(&self.inbox, Input::Reply { id: request, result: Err(failure) });
        };
        let tasks = Tasks::default();
        let (wishes, granted) = mpsc::unbounded_channel();
        let life = link::Life {
            link,
            endpoint,
            tls: self.tls.clone(),
            login: self.login.clone(),
            tokens: self.tokens.clone(),
            patience,
            resolver: self.resolver.clone(),
            has_met,
            inbox: self.inbox.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(life.run(request, key, granted));
        if let Some(before) = self.links.insert(link, Link { wishes, tasks }) {
            before.tasks.end();
        }
    }
}

impl Backend for V3 {
    fn perform(&mut self, request: Request) {
        match request.op {
            Op::Open { endpoint, key, patience, .. } => self.open(request.link, request.id, endpoint, key, patience),
            Op::Close => {
                if let Some(link) = self.links.remove(&request.link) {
                    link.tasks.end();
                }
            }
            op => {
                if let Some(link) = self.links.get(&request.link) {
                    // Fails only if the link's task is gone, which it reported as broken.
                    let _ = link.wishes.send((request.id, op));
                }
            }
        }
    }
}

impl Drop for V3 {
    fn drop(&mut self) {
        for link in self.links.values() {
            link.tasks.end();
        }
    }
}

impl std::fmt::Debug for V3 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("V3").field("endpoints", &self.endpoints).field("links", &self.links.len()).finish()
    }
}
