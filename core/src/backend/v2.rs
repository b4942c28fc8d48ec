//! etcd's v2 API: HTTP and JSON, one member per link.
//!
//! * `link`: what is under way on a link: calls and watches, each a task of its own
//! * `calls`: the verbs that have an answer, as requests and back
//! * `watch`: the watch of one key, as long polls
//! * `http`: requests and answers; the only file that names reqwest
//! * `keys`: keys as paths
//! * `words`: headers and JSON as the words of the machines, checked
//! * `date`: the one header that tells the member's clock
//! * `status`: what a failure means, in one place

use std::sync::Arc;

use super::links::{Links, Opening};
use super::resolve::Resolver;
use super::{Backend, Commons, Inbox, tls};
use crate::config::SessionSettings;
use crate::machine::Request;

mod calls;
mod date;
mod http;
mod keys;
mod link;
mod status;
mod watch;
mod words;

pub use status::role_recipe;

/// Speaks etcd's v2 API. To be used within a tokio current-thread runtime, which runs its connections.
pub struct V2 {
    peers: Arc<http::Peers>,
    resolver: Resolver,
    links: Links,
}

impl V2 {
    /// A backend for the endpoints of these settings, which puts what it hears into `inbox`.
    pub fn new(settings: &SessionSettings, inbox: Inbox, commons: &Commons) -> V2 {
        let peers = http::Peers {
            endpoints: settings.endpoints.clone(),
            login: settings.access.login.clone(),
            tls: tls::Client::new(&settings.access.tls, tls::Inside::Http1, commons.threads()),
        };
        V2 { peers: Arc::new(peers), resolver: commons.resolver.clone(), links: Links::new(inbox) }
    }
}

impl Backend for V2 {
    fn perform(&mut self, request: Request) {
        let (peers, resolver) = (&self.peers, &self.resolver);
        self.links.perform(request, |opening, requests| {
            let Opening { link, request, endpoint, key, is_proof, inbox, tasks, .. } = opening;
            let endpoint = peers.endpoints.get(endpoint)?.clone();
            let (peers, resolver, broken) = (peers.clone(), resolver.clone(), Arc::default());
            let life = link::Life { link, endpoint, peers, resolver, inbox, tasks, broken };
            Some(life.run(request, key, is_proof, requests))
        });
    }
}

impl std::fmt::Debug for V2 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("V2").field("endpoints", &self.peers.endpoints).field("links", &self.links.count()).finish()
    }
}
