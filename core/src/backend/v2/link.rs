//! What is under way on one link.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::calls::Calls;
use super::http::{Http, Peers, Place};
use super::keys::Key;
use super::status::{Extent, Fault};
use super::watch::watch;
use crate::backend::Inbox;
use crate::backend::dial::NEXT_ADDRESS;
use crate::backend::links::{Requests, tell};
use crate::backend::resolve::Resolver;
use crate::backend::tasks::Tasks;
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::{Failure, Input, LinkId, Op, Reply, RequestId, Step, WatchId};
use crate::member::Revision;

/// What a link has from its beginning to its end. Clones are the same link.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) link: LinkId,
    pub(super) endpoint: Endpoint,
    pub(super) peers: Arc<Peers>,
    pub(super) resolver: Resolver,
    pub(super) inbox: Inbox,
    pub(super) tasks: Tasks,
    /// Why it is broken, once it is.
    pub(super) broken: Arc<OnceLock<Failure>>,
}

/// A link that is open.
struct Live {
    life: Life,
    calls: Calls,
    watches: HashMap<WatchId, AbortHandle>,
    /// Where watches say that they are over.
    over: mpsc::UnboundedSender<WatchId>,
}

impl Life {
    /// Performs `opening` on the first address that answers, and then every request, until the task is ended.
    pub(super) async fn run(self, opening: RequestId, key: Vec<u8>, is_proof: bool, mut requests: Requests) {
        match self.open(key, is_proof).await {
            Ok((calls, reply)) => {
                self.reply(opening, Ok(reply));
                let (over, ended) = mpsc::unbounded_channel();
                Live { life: self, calls, watches: HashMap::new(), over }.run(requests, ended).await;
            }
            Err(failure) => {
                self.reply(opening, Err(failure.clone()));
                while let Some((request, op)) = requests.recv().await {
                    if has_answer(&op) {
                        self.reply(request, Err(failure.clone()));
                    }
                }
            }
        }
    }

    async fn places(&self) -> Result<Vec<Place>, Failure> {
        #[cfg(unix)]
        if let Some(path) = self.endpoint.socket() {
            return Ok(vec![Place::Socket(path.to_owned())]);
        }
        self.at(Step::LookUp);
        let addresses = self.resolver.look_up(&self.endpoint).await?;
        Ok(addresses.into_iter().map(Place::At).collect())
    }

    async fn open(&self, key: Vec<u8>, is_proof: bool) -> Result<(Calls, Reply), Failure> {
        let endpoint = &self.endpoint;
        self.at(Step::ReadingFiles);
        let tls = self.peers.tls(endpoint).await?;
        let places = self.places().await?;
        self.at(Step::Asking);
        let mut failures = Vec::new();
        let mut tries = FuturesUnordered::new();
        let mut left = places.into_iter();
        // The next address is tried beside those before it (RFC 8305).
        loop {
            match left.next() {
                Some(place) => {
                    let calls = Calls::new(Http::new(endpoint, place, tls.clone(), self.peers.clone())?);
                    let key = &key;
                    tries.push(async move {
                        let result = calls.open(key, is_proof).await;
                        (calls, result)
                    });
                }
                None if tries.is_empty() => break,
                None => {}
            }
            let next = async { if left.len() > 0 { sleep(NEXT_ADDRESS).await } else { pending().await } };
            tokio::select! {
                Some((calls, result)) = tries.next() => match result {
                    Ok(reply) => return Ok((calls, reply)),
                    Err(Fault { failure, extent: Extent::Unconnected }) => failures.push(failure),
                    // etcd does this on a port that speaks TLS to a client that does not.
                    Err(Fault { failure, extent: Extent::Wire }) if !endpoint.is_tls() => {
                        let detail = format!("{}; if this port speaks TLS, write https://", failure.detail);
                        return Err(Failure { detail, ..failure });
                    }
                    Err(fault) => return Err(fault.failure),
                },
                () = next => {}
            }
        }
        self.resolver.refused(endpoint);
        // One that refuses says more than one that is silent.
        let telling = failures.iter().position(|failure| failure.kind != ErrorKind::Timeout).unwrap_or(0);
        Err(failures.swap_remove(telling))
    }

    /// How far the opening is.
    fn at(&self, step: Step) {
        tell(&self.inbox, Input::Opening { link: self.link, step });
    }

    fn reply(&self, id: RequestId, result: Result<Reply, Failure>) {
        tell(&self.inbox, Input::Reply { id, result });
    }

    /// A link that broke is never used again: what answers next may be another store.
    fn break_for(&self, failure: Failure) {
        if self.broken.set(failure.clone()).is_ok() {
            tell(&self.inbox, Input::Broken { link: self.link, failure });
        }
    }

    async fn call(self, calls: Calls, request: RequestId, op: Op) {
        match calls.perform(op).await {
            Ok(reply) => self.reply(request, Ok(reply)),
            Err(Fault { failure, extent }) => {
                self.reply(request, Err(failure.clone()));
                if extent != Extent::Answer {
                    self.break_for(failure);
                }
            }
        }
    }

    async fn watch(self, calls: Calls, watch_id: WatchId, from: Vec<u8>, start: Revision) {
        let tell = |news| tell(&self.inbox, Input::Watch { link: self.link, watch: watch_id, news });
        let ended = match Key::new(&from) {
            Ok(key) => watch(calls.http(), &key, start, tell).await,
            Err(failure) => Err(Fault::answered(failure)),
        };
        if let Err(fault) = ended {
            self.break_for(fault.failure);
        }
    }
}

impl Live {
    async fn run(mut self, mut requests: Requests, mut ended: mpsc::UnboundedReceiver<WatchId>) {
        loop {
            tokio::select! {
                biased;
                Some(watch) = ended.recv() => drop(self.watches.remove(&watch)),
                request = requests.recv() => match request {
                    Some((request, op)) => self.start(request, op),
                    None => return,
                },
            }
        }
    }

    fn start(&mut self, request: RequestId, op: Op) {
        match op {
            Op::Watch { watch, range } => {
                if self.life.broken.get().is_none() {
                    let start = range.start.unwrap_or(0);
                    let (task, over) =
                        (self.life.clone().watch(self.calls.clone(), watch, range.from, start), self.over.clone());
                    let task = self.life.tasks.spawn(async move {
                        task.await;
                        let _ = over.send(watch);
                    });
                    self.watches.extend(task.map(|task| (watch, task)));
                }
            }
            Op::Unwatch { watch } => {
                if let Some(task) = self.watches.remove(&watch) {
                    task.abort();
                }
            }
            // Never comes here.
            Op::Close => {}
            call => match self.life.broken.get() {
                Some(broken) => self.life.reply(request, Err(broken.clone())),
                None => {
                    self.life.tasks.spawn(self.life.clone().call(self.calls.clone(), request, call));
                }
            },
        }
    }
}

fn has_answer(op: &Op) -> bool {
    !matches!(op, Op::Close | Op::Watch { .. } | Op::Unwatch { .. })
}
