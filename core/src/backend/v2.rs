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

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::resolve::Resolver;
use super::tasks::Tasks;
use super::{Backend, Commons, Inbox, tls};
use crate::config::SessionSettings;
use crate::error::ErrorKind;
use crate::machine::{Failure, Input, LinkId, Op, Request, RequestId};

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
    inbox: Inbox,
    links: HashMap<LinkId, Link>,
}

/// A link that was opened and not yet closed.
struct Link {
    wishes: mpsc::UnboundedSender<(RequestId, Op)>,
    tasks: Tasks,
}

impl V2 {
    /// A backend for the endpoints of these settings, which puts what it hears into `inbox`.
    pub fn new(settings: &SessionSettings, inbox: Inbox, commons: &Commons) -> V2 {
        let peers = http::Peers {
            endpoints: settings.endpoints.clone(),
            login: settings.access.login.clone(),
            tls: tls::Client::new(&settings.access.tls, tls::Inside::Http1, commons.threads()),
        };
        V2 { peers: Arc::new(peers), resolver: commons.resolver.clone(), inbox, links: HashMap::new() }
    }

    fn open(&mut self, link: LinkId, request: RequestId, endpoint: usize, key: Vec<u8>, is_proof: bool) {
        let Some(endpoint) = self.peers.endpoints.get(endpoint).cloned() else {
            let failure = Failure::new(ErrorKind::Internal, format!("there is no endpoint number {endpoint}"));
            return link::tell(&self.inbox, Input::Reply { id: request, result: Err(failure) });
        };
        let tasks = Tasks::default();
        let (wishes, granted) = mpsc::unbounded_channel();
        let life = link::Life {
            link,
            endpoint,
            peers: self.peers.clone(),
            resolver: self.resolver.clone(),
            inbox: self.inbox.clone(),
            tasks: tasks.clone(),
            broken: Arc::default(),
        };
        tasks.spawn(life.run(request, key, is_proof, granted));
        if let Some(before) = self.links.insert(link, Link { wishes, tasks }) {
            before.tasks.end();
        }
    }
}

impl Backend for V2 {
    fn perform(&mut self, request: Request) {
        match request.op {
            Op::Open { endpoint, key, is_proof, .. } => {
                self.open(request.link, request.id, endpoint, key, is_proof);
            }
            Op::Close => {
                if let Some(link) = self.links.remove(&request.link) {
                    link.tasks.end();
                }
            }
            op => {
                if let Some(link) = self.links.get(&request.link) {
                    // Fails only if the link's task has ended, with the runtime.
                    let _ = link.wishes.send((request.id, op));
                }
            }
        }
    }
}

impl Drop for V2 {
    fn drop(&mut self) {
        for link in self.links.values() {
            link.tasks.end();
        }
    }
}

impl std::fmt::Debug for V2 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("V2").field("endpoints", &self.peers.endpoints).field("links", &self.links.len()).finish()
    }
}
