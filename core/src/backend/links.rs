//! The links of a backend that are open: each is a task that carries out the requests on it, whichever API it speaks.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Inbox;
use super::tasks::Tasks;
use crate::error::ErrorKind;
use crate::machine::{Failure, Input, LinkId, Op, Request, RequestId};

/// The requests on a link, as its task takes them.
pub(super) type Requests = mpsc::UnboundedReceiver<(RequestId, Op)>;

/// A link that is to be opened (see [`Op::Open`]), and the inbox that hears of it.
pub(super) struct Opening {
    pub(super) link: LinkId,
    pub(super) request: RequestId,
    pub(super) endpoint: usize,
    pub(super) key: Vec<u8>,
    pub(super) patience: Duration,
    pub(super) is_proof: bool,
    pub(super) inbox: Inbox,
    /// All that runs for the link, which ends with it.
    pub(super) tasks: Tasks,
}

/// A link that was opened and not yet closed.
struct Link {
    requests: mpsc::UnboundedSender<(RequestId, Op)>,
    tasks: Tasks,
}

pub(super) struct Links {
    inbox: Inbox,
    open: HashMap<LinkId, Link>,
}

impl Links {
    pub(super) fn new(inbox: Inbox) -> Links {
        Links { inbox, open: HashMap::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Carries a request to its link. `begin` gives the task of a new one; `None`: there is no such endpoint.
    pub(super) fn perform<Task>(&mut self, request: Request, begin: impl FnOnce(Opening, Requests) -> Option<Task>)
    where
        Task: Future<Output = ()> + Send + 'static,
    {
        let Request { id, link, op } = request;
        match op {
            Op::Open { endpoint, key, patience, is_proof } => {
                let (inbox, tasks) = (self.inbox.clone(), Tasks::default());
                let (requests, taken) = mpsc::unbounded_channel();
                let one = Link { requests, tasks: tasks.clone() };
                let opening = Opening { link, request: id, endpoint, key, patience, is_proof, inbox, tasks };
                let Some(task) = begin(opening, taken) else {
                    let failure = Failure::new(ErrorKind::Internal, format!("there is no endpoint number {endpoint}"));
                    return tell(&self.inbox, Input::Reply { id, result: Err(failure) });
                };
                one.tasks.spawn(task);
                if let Some(before) = self.open.insert(link, one) {
                    before.tasks.end();
                }
            }
            Op::Close => {
                if let Some(link) = self.open.remove(&link) {
                    link.tasks.end();
                }
            }
            op => {
                if let Some(link) = self.open.get(&link) {
                    // Fails only if the link's task has ended: with the runtime, or as it has told.
                    let _ = link.requests.send((id, op));
                }
            }
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for link in self.open.values() {
            link.tasks.end();
        }
    }
}

/// Puts an input where the machines find it.
pub(super) fn tell(inbox: &Inbox, input: Input) {
    // Nobody reads any more only when the engine has ended.
    let _ = inbox.send(input);
}
