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

use super::links::{Links, Opening};
use super::resolve::Resolver;
use super::{Backend, Commons, Inbox, tls};
use crate::config::{Endpoint, Login, SessionSettings};
use crate::machine::Request;

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
    attempt: Duration,
    resolver: Resolver,
    /// Of each endpoint, whether an etcd server was met there.
    has_met: Vec<Arc<AtomicBool>>,
    links: Links,
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
            attempt: settings.timings.attempt,
            resolver: commons.resolver.clone(),
            has_met: settings.endpoints.iter().map(|endpoint| commons.met.at(endpoint)).collect(),
            links: Links::new(inbox),
        }
    }
}

impl Backend for V3 {
    fn perform(&mut self, request: Request) {
        let V3 { endpoints, tls, login, tokens, attempt, resolver, has_met, links } = self;
        links.perform(request, |opening, requests| {
            let Opening { link, request, endpoint, key, patience, inbox, tasks, .. } = opening;
            let life = link::Life {
                link,
                endpoint: endpoints.get(endpoint)?.clone(),
                tls: tls.clone(),
                login: login.clone(),
                tokens: tokens.clone(),
                patience,
                attempt: *attempt,
                resolver: resolver.clone(),
                has_met: has_met.get(endpoint)?.clone(),
                inbox,
                tasks,
            };
            Some(life.run(request, key, requests))
        });
    }
}

impl std::fmt::Debug for V3 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("V3").field("endpoints", &self.endpoints).field("links", &self.links.count()).finish()
    }
}
